"""A list names files, each once, in a fixed order; any other content is an error that names the fault."""

import json
import re

import pytest

from e2e_jax.errors import SourceError
from e2e_jax.sources.opendata.file_lists import SAMPLES, expanded, files_of_labels, identity
from e2e_jax.sources.root import remote
from e2e_jax.sources.root.file_contents import Content
from e2e_jax.studies.hgg import LABELS

STORE = "root://eospublic.cern.ch//eos/opendata/cms"


def files(name, lists=None, **options):
    """The files of one label."""
    return list(files_of_labels([name], lists, **options)[name])


def write(folder, **lists):
    for name, lines in lists.items():
        (folder / f"{name}.txt").write_text("\n".join(lines))
    return folder


def write_all(folder, **lists):
    return write(folder, **{name: [f"{name}.root"] for name in LABELS} | lists)


def test_the_samples_are_those_of_the_paper():
    assert {name: (s.record, s.doi[-9:], s.events, s.files) for name, s in SAMPLES.items()} == {
        "gamma_gamma": (7687, "WV7J.8GN0", 1_000_000, 103),
        "h": (7783, "WQ7P.BZP3", 4_999_765, 490),
        "gamma_jet": (7778, "2W51.W8AT", 17_748_810, 1_548),
    }
    assert tuple(SAMPLES) == LABELS
    addresses = [url for sample in SAMPLES.values() for url in sample.indexes]
    assert len(set(addresses)) == 6
    for url in addresses:
        # The sample's folder, and the same names in the folder of the file.
        sample = r"(?P<sample>[^/]+)/AODSIM/(?P<processing>PU_RD1_START53_V7N-v\d)/file-indexes/"
        name = r"CMS_MonteCarlo2012_Summer12_DR53X_(?P=sample)_AODSIM_(?P=processing)_\d{5}_file_index\.txt"
        folder = re.escape(f"{STORE}/MonteCarlo2012/Summer12_DR53X/")
        assert re.fullmatch(folder + sample + name, url)


def test_own_lists_give_paths_addresses_and_patterns_in_their_order(tmp_path):
    for name in ("b.root", "a1.root", "a2.root"):
        (tmp_path / name).touch()
    write(tmp_path, h=["# mine", "", "  b.root ", f"{STORE}/x.root", "a*.root", "/elsewhere/c.root"])
    assert files("h", tmp_path) == [
        str(tmp_path / "b.root"),
        f"{STORE}/x.root",
        str(tmp_path / "a1.root"),
        str(tmp_path / "a2.root"),
        "/elsewhere/c.root",
    ]


def test_a_folder_whose_name_looks_like_a_pattern_is_a_folder(tmp_path):
    folder = tmp_path / "run[12]"
    folder.mkdir()
    (folder / "a1.root").touch()
    write(folder, h=["a1.root"])
    assert files("h", folder) == [str(folder / "a1.root")]


def test_copies_of_the_published_indexes_are_read_in_their_order(tmp_path):
    copies = [tmp_path / url.rpartition("/")[2] for url in SAMPLES["h"].indexes]
    for place, path in enumerate(copies):
        path.write_text(f"{STORE}/{place}b.root\n{STORE}/{place}a.root\n")
    assert files("h", tmp_path) == [f"{STORE}/{place}{part}.root" for place in range(3) for part in "ba"]
    copies[1].unlink()
    with pytest.raises(SourceError, match=rf"no h\.txt, .* lacks {copies[1].name}\. Write h\.txt"):
        files("h", tmp_path)


@pytest.mark.parametrize(
    ("protocol", "server"),
    [
        ("", "root://eospublic.cern.ch//"),
        ("root", "root://eospublic.cern.ch//"),
        ("https", "https://opendata.cern.ch/"),
    ],
)
def test_without_a_folder_the_published_json_is_read_or_else_the_text(monkeypatch, protocol, server):
    def published(url):
        assert url.startswith(f"{server}eos/opendata/cms/MonteCarlo2012/")
        part = url.split("_")[-3]
        if part == "20000":
            return json.dumps([{"uri": f"{STORE}/json.root", "size": 1, "checksum": "adler32:2"}])
        if url.endswith(".json"):
            raise SourceError(url, "offline", "404")
        return f"{STORE}/text.root\n"

    monkeypatch.setattr(remote, "read_text", published)
    listed = files_of_labels(["gamma_jet"], None, protocol)["gamma_jet"]
    assert listed == {f"{STORE}/json.root": Content(1, 2), f"{STORE}/text.root": Content()}
    assert list(listed) == [f"{STORE}/json.root", f"{STORE}/text.root"]


def test_without_a_network_copies_serve(monkeypatch):
    def down(url):
        raise SourceError(url, "network", f"{url} does not answer.")

    monkeypatch.setattr(remote, "read_text", down)
    with pytest.raises(SourceError, match=r"does not answer\..* --files=DIR") as error:
        files("h")
    assert error.value.reason == "network"


@pytest.mark.parametrize(
    ("lines", "reason", "message"),
    [
        (["", "# nothing"], "empty", r"h\.txt lists no file"),
        (["a.root", "b.root", "./a.root"], "duplicate", r"a\.root is listed twice, in \S*h\.txt: .*double"),
        ([f"{STORE}/a.root", f"{STORE}//a.root"], "duplicate", "listed twice"),
        (["*.nothing"], "vanished", "No file matches"),
    ],
)
def test_a_list_that_is_wrong_says_so(tmp_path, lines, reason, message):
    write(tmp_path, h=lines)
    with pytest.raises(SourceError, match=message) as error:
        files("h", tmp_path)
    assert error.value.reason == reason


