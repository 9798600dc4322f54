"""Jets on disk: built of public files, told apart by these, and trained on by one command."""

import concurrent.futures
import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data_builders.cms_jets.cms_jets_dataset_builder import Builder
from e2e_jax import experiment
from e2e_jax.commands import build as command
from e2e_jax.configs import jets_resnet, tops_resnet
from e2e_jax.datasets import preparation, reading
from e2e_jax.datasets.naming import CMS_JETS, JetConfig
from e2e_jax.datasets.splits import StoredDataset
from e2e_jax.errors import DatasetError
from e2e_jax.events.jets import Jets
from e2e_jax.execution.jobs import JobError
from e2e_jax.studies import jets as study
from tests.jet_images import columns_of, images_of, jets_of, write_hdf5, write_parquet

N = 30
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for k in range(2):
        write_parquet(folder / f"run{k}.test.snappy.parquet", images_of(N, seed=k), columns_of(N, seed=k))
    return folder


def built(config, folder, **fields):
    """Builds a config in this process's threads and gives the dataset's folder."""
    config = dataclasses.replace(config, **fields)
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        Builder(config=config, data_dir=folder, executor=executor).download_and_prepare()
    return folder / "cms_jets" / config.name / "3.0.0"


def public(name):
    return next(config for config in CMS_JETS if config.name == name)


@pytest.fixture(scope="module")
def folder(files, tmp_path_factory):
    return built(public("parquet"), tmp_path_factory.mktemp("datasets"), files=str(files))


def test_a_dataset_of_files_has_every_jet_once(folder):
    jets = [reading.open_split(folder, split, False) for split in ("train", "validation")]
    assert all(isinstance(of, Jets) for of in jets)
    assert [len(of) for of in jets] == [2 * N * 4 // 5, 2 * N // 5]
    together = Jets.concatenate(jets)
    given = images_of(N, seed=1)
    where = np.flatnonzero((together.lumi > 100_000) & (together.event == 7))
    drawn = Jets.from_images(given[[7]], range(3), 1, [7], [1], {})
    np.testing.assert_allclose(together[where].pixels.value, drawn.pixels.value, rtol=2**-12)
    assert np.bincount(together.label).tolist() == [N, N]


def test_metadata_name_the_files_and_another_build_of_other_files_is_refused(folder, files, tmp_path):
    metadata = preparation.read_metadata(folder)
    assert [name for name, _ in metadata["files"]] == sorted(path.name for path in files.iterdir())
    assert metadata["channels"] == list(study.CHANNELS)
    again = command.build("cms_jets/parquet", str(folder.parents[2]), files=str(files))
    assert again[0] == folder
    write_parquet(tmp_path / "other.parquet", images_of(3), columns_of(3))
    with pytest.raises(DatasetError, match="another dataset"):
        command.build("cms_jets/parquet", str(folder.parents[2]), files=str(tmp_path))


def test_a_dataset_without_labels_or_with_other_channels_trains_no_classifier(folder, tmp_path):
    write_hdf5(tmp_path / "unlabelled.h5", images_of(10, 8), {}, image="jet")
    place = built(public("tops_unlabelled"), tmp_path / "data", files=str(tmp_path))
    assert set(reading.open_split(place, "train", False).label) == {-1}
    config = tops_resnet.get_config()
    config.dataset.name = "cms_jets/tops_unlabelled"
    about = StoredDataset(config.dataset.name, str(tmp_path / "data")).describe()
    with pytest.raises(DatasetError, match="no labels"):
        experiment.task_of(config, about)
    about = StoredDataset("cms_jets/parquet", str(folder.parents[2])).describe()
    with pytest.raises(DatasetError, match="d0"):
        experiment.task_of(config, about)


def test_a_fault_in_a_file_ends_the_build_and_is_told_with_its_row_group(tmp_path):
    given = images_of(N)
    given[3, 0, 5, 5] = np.nan
    path = write_parquet(tmp_path / "bad.parquet", given, columns_of(N))
    with pytest.raises(JobError, match=r"Row group 3 of .*bad\.parquet has a number that is not finite"):
        built(public("parquet"), tmp_path / "data", files=str(tmp_path))
    place = built(public("parquet"), tmp_path / "data", files=str(path), on_error="skip")
    assert sum(preparation.read_metadata(place)["skipped"].values()) == 1


def test_simulated_jets_are_built_of_their_jobs(tmp_path):
    def produce(job):
        jets = jets_of(2 * job.events)
        jets = jets[jets.label == job.label]
        columns = {o.name: jets.pt for o in study.TASK.observables}
        return dataclasses.replace(jets, lumi=np.full(len(jets), job.lumi), observables=columns)

    place = built(JetConfig(name="tiny", train=4, validation=2, produce=produce), tmp_path)
    train = reading.open_split(place, "train", False)
    assert np.bincount(train.label).tolist() == [4, 4]
    assert {o.name for o in study.TASK.observables} == set(train.observables)


@pytest.mark.slow
def test_one_command_trains_from_the_files(files, tmp_path):
    sizes = {"train.epochs": 1, "train.batch_size": 8, "evaluate.bootstrap": 5, "data.placement": "disk"}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "e2e_jax.main", "--config=e2e_jax.configs.jets_resnet"),
            *("--config.dataset.name=cms_jets/parquet", f"--files={files}", f"--workdir={tmp_path / 'run'}"),
            f"--config.dataset.data_dir={tmp_path / 'data'}",
            *(f"--config.{name}={value}" for name, value in sizes.items()),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "placement 'disk'" in done.stdout + done.stderr
    assert (tmp_path / "run" / "report.html").exists()
    assert len(list((tmp_path / "run" / "figures").glob("event_*.png"))) > 1


def test_the_configs_name_datasets_that_exist():
    known = {f"cms_jets/{config.name}" for config in CMS_JETS}
    for size in ("quick", "medium", "paper"):
        assert jets_resnet.get_config(size).dataset.name in known
    assert tops_resnet.get_config().dataset.name in known
