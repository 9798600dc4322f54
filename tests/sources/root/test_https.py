"""Reading through a real HTTP server gives the file's content, and no fault of the server blocks a reader."""

import contextlib
import socket
import time

import numpy as np
import pytest
import uproot

from e2e_jax.errors import SourceError
from e2e_jax.sources.root import aodsim, connection, https, remote
from e2e_jax.studies import hgg
from tests.aodsim_file import random_events, write_aodsim
from tests.http_server import answer, cut_parts, die, drip, http_server, mute, write_certificate

CONTENT = bytes(range(256)) * 100


@pytest.fixture
def server(tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    with http_server(tmp_path) as running:
        yield running


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """Records the pauses before repetitions, without waiting."""
    made = []
    monkeypatch.setattr(connection.time, "sleep", made.append)
    return made


@pytest.fixture
def file(server):
    """A `Connection` to the file, after the request for its size."""
    with contextlib.closing(remote.connect(server.url("file"), timeout=0.5)) as opened:
        server.requests.clear()
        yield opened


def content(url, **options):
    """The whole of a file."""
    return b"".join(remote.blocks(url, **options))


def failure(url, reason, **options):
    """The error message from reading a file."""
    with pytest.raises(SourceError) as caught:
        content(url, **options)
    assert (caught.value.reason, caught.value.path) == (reason, url)
    return str(caught.value)


def test_a_tree_and_its_events_are_the_same_behind_the_server(server, tmp_path):
    with uproot.recreate(tmp_path / "tree.root", compression=None) as file:
        file["events"] = {"energy": np.random.default_rng(1).random(1_500_000)}
    assert (tmp_path / "tree.root").stat().st_size > https.PIECE_BYTES
    for path in (server.url("tree.root"), server.url("tree.root", "from"), tmp_path / "tree.root"):
        with remote.open_file(path) as file:
            energy = file["events"]["energy"].array(library="np")
        assert energy.sum() == np.random.default_rng(1).random(1_500_000).sum()

    write_aodsim(tmp_path / "aodsim.root", random_events(20, 0))
    paths = (tmp_path / "aodsim.root", server.url("aodsim.root"))
    local, behind = (aodsim.read_events(path, hgg.SELECTIONS["central"]) for path in paths)
    assert len(local) == 20
    for one, other in zip(local.examples(), behind.examples()):
        np.testing.assert_equal(one, other)


def test_only_the_ranges_asked_for_are_fetched(server, file):
    assert file.size == len(CONTENT)
    assert file.read([(3, 10), (100, 101), (25_590, 30_000), (5, 5)]) == [
        CONTENT[3:10],
        CONTENT[100:101],
        CONTENT[25_590:],
        b"",
    ]
    assert [asked for _, asked in server.requests] == ["bytes=3-9,100-100,25590-25599"]


RANGES = [(start, start + 5) for start in range(0, 25_000, 100)]
PARTS = [CONTENT[start:stop] for start, stop in RANGES]


def test_many_ranges_are_asked_for_in_few_requests(server, file):
    assert file.read(RANGES) == PARTS
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "fault",
    [
        None,
        answer(416),
        lambda handler: handler.send_parts([(0, 5)]),
        lambda handler: handler.send_file(ranges=False),
    ],
)
def test_a_server_that_gives_one_range_only_is_asked_for_each(server, file, fault):
    if fault is None:
        server.several = False
    server.faults = [fault]
    assert file.read(RANGES[:40]) == PARTS[:40]
    assert file.read(RANGES[:40]) == PARTS[:40]
    assert len(server.requests) == 81


def test_parts_may_come_joined_and_in_any_order(server, file):
    server.faults = [lambda handler: handler.send_parts([(5000, 5005), (90, 305)])]
    assert file.read([(100, 105), (200, 205), (300, 305), (5000, 5005)]) == [*PARTS[1:4], PARTS[50]]
    assert len(server.requests) == 1


def test_parts_of_a_file_that_is_another_one_are_noticed(server, tmp_path, file):
    (tmp_path / "file").write_bytes(CONTENT[:20_000])
    with pytest.raises(SourceError) as caught:
        file.read(RANGES[:3])
    assert caught.value.reason == "changed"


def test_an_empty_file_is_empty(server, tmp_path):
    (tmp_path / "empty").touch()
    assert content(server.url("empty")) == b""


def test_a_redirection_is_followed_once(server):
    with contextlib.closing(remote.connect(server.url("file", "from"))) as file:
        assert file.read([(0, 10), (50, 60)]) == [CONTENT[:10], CONTENT[50:60]]
    assert [path for path, _ in server.requests] == ["/from/file", "/to/file", "/to/file"]


def test_a_place_redirected_to_that_is_gone_is_asked_for_again(server):
    with contextlib.closing(remote.connect(server.url("file", "from"))) as file:
        server.faults = [answer(403)]
        assert file.read([(0, 10)]) == [CONTENT[:10]]
    assert [path for path, _ in server.requests].count("/from/file") == 2


def test_redirections_without_end_are_refused(server):
    server.always = lambda handler: handler.redirect("/data/file")
    assert "redirects" in failure(server.url("file"), "unreadable")


