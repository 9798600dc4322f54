"""The scores of a file equal the predictions for its events, also after interruptions."""

import concurrent.futures
import dataclasses
import json
import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import uproot
from pyarrow import parquet

from e2e_jax.datasets import finding, reading
from e2e_jax.errors import ScoreError, SourceError
from e2e_jax.events.base import Ragged
from e2e_jax.events.diphotons import leading
from e2e_jax.execution import cluster
from e2e_jax.execution.workers import WorkerPool
from e2e_jax.inference.loading import load_classifier
from e2e_jax.inference.scoring import files, inputs, jobs, output
from e2e_jax.sources.public import shower_files
from e2e_jax.sources.root import aodsim, ntuple
from e2e_jax.studies.hgg import SELECTIONS
from e2e_jax.study.selection import kept
from tests.aodsim_file import random_events, write_aodsim
from tests.score_files import build_dataset, save_run, write_crops, write_ntuple
from tests.synthetic import image_config, kinematics_config
from tests.synthetic_showers import vgg_config

N = 9
ALONE = 4
"""An event with one photon."""


@pytest.fixture(scope="module")
def kinematics(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("kinematics"), kinematics_config())


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("images"), image_config())


@pytest.fixture(scope="module")
def showers(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("showers"), vgg_config())


def write_events(path, seed=0):
    """An AODSIM file in which every second event passes the selection, and one has a single photon."""
    events = random_events(N, seed, selected=np.arange(N) % 2 == 0)
    flat = leading(events.photons).reshape(-1, 3)
    photons = Ragged.from_counts(np.full(N, 2), dict(zip(("pt", "eta", "phi"), flat.T)))
    keep = np.arange(2 * N) != 2 * ALONE + 1
    return write_aodsim(path, events, photons=photons.filter(keep))


@pytest.fixture(scope="module")
def aodsim_file(tmp_path_factory):
    return write_events(tmp_path_factory.mktemp("aodsim") / "events.root")


def read_table(path):
    """The columns of a Parquet file, and their description."""
    table = parquet.read_table(path)
    about = json.loads(parquet.read_metadata(path).metadata[output.METADATA])
    return {name: table[name].to_numpy() for name in table.column_names}, about


def score(*arguments, **options):
    return files.score(*arguments, progress=False, **{"job_events": 4, **options})


def check(path, events, workdir, labels=None):
    """The file contains the events and the classifier's predictions for all of them at once."""
    columns, _ = read_table(path)
    classifier = load_classifier(workdir)
    found = np.stack([columns[f"probability_{name}"] for name in classifier.classes], axis=1)
    np.testing.assert_allclose(found, classifier.predict(events, invalid="nan"), rtol=1e-5, atol=1e-7)
    for name in ("run", "lumi", "event"):
        np.testing.assert_array_equal(columns[name], getattr(events, name))
    np.testing.assert_array_equal(columns["label"], events.label if labels is None else labels)
    for observable in classifier.task.observables:
        np.testing.assert_array_equal(columns[observable.name], getattr(events, observable.name))
    return columns


def test_all_events_of_an_aodsim_file_are_scored_and_invalid_ones_are_counted(
    aodsim_file, kinematics, tmp_path
):
    scored = score(kinematics, [aodsim_file], tmp_path / "scores.parquet")
    events = aodsim.read_events(aodsim_file)
    events = dataclasses.replace(events, observables=SELECTIONS["central"](events).observables)
    columns = check(scored.path, events, kinematics)
    assert (scored.events, scored.invalid) == (N, 1)
    assert np.flatnonzero(np.isnan(columns["probability_h"])).tolist() == [ALONE]
    assert columns["entry"].tolist() == list(range(N))


def test_a_selection_leaves_out_what_it_refuses(aodsim_file, kinematics, tmp_path):
    path = tmp_path / "scores.parquet"
    assert score(kinematics, [aodsim_file], path, select="central").invalid == 0
    events = kept(aodsim.read_events(aodsim_file), SELECTIONS["central"])[0]
    columns = check(path, events, kinematics)
    assert columns["entry"].tolist() == [0, 2, 6, 8]


def test_images_of_an_ntuple_are_scored(images, tmp_path):
    path = write_ntuple(tmp_path / "flat.root")
    scored = score(images, [path], tmp_path / "scores.parquet", job_events=2)
    assert not np.isnan(check(scored.path, ntuple.read_events(path), images)["probability_h"]).any()


@pytest.mark.slow
@pytest.mark.parametrize("split", ["", ":train"])
def test_a_split_of_a_dataset_is_scored_with_its_labels(kinematics, tmp_path, split):
    folder = build_dataset(tmp_path)
    scored = score(kinematics, [folder + split], tmp_path / "scores.parquet")
    events = reading.read_split(finding.dataset_folder(folder), split[1:] or "validation", progress=False)
    assert set(check(scored.path, events, kinematics)["label"]) == {0, 1, 2}


