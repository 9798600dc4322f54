"""A file that cannot be opened raises one error with its name and advice."""

import builtins
import pickle
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import uproot

from e2e_jax.errors import SourceError
from e2e_jax.sources.root import remote, xrootd
from tests.xrootd_server import free_port


@pytest.fixture
def file(tmp_path):
    """A ROOT file whose name contains a part that uproot would treat as a tree's name."""
    path = tmp_path / "run:2012.root"
    with uproot.recreate(path) as written:
        written["events"] = {"energy": np.arange(100.0)}
    return path


def test_a_local_file_opens_whatever_its_name(file):
    for path in (file, str(file)):
        with remote.open_file(path) as opened:
            assert opened["events"]["energy"].array(library="np").sum() == 4950


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for open_it in (remote.read_text, lambda path: remote.open_file(path).__enter__()):
        with pytest.raises(
            SourceError, match=r"no file .*absent\.root.*take the file off the list"
        ) as caught:
            open_it(tmp_path / "absent.root")
        assert (caught.value.reason, caught.value.path) == ("vanished", str(tmp_path / "absent.root"))
        with pytest.raises(SourceError, match=f"{tmp_path} cannot be read") as caught:
            open_it(tmp_path)
        assert caught.value.reason == "unreadable"


def test_an_error_survives_the_way_from_another_process():
    error = SourceError("a.root", "truncated", "a.root ends too early.")
    back = pickle.loads(pickle.dumps(error))
    assert (back.path, back.reason, str(back)) == ("a.root", "truncated", "a.root ends too early.")


def test_a_text_is_read_whole_and_must_be_text(tmp_path):
    (tmp_path / "index.txt").write_text("root://é\n")
    assert remote.read_text(tmp_path / "index.txt") == "root://é\n"
    (tmp_path / "index.txt").write_bytes(b"\xff\x00")
    with pytest.raises(SourceError, match=r"index\.txt is no text file"):
        remote.read_text(tmp_path / "index.txt")


def test_without_the_client_the_error_says_what_to_install(monkeypatch):
    def refuse(name, *args):
        if name.partition(".")[0] == "XRootD":
            raise ModuleNotFoundError(name)
        return normal(name, *args)

    normal = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", refuse)
    xrootd._client.cache_clear()
    with (
        pytest.raises(ModuleNotFoundError, match=r"pip install 'e2e_jax\[xrootd\]'"),
        remote.open_file("root://127.0.0.1//data/file.root"),
    ):
        pass


def test_a_refused_connection_is_tried_again_and_then_told(monkeypatch):
    pytest.importorskip("XRootD", reason="no XRootD client (pip install 'e2e_jax[xrootd]')")
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    url = f"root://127.0.0.1:{free_port()}//data/file.root"
    with pytest.raises(SourceError, match=f"{url} did not deliver it, 4 times") as caught:
        remote.read_text(url, timeout=5)
    assert caught.value.reason == "network"
    assert len(pauses) == 3
    assert pauses[0] < pauses[1] < pauses[2]


@pytest.mark.slow
def test_a_server_that_never_answers_is_given_up_in_seconds():
    pytest.importorskip("XRootD", reason="no XRootD client (pip install 'e2e_jax[xrootd]')")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"root://127.0.0.1:{listener.getsockname()[1]}//data/file.root"
        with pytest.raises(SourceError, match=f"{url} did not deliver it") as caught:
            remote.read_text(url, timeout=1, retries=0)
    assert caught.value.reason == "network"


@pytest.mark.slow
def test_the_client_loads_after_tensorflow():
    """As in `tfds build cms_hgg --config=opendata_central`; both have libraries of the same names."""
    pytest.importorskip("XRootD")
    program = "import tensorflow; from e2e_jax.sources.root import xrootd; xrootd._client().FileSystem('root://127.0.0.1:1')"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]
