"""Datasets read from AODSIM files: whole or not at all, and their metadata say what was read."""

import ast
import concurrent.futures
import json
import pathlib
import subprocess
import sys

import numpy as np
import pyarrow.parquet
import pytest
import tensorflow_datasets as tfds

from data_builders.cms_hgg.cms_hgg_dataset_builder import Builder
from e2e_jax.datasets import code_version
from e2e_jax.datasets.naming import CMS_HGG, HggConfig, HggFiles
from e2e_jax.datasets.reading import read_split
from e2e_jax.errors import SourceError
from e2e_jax.execution.jobs import event_keys
from e2e_jax.sources.opendata.file_lists import SAMPLES, files_of_labels, identity
from e2e_jax.sources.root import aodsim
from e2e_jax.studies import hgg
from e2e_jax.studies.hgg import LABELS
from tests.aodsim_lists import RUNS, file_events, write_list, write_lists

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    return write_lists(tmp_path_factory.mktemp("lists"), files=2)


def build(data_dir, lists, name="mine", train=4, validation=2, manual_dir=None, **fields):
    config = HggFiles(
        name=name, train=train, validation=validation, files=str(lists or ""), own_files=True, **fields
    )
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        builder = Builder(config=config, data_dir=data_dir, executor=executor)
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
    return data_dir / "cms_hgg" / name / str(Builder.VERSION)


@pytest.fixture(scope="module")
def folder(lists, tmp_path_factory):
    return build(tmp_path_factory.mktemp("datasets"), lists)


@pytest.mark.slow
def test_the_dataset_has_the_events_of_the_files(folder):
    for split, size in (("train", 4), ("validation", 2)):
        events = read_split(folder, split, progress=False)
        assert np.bincount(events.label).tolist() == [size] * 3
        for label in range(len(LABELS)):
            made = file_events(0, label)
            rows = np.flatnonzero(events.label == label)
            for row in rows:
                (place,) = np.flatnonzero(made.event == events.event[row])
                assert event_keys(made[[place]]) == event_keys(events[[row]])
                np.testing.assert_allclose(events.mass[row], made.mass[place], rtol=1e-6)
                for name in ("eb", "ee", "hcal"):
                    one, other = getattr(events, name).event(row), getattr(made, name).event(place)
                    np.testing.assert_array_equal(one["cell"], other["cell"])
                    np.testing.assert_allclose(one["energy"], other["energy"], rtol=2e-4)


def test_the_metadata_say_what_was_read(folder, lists):
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata["origin"] == "AODSIM files of own lists"
    assert "samples" not in metadata
    assert metadata["sizes"] == {"train": 4, "validation": 2, "test": 0, "sample": 0}
    assert metadata["lists"] == identity(files_of_labels(LABELS, lists))
    assert metadata["read"]["h"] == {"files": 1, "events": 12}
    assert (metadata["on_error"], metadata["skipped"]) == ("fail", {})
    assert (metadata["protocol"], metadata["strict"]) == ("", False)
    assert {"e2e_jax", "numpy", "uproot"} == set(metadata["versions"])
    for split in ("train", "validation"):
        events = read_split(folder, split, progress=False)
        for label, name in enumerate(LABELS):
            runs = {str(run): np.sum((events.label == label) & (events.run == run)) for run in RUNS}
            assert metadata["events"][split][name] == {run: n for run, n in runs.items() if n}


def test_the_table_beside_it_finds_each_event_in_its_file(folder):
    table = pyarrow.parquet.read_table(folder / "skim.parquet").to_pylist()
    assert len(table) == 18
    row = table[7]
    event = aodsim.read_entries(row["file"], [row["entry"]])
    assert (event.run[0], event.lumi[0], event.event[0]) == (row["run"], row["lumi"], row["event"])


def test_lists_may_be_named_as_the_manual_folder_and_the_files_are_the_same(folder, lists, tmp_path):
    other = build(tmp_path, None, manual_dir=lists)
    metadata, others = (json.loads((path / "metadata.json").read_text()) for path in (folder, other))
    assert metadata == others
    for split in ("train", "validation"):
        one, two = (read_split(path, split, progress=False) for path in (folder, other))
        assert event_keys(one) == event_keys(two)
        for some, same in zip(one.examples(), two.examples()):
            np.testing.assert_equal(some, same)


