"""The dataset on disk: written whole or not at all, the same each time, read with and without TensorFlow."""

import concurrent.futures
import dataclasses
import json
import logging
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds

import e2e_jax
from data_builders.cms_hgg.cms_hgg_dataset_builder import Builder
from e2e_jax.datasets import code_version, preparation
from e2e_jax.datasets.naming import CMS_HGG, HggConfig
from e2e_jax.datasets.production import Place
from e2e_jax.errors import WorkdirError
from e2e_jax.events.base import Ragged
from e2e_jax.events.diphotons import Events, leading
from e2e_jax.execution import jobs
from e2e_jax.sources.simulation import pileup, pool_files
from e2e_jax.studies.hgg import LABELS
from tests import synthetic_tasks
from tests.synthetic import kinematics_config

HITS = {"detector": tfds.decode.SkipDecoding()}
ROOT = pathlib.Path(__file__).parents[2]


def build(folder, produce=synthetic_tasks.produce, name="tiny", train=8, validation=4, **options):
    """Builds a dataset of synthetic events in this process's threads."""
    config = HggConfig(name=name, train=train, validation=validation, produce=produce)
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        builder = Builder(config=config, data_dir=folder, executor=executor, **options)
        builder.download_and_prepare()
    return builder


def read(folder, split="train"):
    source = tfds.data_source("cms_hgg/tiny", split=split, data_dir=folder, decoders=HITS)
    return Events.from_examples(source, ["mass"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("datasets")
    build(folder)
    return folder


def test_every_event_of_every_task_is_there_once(folder):
    for split in jobs.SPLITS:
        events = read(folder, split)
        made = HggConfig(name="x", train=8, validation=4).jobs(split)
        expected = [key for job in made for key in jobs.event_keys(synthetic_tasks.produce(job))]
        assert sorted(jobs.event_keys(events)) == sorted(expected)
        assert np.bincount(events.label).tolist() == [len(events) // 3] * 3


def test_events_are_stored_as_made(folder):
    events = read(folder)
    made = Events.concatenate(
        synthetic_tasks.produce(t) for t in HggConfig(name="x", train=8, validation=4).jobs("train")
    )
    made = made[[jobs.event_keys(made).index(key) for key in jobs.event_keys(events)]]
    np.testing.assert_array_equal(events.mass, made.mass)
    np.testing.assert_array_equal(leading(events.photons), leading(made.photons))
    np.testing.assert_array_equal(events.eb.cell, made.eb.cell)
    np.testing.assert_allclose(events.tracks.pt, made.tracks.pt, rtol=2e-4)


@pytest.mark.slow
def test_a_run_is_bound_to_the_events_of_its_dataset(tmp_path):
    def others(job):
        return synthetic_tasks.produce(dataclasses.replace(job, seed=job.seed + 1))

    build(tmp_path / "here", train=12, validation=12)
    build(tmp_path / "elsewhere", produce=others, train=12, validation=12)
    config = kinematics_config(epochs=1)
    config.dataset.update(name="cms_hgg/tiny", data_dir=str(tmp_path / "here"))
    e2e_jax.train(config, tmp_path / "run")
    config.dataset.data_dir = str(tmp_path / "elsewhere")
    with pytest.raises(WorkdirError, match="another dataset"):
        e2e_jax.train(config, tmp_path / "run")


def test_another_build_gives_the_same_files(folder, tmp_path):
    build(tmp_path)
    for path in (folder / "cms_hgg/tiny/3.0.0").glob("*.array_record*"):
        assert path.read_bytes() == (tmp_path / "cms_hgg/tiny/3.0.0" / path.name).read_bytes()


ANOTHER_BUILD = """
import sys
from data_builders.cms_hgg.cms_hgg_dataset_builder import Builder
from e2e_jax.datasets.naming import HggConfig
from tests.synthetic_tasks import produce

config = HggConfig(name="tiny", train=8, validation=4, produce=produce)
Builder(config=config, data_dir=sys.argv[1]).download_and_prepare()
"""


@pytest.mark.slow
def test_a_build_by_another_process_has_the_same_fingerprint(folder, tmp_path):
    command = [sys.executable, "-c", ANOTHER_BUILD, str(tmp_path)]
    here = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=here, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    one, other = (preparation.fingerprint(at / "cms_hgg/tiny/3.0.0") for at in (folder, tmp_path))
    assert one == other
    assert len({*one.values()}) == 3


def test_metadata_says_what_it_is(folder):
    metadata = json.loads((folder / "cms_hgg/tiny/3.0.0/metadata.json").read_text())
    assert metadata["origin"] == "fast simulation"
    assert metadata["seed"] == 2012
    assert {"e2e_jax", "numpy", "pythia8"} == set(metadata["versions"])
    assert {name: sum(eras.values()) for name, eras in metadata["events"]["train"].items()} == dict.fromkeys(
        LABELS, 8
    )


def test_an_event_takes_at_most_6_kb(tmp_path):
    build(tmp_path, train=200, validation=1)
    size = sum(p.stat().st_size for p in (tmp_path / "cms_hgg/tiny/3.0.0").glob("*train*"))
    assert size / 600 < 6000


def test_an_interrupted_build_leaves_no_dataset_and_the_next_goes_on(tmp_path):
    made = []

    def stop_in_validation(job):
        made.append(job)
        if job.lumi > jobs.LUMI_BLOCK:
            raise KeyboardInterrupt
        return synthetic_tasks.produce(job)

    with pytest.raises((KeyboardInterrupt, jobs.JobError)):
        build(tmp_path, stop_in_validation)
    assert not list((tmp_path / "cms_hgg").rglob("*3.0.0*"))
    kept = list((tmp_path / "downloads").rglob("*.npz"))
    assert len(kept) == 9

    made.clear()

    def note(job):
        made.append(job)
        return synthetic_tasks.produce(job)

    build(tmp_path, note)
    assert all(job.lumi > jobs.LUMI_BLOCK for job in made)
    assert not list((tmp_path / "downloads").rglob("*.npz"))
    assert len(read(tmp_path)) == 24


def test_tasks_finished_by_other_code_are_not_reused(tmp_path):
    def code(text):
        path = tmp_path / "simulation.py"
        path.write_text(text)
        namespace = {}
        exec(compile(text, path, "exec"), namespace)
        return code_version.code_version(namespace["produce"])

    one = code("def produce(job):\n    return 1\n")
    assert code('def produce(job):\n    """Says."""\n    # why\n    return 1\n') == one
    assert code("def produce(job):\n    return 2\n") != one


def test_leftovers_of_a_killed_build_go(tmp_path):
    leftover = tmp_path / "cms_hgg/tiny/incomplete.ABCDEF_3.0.0"
    leftover.mkdir(parents=True)
    build(tmp_path)
    assert not leftover.exists()


def test_a_first_build_logs_no_warning(tmp_path, caplog):
    build(tmp_path)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_second_build_waits_for_the_first_and_uses_its_dataset(tmp_path, capfd):
    made, started, goes_on = [], threading.Event(), threading.Event()

    def slow(job):
        made.append(job)
        started.set()
        assert goes_on.wait(60)
        return synthetic_tasks.produce(job)

    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        builds = [executor.submit(build, tmp_path, slow)]
        assert started.wait(60)
        builds.append(executor.submit(build, tmp_path, slow))
        said, until = "", time.monotonic() + 60
        while "Waiting for" not in said and time.monotonic() < until:
            said += capfd.readouterr().out
        goes_on.set()
        for done in concurrent.futures.as_completed(builds):
            assert done.result().info.splits["train"].num_examples == 24
    assert f"Waiting for process {os.getpid()} on {socket.gethostname()}" in said
    assert len(made) == len({job.fingerprint() for job in made})
    assert len(read(tmp_path)) == 24


def test_impossible_values_stop_the_build(tmp_path):
    def broken(job):
        events = synthetic_tasks.produce(job)
        events.eb.energy[3] = np.nan
        return events

    with pytest.raises(ValueError, match=r"eb\.energy = nan is not finite"):
        build(tmp_path, broken)
    assert not list((tmp_path / "cms_hgg").rglob("*3.0.0*"))


def test_a_bare_build_is_the_quick_one_and_all_configs_have_names():
    assert [config.name for config in Builder.BUILDER_CONFIGS] == ["quick"]
    simulated = [config for config in CMS_HGG if isinstance(config, HggConfig)]
    assert [config.name for config in simulated] == list(Builder.builder_configs)[:6]
    sizes = {config.name: (config.train, config.validation, config.fast) for config in simulated}
    assert sizes == {
        "quick": (2000, 600, True),
        "medium": (15000, 3000, True),
        "paper": (51200, 11800, False),
        "forward_quick": (2000, 600, True),
        "forward_medium": (15000, 3000, True),
        "forward_paper": (120000, 15600, False),
    }


@pytest.mark.parametrize("name", [config.name for config in CMS_HGG])
def test_each_config_has_a_builder(name, tmp_path):
    assert Builder(config=name, data_dir=tmp_path).builder_config.name == name


@pytest.mark.slow
def test_tensorflow_reads_tfrecord(tmp_path):
    pytest.importorskip("tensorflow")
    build(tmp_path, file_format="tfrecord")
    examples = list(tfds.load("cms_hgg/tiny", split="train", data_dir=tmp_path).as_numpy_iterator())
    assert len(examples) == 24
    assert examples[0]["detector"]["barrel"].shape == (170, 360, 3)


WITHOUT_TENSORFLOW = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] == "tensorflow" else self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]

import tensorflow_datasets as tfds
from data_builders.cms_hgg.cms_hgg_dataset_builder import Builder
from e2e_jax.datasets.naming import HggConfig
from tests.synthetic_tasks import produce

config = HggConfig(name="tiny", train=2, validation=1, produce=produce)
Builder(config=config, data_dir=sys.argv[1]).download_and_prepare()
(first, *rest) = tfds.data_source("cms_hgg/tiny", split="train", data_dir=sys.argv[1])
print(len(rest) + 1, first["detector"]["barrel"].shape, "tensorflow" in sys.modules)
"""


@pytest.mark.slow
def test_a_build_and_its_reading_need_no_tensorflow(tmp_path):
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, str(tmp_path)]
    here = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=here, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "6 (170, 360, 3) False"


def write_empty_pileup():
    """Puts a pile-up without deposits into the cache: simulating that of a dataset takes a minute."""
    nothing = np.zeros(pool_files.SHARD_EVENTS, np.int64)
    cells = {"cell": np.zeros(0, np.uint16), "energy": np.zeros(0, np.float32)}
    tracks = dict.fromkeys(("pt", "eta", "phi"), np.zeros(0, np.float32))
    ecal, hcal, tracks = (Ragged.from_counts(nothing, columns) for columns in (cells, cells, tracks))
    zeros = np.zeros(len(nothing), np.float32)
    for split in jobs.SPLITS:
        path = pool_files.Shards(split).path(0)
        path.parent.mkdir(parents=True, exist_ok=True)
        pool_files.write_pool(path, pileup.Pool(ecal, hcal, tracks, zeros, zeros))


@pytest.mark.slow
def test_the_command_builds_from_either_folder(tmp_path, monkeypatch):
    """`tfds build` as typed, from both places, with the simulation itself; any size may be asked for."""
    pytest.importorskip("apache_beam", reason="the tfds command imports it")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_empty_pileup()
    size = json.dumps({"name": "few", "train": 1, "validation": 1})
    tfds_command = pathlib.Path(sys.executable).with_name("tfds")
    for cwd, name in ((ROOT / "data_builders", "cms_hgg"), (ROOT, "data_builders/cms_hgg")):
        command = [tfds_command, "build", name, f"--config={size}", f"--data_dir={tmp_path}"]
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "cms_hgg/few/3.0.0" in done.stdout
    assert len(tfds.data_source("cms_hgg/few", split="train", data_dir=tmp_path)) == 3


def test_all_splits_run_as_one_list_and_are_taken_in_order(tmp_path):
    config, runs = HggConfig(name="x", train=8, validation=4, produce=synthetic_tasks.produce), []

    def run(made, produce, **_):
        runs.append(len(made))
        return ((job, produce(job)) for job in made)

    def production():
        return config.production(Place(run, tmp_path, tmp_path, None, "title"))

    made = production()
    labels = [[events.label.tolist() for events in made.events(split)] for split in jobs.SPLITS]
    expected = [
        [synthetic_tasks.produce(job).label.tolist() for job in config.jobs(split)] for split in jobs.SPLITS
    ]
    assert labels == expected
    assert runs == [sum(map(len, expected))]
    with pytest.raises(RuntimeError):
        list(production().events("validation"))