def test_showers_of_an_hdf5_file_are_scored(showers, tmp_path):
    path = write_crops(tmp_path / "electrons.hdf5")
    scored = score(showers, [path], tmp_path / "scores.parquet")
    columns = check(scored.path, shower_files.read(shower_files.CropsJob(path, 0, 12)), showers)
    assert columns["entry"].tolist() == columns["event"].tolist() == list(range(12))
    assert (columns["label"] == load_classifier(showers).task.labels.index("electron")).all()


def test_labels_have_the_numbers_of_the_classifier(kinematics, tmp_path):
    names = load_classifier(kinematics).task.labels
    (found,) = inputs.find([build_dataset(tmp_path)])
    job = jobs.ScoreJob(found, 0, found.events, jobs.Model.of(kinematics))
    reordered = dataclasses.replace(found, labels=(names[2], "something", names[0]))
    label = jobs.score(job)["label"]
    assert set(label) == {0, 1, 2}
    renamed = jobs.score(dataclasses.replace(job, found=reordered))["label"]
    np.testing.assert_array_equal(renamed, np.array([2, -1, 0])[label])


def test_several_files_are_told_apart(aodsim_file, kinematics, tmp_path):
    other = write_events(tmp_path / "other.root", seed=1)
    scored = score(kinematics, [aodsim_file, other], tmp_path / "scores.parquet")
    columns, about = read_table(scored.path)
    assert columns["file"].tolist() == [0] * N + [1] * N
    assert columns["entry"].tolist() == 2 * list(range(N))
    assert about["files"] == [aodsim_file, other]
    pattern = str(tmp_path / "*.root")
    again = score(kinematics, [pattern], tmp_path / "again.parquet")
    assert again.events == N
    with pytest.raises(ScoreError, match="given twice"):
        score(kinematics, [other, pattern], tmp_path / "twice.parquet")


# Faults


def test_the_same_events_in_two_files_are_refused_or_left_out_and_counted(aodsim_file, kinematics, tmp_path):
    events = random_events(5, seed=7, first=100)
    both = type(events).concatenate([aodsim.read_events(aodsim_file)[2:4], events])
    other = write_aodsim(tmp_path / "other.root", both)
    path = tmp_path / "scores.parquet"
    with pytest.raises(SourceError) as told:
        score(kinematics, [aodsim_file, other], path)
    assert told.value.reason == "duplicate"
    assert aodsim_file in str(told.value)
    assert other in str(told.value)
    scored = score(kinematics, [aodsim_file, other], path, on_error="skip")
    columns, about = read_table(path)
    assert scored.skipped == about["skipped"] == {"duplicate": 2}
    assert scored.events == len(columns["entry"]) == N + 5
    assert columns["entry"].tolist() == [*range(N), *range(2, 7)]


def test_different_events_of_one_address_are_all_scored(aodsim_file, kinematics, tmp_path):
    other = write_events(tmp_path / "other.root", seed=1)
    one, two = (aodsim.read_events(path) for path in (aodsim_file, other))
    np.testing.assert_array_equal(one.event, two.event)
    scored = score(kinematics, [aodsim_file, other], tmp_path / "scores.parquet")
    assert (scored.events, scored.skipped) == (2 * N, {})


def test_events_and_files_at_fault_are_left_out_and_counted(aodsim_file, kinematics, tmp_path):
    events = random_events(6, seed=2, first=50)
    events.eb.energy[events.eb.offsets[3]] = np.nan
    faulty = write_aodsim(tmp_path / "faulty.root", events)
    cut = tmp_path / "cut.root"
    cut.write_bytes(Path(aodsim_file).read_bytes()[:5000])
    given, path = [aodsim_file, faulty, str(cut)], tmp_path / "scores.parquet"
    with pytest.raises(SourceError):
        score(kinematics, given[:2], path)
    with pytest.raises(SourceError):
        score(kinematics, given[::2], path)
    scored = score(kinematics, given, path, on_error="skip", job_events=2)
    columns, about = read_table(path)
    assert scored.skipped == about["skipped"] == {"not_finite": 1, "file: truncated": 1}
    assert columns["entry"][columns["file"] == 1].tolist() == [0, 1, 2, 4, 5]
    assert scored.events == N + 5
    with pytest.raises(ScoreError, match="truncated"):
        score(kinematics, [str(cut)], path, on_error="skip")


def test_crops_at_fault_are_left_out_and_counted(showers, tmp_path):
    path = write_crops(tmp_path / "electrons.hdf5")
    with h5py.File(path, "r+") as file:
        file["X"][5, 0, 0, 0] = np.nan
    with pytest.raises(SourceError):
        score(showers, [path], tmp_path / "scores.parquet")
    scored = score(showers, [path], tmp_path / "scores.parquet", on_error="skip")
    assert scored.skipped == {"crop at fault": 1}
    assert read_table(scored.path)[0]["entry"].tolist() == [row for row in range(12) if row != 5]


def test_root_equals_parquet(aodsim_file, kinematics, tmp_path):
    for ending in output.WRITERS:
        score(kinematics, [aodsim_file], tmp_path / f"scores{ending}")
    columns, about = read_table(tmp_path / "scores.parquet")
    with uproot.open(tmp_path / "scores.root") as file:
        found = file[output.TREE].arrays(library="np")
        assert json.loads(str(file[output.ABOUT])) == about
    assert list(found) == list(columns)
    for name, values in columns.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values)


