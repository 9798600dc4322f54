"""A release is a small folder that opens like the run it comes from, and holds nothing of the machine."""

import json

import numpy as np
import pytest

from e2e_jax.errors import WorkdirError
from e2e_jax.events.diphotons import COLLECTIONS
from e2e_jax.inference.loading import load_classifier
from e2e_jax.inference.release import LARGEST, read_events, release
from e2e_jax.runs.checkpoints import read_about
from e2e_jax.runs.folder import read_config
from e2e_jax.studies import hgg
from e2e_jax.studies.hgg import LABELS
from tests.objects import dataset_in_memory
from tests.runs.test_checkpoints import assert_equal, save_run
from tests.synthetic import kinematics_config, sample

PROGRESS = {"history": [{"epoch": 1, "step": 5, "auc_h": 0.7, "cvm": 0.001}], "steps": 0}
RESULTS = {"config": {"dataset": {"data_dir": "/home/me"}}, "provenance": {"seed": 1, "platform": "my-host"}}


@pytest.fixture
def run(tmp_path):
    """A finished run."""
    config = kinematics_config()
    config.dataset.data_dir = "/home/me/datasets"
    save_run(tmp_path / "run", config, PROGRESS)
    (tmp_path / "run" / "results.json").write_text(json.dumps(RESULTS))
    return tmp_path / "run"


def released(run, folder, per_class, hits=12):
    """The release of a run whose dataset is a sample in memory."""
    dataset = dataset_in_memory(validation=sample(per_class=9, hits=hits))
    return release(run, folder, per_class, dataset)


def test_a_release_opens_like_its_run(run, tmp_path):
    folder = released(run, tmp_path / "released", 4)
    ours, theirs = load_classifier(folder), load_classifier(run)
    assert_equal(ours.params, theirs.params)
    assert read_about(folder)["progress"] == PROGRESS
    assert read_config(folder).dataset.data_dir == ""
    assert ours.task == hgg.TASK
    events, probabilities = read_events(folder)
    assert np.bincount(events.label).tolist() == [4] * len(LABELS)
    np.testing.assert_array_equal(ours.predict(events), probabilities)
    np.testing.assert_array_equal(theirs.predict(events), probabilities)


def test_the_events_come_back_as_they_were(run, tmp_path):
    folder = released(run, tmp_path / "released", 9)
    there, here = read_events(folder)[0], sample(per_class=9)
    for name in ("run", "lumi", "event", "mass", "label"):
        np.testing.assert_array_equal(getattr(there, name), getattr(here, name))
        assert getattr(there, name).dtype == getattr(here, name).dtype
    for name in COLLECTIONS:
        np.testing.assert_array_equal(getattr(there, name).offsets, getattr(here, name).offsets)
        assert_equal(getattr(there, name).columns, getattr(here, name).columns)


def test_a_release_is_small_and_says_nothing_of_the_machine(run, tmp_path):
    folder = released(run, tmp_path / "released", 1)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 100_000
    for word in (b"/home/me", b"my-host", str(tmp_path).encode()):
        assert [path for path in files if word in path.read_bytes()] == []
    assert {path.name for path in tmp_path.iterdir()} == {"run", "released"}


def test_only_an_earlier_release_is_replaced(run, tmp_path):
    released(run, tmp_path / "released", 1)
    released(run, tmp_path / "released", 2)
    assert len(read_events(tmp_path / "released")[0]) == 2 * len(LABELS)
    (run / "metrics.jsonl").write_text("")
    with pytest.raises(WorkdirError, match="is no release, so nothing in it was touched"):
        release(run, run)
    assert load_classifier(run, "latest")


def test_a_release_has_the_best_epoch_alone(run, tmp_path):
    folder = released(run, tmp_path / "released", 0)
    with pytest.raises(WorkdirError, match=r"is a released checkpoint.*Load 'best'"):
        load_classifier(folder, "latest")
    with pytest.raises(WorkdirError, match=r"no events in .*events\.npz"):
        read_events(folder)


def test_what_is_no_finished_run_is_not_released(run, tmp_path):
    with pytest.raises(WorkdirError, match=rf"it may have {LARGEST // 10**6}\. Keep fewer events"):
        released(run, tmp_path / "released", 9, hits=9000)
    (run / "results.json").unlink()
    with pytest.raises(WorkdirError, match=r"no results\.json\. Evaluate it first: .*--mode=evaluate"):
        released(run, tmp_path / "released", 9)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_spoilt_events_are_named(run, tmp_path):
    folder = released(run, tmp_path / "released", 2)
    content = (folder / "events.npz").read_bytes()
    (folder / "events.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(WorkdirError, match=r"events\.npz cannot be read .*Copy the release again"):
        read_events(folder)
