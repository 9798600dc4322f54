"""Showers on disk: of guns and of HDF5 files, whole or not at all, and read by the pipeline as any sample."""

import concurrent.futures
import json
import pathlib
import subprocess
import sys

import h5py
import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_builders.ecal_showers.ecal_showers_dataset_builder import Builder
from e2e_jax.datasets import reading
from e2e_jax.datasets.layout import Layout
from e2e_jax.datasets.naming import ECAL_SHOWERS, Crops, GunConfig
from e2e_jax.datasets.splits import StoredDataset
from e2e_jax.devices import placement
from e2e_jax.errors import SourceError
from e2e_jax.events.showers import Showers
from e2e_jax.execution import jobs
from e2e_jax.studies import showers as showers_study
from e2e_jax.studies.showers import LABELS
from e2e_jax.study import Task
from tests import showers_of_cells
from tests.sources.public.test_shower_files import images_of, write

ROOT = pathlib.Path(__file__).parents[2]


def build(folder, config, **options):
    """Builds a dataset in this process's threads and gives its folder."""
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        builder = Builder(config=config, data_dir=folder, executor=executor)
        builder.download_and_prepare(**options)
    return folder / "ecal_showers" / config.name / "3.0.0"


def guns(produce=showers_of_cells.produce, name="tiny", **changes):
    return GunConfig(name=name, train=6, validation=3, produce=produce, **changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build(tmp_path_factory.mktemp("datasets"), guns())


def dataset(folder):
    return StoredDataset("/".join(folder.parts[-3:-1]), str(folder.parents[2]))


def read(folder, split, unread=()):
    return dataset(folder).read(split, showers_study.TASK, unread)


def test_every_shower_of_every_task_is_there_once(folder):
    for split, size in (("train", 6), ("validation", 3), ("test", 3)):
        showers = reading.read_split(folder, split, progress=False)
        assert isinstance(showers, Showers)
        made = [showers_of_cells.produce(task) for task in guns().jobs(split)]
        keys = [key for part in made for key in jobs.event_keys(part)]
        assert sorted(jobs.event_keys(showers)) == sorted(keys)
        assert np.bincount(showers.label).tolist() == [size, size]
        assert showers.digis.counts.all()


def test_metadata_say_what_it_is(folder):
    metadata = json.loads((folder / "metadata.json").read_text())
    assert (metadata["category"], metadata["view"], metadata["pt"]) == ("showers", "crop", [50.0, 50.0])
    assert metadata["digis"] is True
    assert metadata["events"]["validation"] == {name: {"1": 3} for name in LABELS}


def test_showers_outside_their_view_stop_the_build(tmp_path):
    def wrong(task):
        return showers_of_cells.showers_of([[1024]] * task.events, [[1]] * task.events, task.label, task.lumi)

    with pytest.raises(ValueError, match=r"cell = 1024 is outside the crop"):
        build(tmp_path, guns(wrong))
    assert not list((tmp_path / "ecal_showers").rglob("*3.0.0*"))


def test_an_interrupted_build_goes_on(tmp_path):
    made = []

    def stop_in_validation(task):
        made.append(task)
        if task.lumi > jobs.LUMI_BLOCK:
            raise ArithmeticError("power cut")
        return showers_of_cells.produce(task)

    with pytest.raises(jobs.JobError, match="power cut"):
        build(tmp_path, guns(stop_in_validation))
    assert len(list((tmp_path / "downloads").rglob("*.npz"))) == 2
    made.clear()

    def note(task):
        made.append(task)
        return showers_of_cells.produce(task)

    build(tmp_path, guns(note))
    assert made
    assert all(task.lumi > jobs.LUMI_BLOCK for task in made)


def test_configs_have_the_sizes_of_the_paper():
    assert [config.name for config in Builder.BUILDER_CONFIGS] == ["crops_quick"]
    configs = Builder.builder_configs
    paper = {name: configs[f"{name}_paper"] for name in ("crops", "barrel", "pairs")}
    assert {config.train + config.validation for config in paper.values()} == {249_000}
    assert [(c.gun.kind, c.gun.view, c.gun.digis) for c in paper.values()] == [
        ("single", "crop", True),
        ("single", "barrel", False),
        ("pair", "barrel", False),
    ]


@pytest.mark.parametrize("name", [config.name for config in ECAL_SHOWERS])
def test_each_config_has_a_builder(name, tmp_path):
    assert Builder(config=name, data_dir=tmp_path).builder_config.name == name


def test_training_gets_batches_of_showers(folder):
    showers = read(folder, "train", unread=("digis",))
    assert not showers.digis.counts.any()
    layout = Layout.padded(showers)
    batch = showers[[3, 1]].to_batch(layout.lengths)
    taken = layout.take(placement.pack(showers), np.array([3, 1]))
    for name, values in batch["crystals"].items():
        np.testing.assert_array_equal(taken["crystals"][name], values)
        assert taken["crystals"][name].dtype == values.dtype
    np.testing.assert_array_equal(taken["label"], batch["label"])


def test_digis_reach_the_device(folder):
    showers = read(folder, "train")
    layout = Layout.padded(showers)
    taken = layout.take(placement.pack(showers), np.arange(4))["digis"]
    np.testing.assert_array_equal(taken["samples"], showers[:4].to_batch(layout.lengths)["digis"]["samples"])


def test_the_metadata_hold_the_task_and_the_view(folder):
    description = dataset(folder).describe()
    assert Task(**description["task"]) == showers_study.TASK
    assert (description["view"], description["digis"]) == ("crop", True)


@pytest.fixture
def files(tmp_path):
    """A folder with a file of each particle, the electrons' with an empty crop."""
    folder = tmp_path / "files"
    folder.mkdir()
    write(folder / "SinglePhoton.hdf5", images_of(12), np.zeros(12))
    images = images_of(12, seed=1)
    images[3] = 0
    write(folder / "SingleElectron.hdf5", images, np.ones(12))
    return folder


def test_files_become_a_dataset(tmp_path, files):
    with h5py.File(files / "SingleElectron.hdf5", "a") as file:
        file["X"][3, 0, 0] = 0.1
    options = {"download_config": tfds.download.DownloadConfig(manual_dir=files)}
    folder = build(tmp_path, Crops(name="hdf5"), **options)
    metadata = json.loads((folder / "metadata.json").read_text())
    counts = {split: {n: c["1"] for n, c in of.items()} for split, of in metadata["events"].items()}
    assert {n: sum(of[n] for of in counts.values()) for n in LABELS} == {"photon": 12, "electron": 12}
    assert metadata["files"] == {"photon": "SinglePhoton.hdf5", "electron": "SingleElectron.hdf5"}
    for split, of in counts.items():
        showers = read(folder, split)
        assert np.bincount(showers.label).tolist() == list(of.values())


def test_a_file_at_fault_stops_the_build_or_is_counted(tmp_path, files):
    with pytest.raises(jobs.JobError, match=r"Event 3 of .*SingleElectron.hdf5 has no hit"):
        build(tmp_path, Crops(name="hdf5", files=str(files)))
    folder = build(tmp_path, Crops(name="hdf5", files=str(files), on_error="skip"))
    metadata = json.loads((folder / "metadata.json").read_text())
    assert sum(metadata["skipped"].values()) == 1
    assert sum(of["electron"]["1"] for of in metadata["events"].values()) == 11


def test_without_a_folder_the_command_says_how_to_name_one(tmp_path):
    with pytest.raises(SourceError, match=r"--manual_dir=DIR of tfds build"):
        build(tmp_path, Crops(name="hdf5"))


@pytest.mark.slow
def test_the_command_builds(tmp_path):
    """`tfds build` as typed, with the guns themselves; any size may be asked for."""
    pytest.importorskip("apache_beam", reason="the tfds command imports it")
    size = json.dumps({"name": "few", "train": 2, "validation": 1})
    tfds_command = pathlib.Path(sys.executable).with_name("tfds")
    command = [tfds_command, "build", "ecal_showers", f"--config={size}", f"--data_dir={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT / "data_builders", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "ecal_showers/few/3.0.0" in done.stdout
    assert len(tfds.data_source("ecal_showers/few", split="train", data_dir=tmp_path)) == 4
