"""The check of files reports which can be read, and where to request files on tape."""

import zlib

import pytest

from e2e_jax.errors import SourceError
from e2e_jax.sources.opendata import checking
from e2e_jax.sources.opendata.checking import Seen, look, look_at_all, report
from e2e_jax.sources.root import portal
from e2e_jax.sources.root.file_contents import UNKNOWN, Content
from e2e_jax.sources.root.reading import Reading
from tests.http_server import answer, http_server
from tests.xrootd_server import free_port

CONTENT = b"root and more"
ONCE = Reading(timeout=5, retries=0)


@pytest.fixture
def server(tmp_path):
    (tmp_path / "a.root").write_bytes(CONTENT)
    with http_server(tmp_path) as running:
        yield running


def test_a_file_has_the_status_of_its_server_and_its_list(server, tmp_path):
    size, checksum = len(CONTENT), zlib.adler32(CONTENT)
    for file in (server.url("a.root"), str(tmp_path / "a.root")):
        assert look(file, UNKNOWN, ONCE) == Seen(file, "online", size)
        assert look(file, Content(size, checksum), ONCE, checksums=True).status == "online"
        assert look(file, Content(size, checksum ^ 1), ONCE).status == "online"
        assert look(file, Content(size, checksum ^ 1), ONCE, checksums=True).status == "wrong checksum"
        wrong = look(file, Content(size + 1), ONCE)
        assert (wrong.status, wrong.size) == ("wrong size", size)
    for file in (server.url("b.root"), str(tmp_path / "b.root")):
        assert (look(file, UNKNOWN, ONCE).status, look(file, UNKNOWN, ONCE).size) == ("missing", 0)
    server.always = answer(403)
    assert look(server.url("a.root"), UNKNOWN, ONCE).status == "unreadable"
    assert look(f"http://127.0.0.1:{free_port()}/a.root", UNKNOWN, ONCE).status == "no answer"


def test_without_checksums_no_file_is_read(server):
    look(server.url("a.root"), Content(len(CONTENT), 1), ONCE)
    assert [asked for _, asked in server.requests] == ["bytes=0-0"]


def test_all_files_are_looked_at_in_their_order(server, tmp_path):
    names = [server.url(name) for name in ("a.root", "b.root", "c.root")]
    seen = look_at_all({"h": dict.fromkeys(names, UNKNOWN), "x": {str(tmp_path / "a.root"): UNKNOWN}}, ONCE)
    assert [one.file for one in seen["h"]] == names
    assert [one.status for one in seen["h"]] == ["online", "missing", "missing"]
    assert [one.status for one in seen["x"]] == ["online"]


def test_a_network_that_is_down_ends_it(server):
    down = {f"http://127.0.0.1:{free_port()}/{i}.root": UNKNOWN for i in range(checking.WORKERS + 5)}
    with pytest.raises(SourceError) as raised:
        look_at_all({"h": down}, ONCE)
    assert raised.value.reason == "network"
    seen = look_at_all({"h": {server.url("a.root"): UNKNOWN} | down}, ONCE)
    assert [one.status for one in seen["h"]] == ["online"] + len(down) * ["no answer"]


def test_the_report_counts_names_and_tells_where_to_ask():
    def offline(i):
        url = f"https://opendata.cern.ch/eos/opendata/{i}.root"
        return Seen(url, "offline", 0, portal.absent(url, "404"))

    seen = {
        "h": [Seen("a", "online", 2_500_000_000), *map(offline, range(checking.SHOWN + 2))],
        "gamma_jet": [Seen("b", "online", 1), Seen("c", "missing", 0, SourceError("c", "vanished", "No c."))],
    }
    text = report(seen, {"h": portal.record_page(7783), "gamma_jet": portal.record_page(7778)})
    rows = [line.split() for line in text.splitlines()]
    assert rows[0] == ["label", "files", "size", "online", "offline", "missing"]
    assert rows[1] == ["h", str(checking.SHOWN + 3), "2.5", "GB", "1", str(checking.SHOWN + 2), "0"]
    assert rows[2] == ["gamma_jet", "2", "0.0", "GB", "1", "0", "1"]
    assert "offline: 2 more" in text
    assert "missing: No c." in text
    assert text.endswith("https://opendata.cern.ch/record/7783")
    assert "7778" not in text
