"""The display command: pictures of events from datasets, AODSIM and ntuples, and clear errors."""

import concurrent.futures
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import uproot

from data_builders.cms_hgg.cms_hgg_dataset_builder import Builder
from e2e_jax.commands import command_line
from e2e_jax.commands.display import main, write
from e2e_jax.datasets.naming import HggConfig
from e2e_jax.display.reading import AODSIM, NTUPLE, read_events
from e2e_jax.events.diphotons import COLLECTIONS, Events
from e2e_jax.sources.root import ntuple
from tests import synthetic_tasks
from tests.aodsim_file import random_events, write_aodsim

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def events():
    return random_events(5, selected=np.array([True, False, True, True, False]))


@pytest.fixture(scope="module")
def aodsim_file(tmp_path_factory, events):
    path = tmp_path_factory.mktemp("aodsim") / "events.root"
    write_aodsim(path, events)
    return str(path)


@pytest.fixture(scope="module")
def ntuple_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("ntuple") / "flat.root"
    n, sizes = 3, {"EB": 61200, "EEm": 10000, "EEp": 10000}
    columns = {f"{name}_energy": np.zeros((n, size), np.float32) for name, size in sizes.items()}
    columns |= {f"TracksPt_{name}": np.zeros((n, size), np.float32) for name, size in sizes.items()}
    columns["EB_energy"][:, 1234] = [1, 2, 3]
    columns["HBHE_energy"] = np.zeros((n, 56 * 72), np.float32)
    columns["m0"] = np.full(n, 125.0)
    columns |= {"runId": np.ones(n, np.int32), "lumiId": np.ones(n, np.int32), "eventId": np.arange(7, 7 + n)}
    with uproot.recreate(path) as file:
        file.mktree(ntuple.TREE, {name: (c.dtype, c.shape[1:]) for name, c in columns.items()})
        file[ntuple.TREE].extend(columns)
    return str(path)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("datasets")
    config = HggConfig(name="tiny", train=2, validation=2, produce=synthetic_tasks.produce)
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        Builder(config=config, data_dir=folder, executor=executor).download_and_prepare()
    return folder


def same(one: Events, other: Events):
    np.testing.assert_array_equal(one.event, other.event)
    for name, columns in COLLECTIONS.items():
        for column in columns:
            np.testing.assert_allclose(
                getattr(one, name).columns[column], getattr(other, name).columns[column], rtol=1e-5, atol=1e-6
            )


def test_events_of_an_aodsim_file_count_in_its_order_or_among_the_selected(aodsim_file, events):
    read, origin, _ = read_events(aodsim_file, [3, 1])
    same(read, events[[3, 1]])
    assert origin == AODSIM
    same(read_events(aodsim_file, [2, 0], select="central")[0], events[[3, 0]])


def test_events_of_an_ntuple_have_no_photons(ntuple_file):
    read, origin, _ = read_events(ntuple_file, [2, 0])
    assert read.event.tolist() == [9, 7]
    assert read.eb.energy.tolist() == [3, 1]
    assert not read.photons.counts.any()
    assert origin == NTUPLE


@pytest.mark.parametrize("where", ["cms_hgg/tiny", "cms_hgg/tiny/3.0.0", ""])
def test_a_dataset_is_found_by_name_and_by_folder(datasets, where):
    whole, origin, _ = read_events(str(datasets / where), range(4), "train")
    assert origin == "fast simulation"
    same(read_events(str(datasets / where), [3, 1], "train")[0], whole[[3, 1]])
    if where.count("/") == 1:
        same(read_events(where, [0], "train", data_dir=str(datasets))[0], whole[[0]])


@pytest.mark.slow
def test_pictures_are_named_after_the_events_and_are_the_same_every_time(aodsim_file, tmp_path, capsys):
    for folder in ("one", "other"):
        main(f"display {aodsim_file} --event 2 --output {tmp_path / folder}".split())
        printed = capsys.readouterr().out.split()
        assert printed == [str(tmp_path / folder / f"run1_lumi1_event3.{kind}") for kind in ("png", "pdf")]
    assert len(list((tmp_path / "one").iterdir())) == 2
    for kind, start in (("png", b"\x89PNG"), ("pdf", b"%PDF")):
        one, other = ((tmp_path / f / f"run1_lumi1_event3.{kind}").read_bytes() for f in ("one", "other"))
        assert one == other
        assert one.startswith(start)