class Counting(concurrent.futures.ThreadPoolExecutor):
    """Executor that counts its jobs, and is interrupted after some of them."""

    def __init__(self, most=100):
        super().__init__(1)
        self.count, self.most = 0, most

    def submit(self, *arguments):
        if self.count == self.most:
            raise KeyboardInterrupt
        self.count += 1
        started = super().submit(*arguments)
        # A job that waits would be cancelled by the interruption.
        concurrent.futures.wait([started])
        return started


def interrupt(*arguments, after=2):
    with Counting(after) as executor, pytest.raises(KeyboardInterrupt):
        score(*arguments, executor=executor, job_events=2)


def jobs_done(*arguments):
    """Number of finished jobs, of the five of an AODSIM file, when the command continues."""
    with Counting() as executor:
        score(*arguments, executor=executor, job_events=2)
    return executor.count


def test_an_interrupted_command_continues(aodsim_file, kinematics, tmp_path):
    arguments = kinematics, [aodsim_file], tmp_path / "scores.parquet"
    interrupt(*arguments)
    assert not arguments[2].exists()
    assert jobs_done(*arguments) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["scores.parquet"]
    uninterrupted = score(kinematics, [aodsim_file], tmp_path / "whole.parquet", job_events=2).path
    assert arguments[2].read_bytes() == uninterrupted.read_bytes()


@pytest.mark.slow
def test_scores_of_another_classifier_or_of_a_changed_file_are_not_mixed_in(kinematics, tmp_path):
    path = write_events(tmp_path / "events.root")
    arguments = kinematics, [path], tmp_path / "scores.parquet"
    other = save_run(tmp_path / "other", kinematics_config(), seed=1)
    interrupt(*arguments)
    interrupt(other, *arguments[1:])
    write_events(path, seed=3)
    os.utime(path, ns=(1, 1))
    assert jobs_done(*arguments) == 5
    events = aodsim.read_events(path)
    events = dataclasses.replace(events, observables=SELECTIONS["central"](events).observables)
    check(arguments[2], events, kinematics)


@pytest.mark.slow
def test_a_file_that_changes_meanwhile_is_noticed(kinematics, tmp_path):
    class Changing(concurrent.futures.ThreadPoolExecutor):
        def submit(self, *arguments):
            os.utime(path, ns=(1, 1))
            return super().submit(*arguments)

    path = write_events(tmp_path / "events.root")
    with Changing(1) as executor, pytest.raises(ScoreError, match="changed while"):
        score(kinematics, [path], tmp_path / "scores.parquet", executor=executor)


def test_what_cannot_be_written_is_told_and_leaves_the_earlier_file(
    aodsim_file, kinematics, tmp_path, monkeypatch
):
    def full(path, columns, about):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    path = tmp_path / "scores.parquet"
    path.write_text("earlier")
    monkeypatch.setitem(output.WRITERS, ".parquet", full)
    with pytest.raises(ScoreError, match=r"scores.parquet cannot be written \(No space left on device\)"):
        score(kinematics, [aodsim_file], path)
    assert path.read_text() == "earlier"
    monkeypatch.undo()
    score(kinematics, [aodsim_file], path)
    assert len(read_table(path)[0]["entry"]) == N
    assert [found.name for found in tmp_path.iterdir()] == ["scores.parquet"]


def test_a_worker_with_other_code_or_another_checkpoint_refuses(kinematics, tmp_path):
    model = jobs.Model.of(kinematics)
    for change in ({"code": "other"}, {"digest": "other"}):
        with pytest.raises((RuntimeError, ValueError), match=r"another (version|checkpoint)"):
            dataclasses.replace(model, **change).load()


def test_a_job_travels_with_a_selection_of_a_study(aodsim_file, kinematics, tmp_path):
    (found,) = inputs.find([aodsim_file])
    job = jobs.ScoreJob(found, 1, 3, jobs.Model.of(kinematics), SELECTIONS["central"])
    copy = pickle.loads(pickle.dumps(job))
    assert copy.fingerprint() == job.fingerprint()
    np.testing.assert_equal(jobs.score(copy), jobs.score(job))


@pytest.mark.slow
@pytest.mark.parametrize("where", ["processes", "cluster"])
def test_other_processes_give_the_same_scores(aodsim_file, kinematics, tmp_path, where):
    expected = score(kinematics, [aodsim_file], tmp_path / "here.parquet").path
    path = tmp_path / "there.parquet"
    if where == "processes":
        with WorkerPool(1) as executor:
            score(kinematics, [aodsim_file], path, executor=executor)
    else:
        pytest.importorskip("distributed", reason="no Dask (pip install 'e2e_jax[cluster]')")
        from tests.dask_cluster import dask_cluster

        with dask_cluster(tmp_path, workers=1) as dask, cluster.executor(dask.address) as executor:
            score(kinematics, [aodsim_file], path, executor=executor)
    (one, _), (other, _) = read_table(expected), read_table(path)
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-5, atol=1e-7)