def test_what_a_pattern_names_again_is_listed_twice(tmp_path):
    (tmp_path / "a.root").touch()
    write(tmp_path, h=["a.root", "*.root"])
    with pytest.raises(SourceError, match="listed twice"):
        files("h", tmp_path)


def test_two_parts_of_an_index_with_one_file_say_which_parts(tmp_path):
    for url in SAMPLES["gamma_jet"].indexes:
        (tmp_path / url.rpartition("/")[2]).write_text(f"{STORE}/a.root\n")
    with pytest.raises(SourceError, match=r"20000_file_index\.txt and \S+20001_file_index\.txt"):
        files("gamma_jet", tmp_path)


def test_lists_that_are_no_text_or_not_there_are_named(tmp_path):
    (tmp_path / "h.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceError, match=r"h\.txt cannot be read as text"):
        files("h", tmp_path)
    with pytest.raises(SourceError, match=r"nowhere does not list the files of h"):
        files("h", tmp_path / "nowhere")
    with pytest.raises(SourceError, match=r"does not list the files of w: it has no w\.txt"):
        files("w", tmp_path)


def test_a_file_has_one_class(tmp_path):
    write_all(tmp_path, gamma_jet=["gamma_jet.root", "h.root"])
    with pytest.raises(SourceError, match=r"h\.root is listed for h and for gamma_jet"):
        files_of_labels(LABELS, tmp_path)


def test_lists_are_told_apart_by_files_classes_and_order(tmp_path):
    one = identity(files_of_labels(LABELS, write_all(tmp_path)))
    assert one["files"] == dict.fromkeys(LABELS, 1)
    assert identity(files_of_labels(LABELS, write_all(tmp_path, h=["# same", "h.root"]))) == one
    others = (["h.root", "x.root"], ["x.root", "h.root"], ["x.root"])
    digests = [identity(files_of_labels(LABELS, write_all(tmp_path, h=lines)))["sha256"] for lines in others]
    assert len({one["sha256"], *digests}) == 4


def test_lists_may_state_sizes_and_checksums(tmp_path):
    write_all(tmp_path, h=[f"{STORE}/a.root size:12 adler32:00ff", "my file.root adler32:1", "c.root"])
    assert files("h", tmp_path) == [
        f"{STORE}/a.root",
        str(tmp_path / "my file.root"),
        str(tmp_path / "c.root"),
    ]
    assert files_of_labels(["h"], tmp_path)["h"] == {
        f"{STORE}/a.root": Content(12, 255),
        str(tmp_path / "my file.root"): Content(None, 1),
        str(tmp_path / "c.root"): Content(),
    }


def test_a_checksum_of_several_files_is_refused(tmp_path):
    for name in ("a1.root", "a2.root"):
        (tmp_path / name).touch()
    with pytest.raises(SourceError) as raised:
        files("h", write(tmp_path, h=["a*.root adler32:1"]))
    assert raised.value.reason == "bad_list"


def test_the_portals_json_indexes_state_contents(tmp_path):
    (index,) = SAMPLES["gamma_gamma"].indexes
    path = tmp_path / index.rpartition("/")[2].replace(".txt", ".json")
    entry = {"uri": f"{STORE}/a.root", "size": 12, "checksum": "adler32:0000abcd", "filename": "a.root"}
    # The formats of the sample's folder and of the record's page.
    for index in ([entry], {"key": path.name, "files": [entry | {"availability": "online"}]}):
        path.write_text(json.dumps(index))
        listed = files_of_labels(["gamma_gamma"], tmp_path)["gamma_gamma"]
        assert listed == {f"{STORE}/a.root": Content(12, 0xABCD)}
    for content in ("{}", "[1]", '[{"uri": "a"}]', "["):
        path.write_text(content)
        with pytest.raises(SourceError) as raised:
            files("gamma_gamma", tmp_path)
        assert str(path) in str(raised.value)


def test_the_files_of_a_study_are_paths_patterns_addresses_and_lists_with_their_contents(tmp_path):
    for name in ("a1.root", "a2.root", "b.root"):
        (tmp_path / name).touch()
    write(tmp_path, mine=["b.root size:12", f"{STORE}/x.root adler32:000000ff"])
    own = str(tmp_path / "mine.txt")
    listed = expanded([str(tmp_path / "a*.root"), own, f"{STORE}/y.root"])
    assert list(listed) == [
        *(str(tmp_path / name) for name in ("a1.root", "a2.root", "b.root")),
        f"{STORE}/x.root",
        f"{STORE}/y.root",
    ]
    assert listed[str(tmp_path / "b.root")] == Content(12, None)
    assert listed[f"{STORE}/x.root"] == Content(None, 255)
    for again in (own, str(tmp_path / "b.root"), str(tmp_path / "*.root")):
        with pytest.raises(SourceError) as raised:
            expanded([own, again])
        assert raised.value.reason == "duplicate"


def test_labels_of_any_name_have_own_lists_only(tmp_path):
    write(tmp_path, signal=["s.root"], background=["b.root"])
    assert list(files_of_labels(["signal", "background"], tmp_path)) == ["signal", "background"]
    for lists in (None, tmp_path):
        with pytest.raises(SourceError) as raised:
            files_of_labels(["other"], lists)
        assert raised.value.reason == "missing_list"