def test_a_page_holds_all_events_asked_for(aodsim_file, tmp_path, capsys):
    main(f"display {aodsim_file} --event 2 3 --interactive --output {tmp_path}".split())
    (path,) = tmp_path.iterdir()
    assert capsys.readouterr().out.strip() == str(path)
    assert path.name == "run1_lumi1_event3_and_1_more.html"
    assert "event 4" in path.read_text()


def test_nothing_half_written_is_left(tmp_path):
    class FullDisk:
        def savefig(self, path, **options):
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")

    with pytest.raises(ValueError, match="No space left"):
        write(FullDisk(), tmp_path, "event")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("{aodsim} --event 5 --output {out}", ["{aodsim}", "0 to 4", "5"]),
        ("{aodsim} --event 3 --output {out} --select central", ["no event 3", "{aodsim}", "0 to 2"]),
        ("{ntuple} --event 0 3 --output {out}", ["no event 3", "{ntuple}", "0 to 2"]),
        ("{ntuple} --event 0 --output {out} --select central", ["no photons"]),
        ("{datasets}/cms_hgg/tiny --event 99 --output {out}", ["no event 99", "validation", "0 to"]),
        ("{datasets}/cms_hgg/tiny --event 0 --output {out} --split tests", ["no split 'tests'"]),
        ("{datasets}/cms_hgg/tiny --event 0 --output {out} --select central", ["--select=central out"]),
        ("{other} --event 0 --output {out}", ["{other}", "Events", "fevt/RHTree", "something"]),
        ("{text} --event 0 --output {out}", ["{text}", "no ROOT file"]),
        ("{out}.root --event 0 --output {out}", ["{out}.root"]),
        ("nowhere --event 0 --output {out}", ["nowhere", "cms_hgg/"]),
        ("cms_hgg/huge --event 0 --output {out} --data_dir={datasets}", ["cms_hgg/huge", "{datasets}"]),
        ("{empty} --event 0 --output {out}", ["{empty}", "no TFDS dataset"]),
        ("{aodsim} --event 0 --output {text}", ["{text}", "--output"]),
        ("{aodsim} --event one --output {out}", ["--event", "'one'"]),
        ("{aodsim} --output {out}", ["--event"]),
        ("{aodsim} --event 0 --output {out} --geometry round", ["round", "ecal_centric"]),
        ("{aodsim} --event 0 --output {out} --run {out}", ["--run", "--interactive"]),
        ("{aodsim} --event 0 --output {out} --interactive --run {empty}", ["no run in {empty}"]),
        ("{aodsim} --event 5 --output {out} --interactive", ["{aodsim}", "0 to 4", "5"]),
    ],
)
def test_an_error_is_one_paragraph_that_names_the_thing(
    arguments, words, aodsim_file, ntuple_file, datasets, tmp_path, capsys
):
    names = {"aodsim": aodsim_file, "ntuple": ntuple_file, "datasets": datasets, "out": tmp_path / "pictures"}
    names |= {"other": tmp_path / "other.root", "text": tmp_path / "text.root", "empty": tmp_path / "empty"}
    with uproot.recreate(names["other"]) as file:
        file.mktree("something", {"x": "float32"})
        file["something"].extend({"x": np.zeros(3, np.float32)})
    names["text"].write_text("a page of text, not a ROOT file. " * 50)
    names["empty"].mkdir()
    with pytest.raises(SystemExit) as stopped:
        command_line.reporting(main)(["display", *arguments.format(**names).split()])
    assert stopped.value.code == 1
    printed = capsys.readouterr()
    said = "".join(printed.err.split())
    assert said.startswith("Error:")
    assert "Traceback" not in said
    assert "\n\n" not in printed.err.strip()
    assert all("".join(word.format(**names).split()) in said for word in words), printed.err
    assert not printed.out
    assert not list((tmp_path / "pictures").glob("*"))


@pytest.mark.slow
def test_it_runs_as_a_program(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [
        sys.executable,
        "-m",
        "e2e_jax",
        "display",
        "nowhere.root",
        "--event",
        "0",
        "--output",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert "nowhere.root" in done.stderr