def test_a_build_that_fails_leaves_no_dataset_and_the_next_reads_what_is_missing(
    lists, tmp_path, monkeypatch
):
    read, skimmed = aodsim.read_candidates, []

    def count(path, *args, **options):
        skimmed.append(pathlib.Path(path).name)
        return read(path, *args, **options)

    def fail(path, *args, **options):
        raise SourceError(path, "network", f"{path}: the line went dead.")

    monkeypatch.setattr(aodsim, "read_candidates", count)
    with monkeypatch.context() as patch:
        patch.setattr(aodsim, "read_entries", fail)
        with pytest.raises(SourceError, match="the line went dead"):
            build(tmp_path, lists)
    assert not list(tmp_path.rglob("*3.0.0*"))
    assert skimmed
    before = len(skimmed)
    assert len(read_split(build(tmp_path, lists), "train", progress=False)) == 12
    assert len(skimmed) == before
    assert not list((tmp_path / "downloads").rglob("*.npz"))
    # Another dataset of the same files skims nothing either.
    build(tmp_path, lists, name="other", train=5)
    assert len(skimmed) == before


def test_what_is_wrong_with_the_lists_is_told_before_anything_is_read(lists, tmp_path):
    with pytest.raises(
        SourceError, match=r"cms_hgg/mine reads files of your own.*gamma_gamma\.txt.*--manual_dir"
    ):
        build(tmp_path, None)
    for name in LABELS:
        write_list(tmp_path, name, [lists / f"{name}_0.root"])
    write_list(tmp_path, "h", [])
    with pytest.raises(SourceError, match=r"h\.txt lists no file"):
        build(tmp_path, tmp_path)
    assert not list(tmp_path.rglob("*.parquet"))


def test_the_configs_of_the_open_data_are_the_paper_s_samples():
    configs = {config.name: config for config in CMS_HGG if isinstance(config, HggFiles)}
    sizes = {name: (c.category, c.train, c.validation, c.sample, c.own_files) for name, c in configs.items()}
    both = [sum(era.share for era in hgg.ERAS[category]) for category in ("central", "central_forward")]
    assert sizes == {
        "opendata_central": ("central", 51_200, 11_800, both[0], False),
        "opendata_central_forward": ("central_forward", 120_000, 15_600, both[1], False),
        "opendata_files": ("central", 51_200, 11_800, 0, True),
    }
    assert {(config.on_error, config.eras) for config in configs.values()} == {("fail", "study")}
    metadata = configs["opendata_central"].provenance()
    assert metadata["origin"] == "CMS Open Data (AODSIM)"
    assert {name: s["record"] for name, s in metadata["samples"].items()} == {
        name: sample.record for name, sample in SAMPLES.items()
    }
    simulated = {c.provenance()["origin"] for c in CMS_HGG if isinstance(c, HggConfig)}
    assert simulated == {"fast simulation"}


def test_all_that_the_reading_imports_counts_in_its_version():
    """But for how files are found, opened and kept, tasks run, and errors told."""
    others = {
        "atomic",
        "code",
        "connection",
        "crops",
        "errors",
        "file_contents",
        "jet_pixels",
        "jobs",
        "keeping",
        "portal",
        "quotas",
        "remote",
    }
    imported = set()
    for part in code_version.READING:
        for node in ast.walk(ast.parse((ROOT / "e2e_jax" / part).read_text())):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("e2e_jax."):
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
                paths = {f"{name.removeprefix('e2e_jax.').replace('.', '/')}.py" for name in names}
                paths = {path for path in paths if (ROOT / "e2e_jax" / path).is_file()}
                imported |= {path for path in paths if pathlib.Path(path).stem not in others}
    assert imported <= set(code_version.READING)


@pytest.mark.slow
def test_the_command_builds_own_files(lists, tmp_path):
    command = [sys.executable, "-m", "e2e_jax.build", "cms_hgg/opendata_files", "--name=few"]
    options = ["--train=4", "--validation=2", f"--data_dir={tmp_path}", f"--files={lists}"]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(read_split(tmp_path / "cms_hgg/few/3.0.0", "train", progress=False)) == 12


@pytest.mark.slow
def test_the_tfds_command_reads_own_files(lists, tmp_path):
    """It finds the config by its name, and fills its splits as far as the few events of the lists reach."""
    pytest.importorskip("apache_beam", reason="the tfds command imports it")
    command = [pathlib.Path(sys.executable).with_name("tfds"), "build", "cms_hgg", "--config=opendata_files"]
    options = [f"--data_dir={tmp_path}", f"--manual_dir={lists}"]
    done = subprocess.run([*command, *options], cwd=ROOT / "data_builders", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "of the sizes asked for" in done.stdout
