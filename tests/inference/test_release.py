"""A release is a small folder that opens like its run and contains no data of the training machine."""

import json
from pathlib import Path

import numpy as np
import pytest

from e2e_jax.errors import WorkdirError
from e2e_jax.events.diphotons import COLLECTIONS
from e2e_jax.inference import zoo
from e2e_jax.inference.loading import load_classifier
from e2e_jax.inference.release import LARGEST_SAMPLE, read_events, release
from e2e_jax.runs.checkpoints import read_about
from e2e_jax.runs.folder import read_config
from e2e_jax.studies import hgg
from e2e_jax.studies.hgg import LABELS
from tests.objects import dataset_in_memory
from tests.runs.test_checkpoints import assert_equal, save_run
from tests.synthetic import kinematics_config, sample

PROGRESS = {"history": [{"epoch": 1, "step": 5, "auc_h": 0.7, "cvm": 0.001}], "steps": 0}
RESULTS = {
    "config": {"name": "mine", "published": "", "dataset": {"data_dir": "/home/me"}},
    "provenance": {"seed": 1, "platform": "my-host"},
    "dataset": {
        "name": "cms_hgg/quick",
        "version": "3.0.0",
        "fingerprint": "0123",
        "origin": "fast simulation",
    },
    "events": {"train": 90, "validation": 27},
    "auc_vs_rest": {"h": {"value": 0.7, "uncertainty": 0.1}},
    "auc_pairwise_raw": {"h_vs_gamma_gamma": {"value": 0.7, "uncertainty": 0.1}},
    "cvm": {"value": 0.001, "uncertainty": 0.001},
    "epoch": 1,
}


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
    assert {path.name for path in tmp_path.iterdir()} == {"run", "released", "samples"}


def test_only_an_earlier_release_is_replaced(run, tmp_path):
    released(run, tmp_path / "released", 1)
    released(run, tmp_path / "released", 2)
    assert len(read_events(tmp_path / "released")[0]) == len(LABELS), "the sample there was kept"
    (run / "metrics.jsonl").write_text("")
    with pytest.raises(WorkdirError, match="is no release, so nothing in it was touched"):
        release(run, run)
    assert load_classifier(run, "latest")


def test_a_release_has_the_best_epoch_alone(run, tmp_path):
    folder = released(run, tmp_path / "released", 0)
    with pytest.raises(WorkdirError, match=r"is a released checkpoint.*Load 'best'"):
        load_classifier(folder, "latest")
    with pytest.raises(WorkdirError, match=r"no events for .*released"):
        read_events(folder)


def test_what_is_no_finished_run_is_not_released(run, tmp_path):
    with pytest.raises(WorkdirError, match=rf"it may have {LARGEST_SAMPLE / 1e6:g}\. Keep fewer events"):
        released(run, tmp_path / "released", 9, hits=9000)
    (run / "results.json").unlink()
    with pytest.raises(WorkdirError, match=r"no results\.json\. Evaluate it first: .*--mode=evaluate"):
        released(run, tmp_path / "released", 9)
    assert not (tmp_path / "released").exists()
    assert not list((tmp_path / "samples").iterdir())


def test_releases_of_a_dataset_share_a_sample(run, tmp_path):
    released(run, tmp_path / "one", 2)
    released(run, tmp_path / "two", 2)
    (path,) = (tmp_path / "samples").iterdir()
    one, two = read_events(tmp_path / "one"), read_events(tmp_path / "two")
    np.testing.assert_array_equal(one[0].event, two[0].event)
    np.testing.assert_array_equal(one[1], two[1])
    other = RESULTS | {"dataset": RESULTS["dataset"] | {"fingerprint": "4567"}}
    (run / "results.json").write_text(json.dumps(other))
    with pytest.raises(WorkdirError, match=r"another build of .*0123.*4567.*Delete it"):
        released(run, tmp_path / "three", 2)
    assert path.exists()
    assert not (tmp_path / "three").exists()


def test_the_card_has_data_results_limits_and_licence(run, tmp_path):
    text = (released(run, tmp_path / "mine", 1) / "card.md").read_text()
    for word in ('load_classifier("mine")', "cms_hgg/quick", "0123", "90 for", "0.700 ± 0.100", "MIT"):
        assert word in text
    assert "CMS Open Data, are not known" in text


def test_a_released_classifier_is_found_by_its_name(run, tmp_path, monkeypatch):
    released(run, tmp_path / "zoo" / "mine", 1)
    assert zoo.names(tmp_path / "zoo") == ["mine"]
    assert zoo.folder_of("mine", tmp_path / "zoo") == tmp_path / "zoo" / "mine"
    with pytest.raises(WorkdirError, match=r"There is no run in yours.* mine\."):
        zoo.folder_of("yours", tmp_path / "zoo")
    # A folder with this name has precedence, and a path is not a name.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert zoo.folder_of("mine", tmp_path / "zoo") == Path("mine")
    assert zoo.folder_of("./a/b", tmp_path / "zoo") == Path("a/b")
    with pytest.raises(WorkdirError, match=r"cms_b"):
        load_classifier("no_such_classifier")


def test_spoilt_events_are_named(run, tmp_path):
    folder = released(run, tmp_path / "released", 2)
    (path,) = (tmp_path / "samples").iterdir()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(WorkdirError, match=r"\.npz cannot be read .*Copy the release again"):
        read_events(folder)