def test_a_large_file_of_a_server_without_ranges_is_not_fetched(server, tmp_path, pauses):
    server.ranges = False
    with (tmp_path / "large").open("wb") as large:
        large.truncate(https.PIECE_BYTES + 1)
    message = failure(server.url("large"), "no_ranges")
    assert "Download the file" in message
    assert len(server.requests) == 1
    assert not pauses


def test_a_large_file_of_unstated_length_is_given_up_at_the_limit(server):
    def endless(handler):
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.close_connection = True
        try:
            while True:
                sent.append(handler.wfile.write(bytes(2**16)))
        except OSError:
            pass

    sent, server.always = [], endless
    failure(server.url("file"), "no_ranges")
    # The kernel takes up to 32 MiB that nobody has read (the largest of net.ipv4.tcp_rmem).
    assert sum(sent) < https.PIECE_BYTES + 40 * 2**20


def test_a_small_file_of_a_server_without_ranges_is_read(server):
    server.ranges = False
    assert content(server.url("file")) == CONTENT
    assert len(server.requests) == 1


@pytest.mark.slow
@pytest.mark.parametrize("fault", [die, mute, drip, answer(500), answer(502)])
def test_a_fault_that_passes_costs_a_repetition(server, file, pauses, fault):
    server.faults = [fault]
    started = time.monotonic()
    assert file.read([(10, 20)]) == [CONTENT[10:20]]
    assert time.monotonic() - started < 5
    assert len(pauses) == 1


@pytest.mark.slow
@pytest.mark.parametrize("fault", [die, mute, answer(503)])
def test_a_fault_that_stays_ends_the_read(server, file, pauses, fault):
    server.always = fault
    with pytest.raises(SourceError, match="4 times in a row") as caught:
        file.read([(10, 20)])
    assert caught.value.reason == "network"
    assert len(pauses) == 3
    assert pauses[0] < pauses[1] < pauses[2]


@pytest.mark.parametrize("several", [True, False])
def test_a_fault_of_one_of_many_ranges_is_repeated(server, file, pauses, several):
    server.several, server.faults = several, [None, die, None] if not several else [cut_parts]
    ranges = [(start, start + 5) for start in range(0, 200, 10)]
    assert file.read(ranges) == [CONTENT[start:stop] for start, stop in ranges]
    assert len(pauses) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_throttling_server_is_given_the_time_it_asks_for_but_no_more_than_the_timeout(
    server, pauses, status
):
    server.faults = [answer(status, Retry_After="12"), answer(status, Retry_After="9999")]
    assert content(server.url("file"), timeout=25) == CONTENT
    assert pauses == [12, 25]


def test_a_refused_connection_is_tried_again_and_then_told(server, pauses):
    url = server.url("file")
    server.close()
    failure(url, "network", retries=2)
    assert len(pauses) == 2


@pytest.mark.parametrize(("status", "reason"), [(404, "vanished"), (410, "vanished"), (403, "unreadable")])
def test_an_answer_that_stays_is_not_asked_for_again(server, pauses, status, reason):
    server.always = answer(status)
    assert str(status) in failure(server.url("file"), reason)
    assert not pauses


@pytest.mark.parametrize("when", ["at once", "after a fault"])
def test_a_file_that_is_another_one_is_noticed(server, tmp_path, file, when):
    (tmp_path / "file").write_bytes(CONTENT[:5000])
    server.faults = [] if when == "at once" else [die]
    with pytest.raises(SourceError) as caught:
        file.read([(10, 20)])
    assert caught.value.reason == "changed"


def test_bytes_of_another_place_are_asked_for_again(server, file, pauses):
    def another(handler):
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes 0-9/{len(CONTENT)}")
        handler.send_header("Content-Length", "10")
        handler.end_headers()
        handler.wfile.write(CONTENT[:10])

    server.faults = [another]
    assert file.read([(10, 20)]) == [CONTENT[10:20]]
    assert len(pauses) == 1


def test_a_closed_file_is_not_opened_again(file):
    file.close()
    with pytest.raises(OSError, match="closed"):
        file.read([(0, 1)])


@pytest.mark.slow
def test_an_ipv6_address_that_leads_nowhere_costs_one_repetition(server, pauses, monkeypatch):
    try:
        nowhere = socket.create_server(("::1", server.port), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 on this machine")
    lookup = socket.getaddrinfo

    def both(host, port, *args, **options):
        if host != "portal.example":
            return lookup(host, port, *args, **options)
        return [*lookup("::1", port, type=socket.SOCK_STREAM), *lookup("127.0.0.1", port)]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    with nowhere:
        url = server.url("file").replace("127.0.0.1", "portal.example")
        assert content(url, timeout=1) == CONTENT
    assert len(pauses) == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return write_certificate(tmp_path_factory.mktemp("tls") / "certificate.pem")


def test_a_certificate_must_be_of_an_authority_that_is_trusted(tmp_path, certificate, monkeypatch, pauses):
    (tmp_path / "file").write_bytes(CONTENT)
    with http_server(tmp_path, certificate) as server:
        url = server.url("file")
        assert url.startswith("https://")
        assert "REQUESTS_CA_BUNDLE" in failure(url, "untrusted")
        assert not pauses
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert content(url) == CONTENT
