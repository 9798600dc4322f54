"""Reading through a real XRootD server gives the file's content, and no fault of it blocks a reader."""

import signal
import threading
import types

import awkward as ak
import numpy as np
import pytest
import uproot

from e2e_jax.errors import SourceError
from e2e_jax.sources.root import aodsim, connection, remote, xrootd
from e2e_jax.studies import hgg
from tests.aodsim_file import random_events, write_aodsim
from tests.xrootd_server import free_port, skip_without_xrootd, xrootd_server

LENGTH = 600_000
"""Numbers in each branch; baskets exceed the limit of one element of a vector read."""


@pytest.fixture(scope="module")
def server():
    skip_without_xrootd()
    with xrootd_server() as running:
        yield running


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(connection, "PAUSE", 0.3)


@pytest.fixture
def never_again(monkeypatch):
    """No request may be repeated."""
    monkeypatch.setattr(connection, "time", None)


@pytest.fixture
def path(server, request):
    """A separate file for each test, in the server's folder."""
    path = server.data / f"{request.node.name}.root"
    random = np.random.default_rng(1)
    with uproot.recreate(path, compression=None) as file:
        file.mktree("events", {"energy": np.float64, "hits": "var * float32"})
        for size in (10, LENGTH):
            counts = random.integers(0, 3, size)
            hits = ak.unflatten(random.random(counts.sum(), np.float32), counts)
            file["events"].extend({"energy": random.random(size), "hits": hits})
    return path


def read(path, meanwhile=lambda: None, **options):
    """The whole of a file; `meanwhile` is called after it is opened and its tree is read."""
    with remote.open_file(path, **options) as file:
        tree = file["events"]
        meanwhile()
        return tree.arrays()


def same(one, other):
    return ak.array_equal(one, other, equal_nan=True)


def test_a_file_is_the_same_behind_the_server(server, path):
    assert path.stat().st_size > 2 * xrootd.VECTOR_PIECE_BYTES
    assert same(read(server.url(path.name)), read(path))
    assert not xrootd._UNANSWERED


def test_events_are_the_same_behind_the_server(server):
    paths = [server.data / f"aodsim-{i}.root" for i in range(2)]
    for seed, path in enumerate(paths):
        write_aodsim(path, random_events(20, seed, first=1 + 20 * seed))
    local = aodsim.read_events(paths, hgg.SELECTIONS["central"])
    behind = aodsim.read_events([server.url(path.name) for path in paths], hgg.SELECTIONS["central"])
    assert len(local) == 40
    for one, other in zip(local.examples(), behind.examples()):
        np.testing.assert_equal(one, other)


def test_a_range_of_entries_is_read_without_the_rest(server, path):
    with remote.open_file(server.url(path.name)) as file, remote.open_file(path) as local:
        assert same(file["events"].arrays(entry_stop=10), local["events"].arrays(entry_stop=10))
        assert file.file.source.num_requested_bytes < path.stat().st_size / 10


def test_a_text_is_read_whole(server):
    text = "".join(f"root://eospublic.example//eos/file-{i}.root\n" for i in range(50_000))
    (server.data / "index.txt").write_text(text)
    assert remote.read_text(server.url("index.txt")) == text
    (server.data / "empty.txt").touch()
    assert remote.read_text(server.url("empty.txt")) == ""


def test_a_file_that_is_not_there_is_no_fault_of_the_network(server, never_again):
    with pytest.raises(SourceError, match=r"There is no file root://.*absent\.root") as caught:
        read(server.url("absent.root"))
    assert caught.value.reason == "vanished"


def test_a_file_without_rights_is_not_asked_for_again(server, path, never_again):
    path.chmod(0)
    with pytest.raises(SourceError, match="your rights to read it") as caught:
        read(server.url(path.name))
    assert caught.value.reason == "unreadable"


def test_a_truncated_file_ends_like_a_local_one(server, path, never_again):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    errors = []
    for where in (path, server.url(path.name)):
        with pytest.raises(Exception, match=r".") as caught:
            read(where)
        errors.append(caught.type)
    assert errors[0] is errors[1]
    assert errors[0] is not SourceError


@pytest.mark.slow
def test_a_server_that_dies_and_comes_back_costs_a_pause(server, path):
    def restart():
        server.kill()
        threading.Timer(0.5, server.start).start()

    assert same(read(server.url(path.name), restart, timeout=10, retries=6), read(path))


def test_a_server_that_dies_for_good_ends_the_read(server, path):
    try:
        with pytest.raises(SourceError, match="2 times in a row") as caught:
            read(server.url(path.name), server.kill, timeout=2, retries=1)
        assert caught.value.reason == "network"
    finally:
        server.start()


@pytest.mark.slow
def test_a_server_that_falls_silent_ends_the_read(server, path):
    try:
        with pytest.raises(SourceError, match="1 times in a row") as caught:
            read(server.url(path.name), lambda: server.signal(signal.SIGSTOP), timeout=1, retries=0)
        assert caught.value.reason == "network"
    finally:
        server.signal(signal.SIGCONT)


@pytest.mark.slow
def test_a_server_that_pauses_is_waited_for(server, path):
    def pause():
        server.signal(signal.SIGSTOP)
        threading.Timer(1.5, server.signal, (signal.SIGCONT,)).start()

    assert same(read(server.url(path.name), pause, timeout=1, retries=6), read(path))


@pytest.mark.parametrize("fate", ["vanished", "changed"])
def test_a_file_that_is_gone_or_another_when_the_server_is_back(server, path, fate):
    def replace():
        server.kill()
        path.unlink() if fate == "vanished" else path.write_bytes(b"another")
        server.start()

    with pytest.raises(SourceError, match=path.name.replace("[", r"\[").replace("]", r"\]")) as caught:
        read(server.url(path.name), replace, timeout=5, retries=4)
    assert caught.value.reason == fate, str(caught.value)


def test_a_closed_file_is_not_opened_again(server, path):
    with remote.open_file(server.url(path.name)) as file:
        pass
    with pytest.raises(OSError, match="closed"):
        file.file.source.chunk(0, 100)


def test_a_repetition_prefers_ipv4(server, path):
    client = xrootd._client()
    client.EnvPutInt("PreferIPv4", 0)
    read(server.url(path.name))
    assert client.EnvGetInt("PreferIPv4") == 0
    with pytest.raises(SourceError, match="2 times in a row"):
        read(f"root://127.0.0.1:{free_port()}//data/file.root", timeout=2, retries=1)
    assert client.EnvGetInt("PreferIPv4") == 1


def test_a_file_that_is_on_tape_is_offline(monkeypatch):
    done = types.SimpleNamespace(ok=True)

    class File:
        """A client's file from a server that reports it as offline."""

        def set_property(self, name, value):
            pass

        def open(self, url, timeout, callback):
            callback(done, None, None)
            return done

        def stat(self, timeout, callback):
            callback(done, types.SimpleNamespace(size=100, flags=0b11000), None)
            return done

        def close(self, timeout, callback):
            callback(done, None, None)
            return done

    monkeypatch.setattr(xrootd, "_client", lambda: types.SimpleNamespace(File=File))
    with pytest.raises(SourceError) as caught:
        remote.size("root://127.0.0.1//data/tape.root")
    assert caught.value.reason == "offline"
