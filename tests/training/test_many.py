"""Many trainings: finished ones are not repeated, and a failure of one does not end the others."""

import concurrent.futures
import json

import pytest

from e2e_jax.devices import host
from e2e_jax.execution.workers import WorkerPool
from e2e_jax.training import many
from e2e_jax.training.many import Outcome, Training, finished, machines, train_each
from tests.objects import dataset_in_memory
from tests.synthetic import kinematics_config

DATASET = dataset_in_memory()


def dataset_of(config):
    return DATASET


def training(folder, seed=0, **train):
    config = kinematics_config(epochs=1, **train)
    config.seed = seed
    return Training(config, folder)


def results_of(folder):
    return json.loads((folder / "results.json").read_text())


@pytest.mark.slow
def test_a_finished_training_is_not_begun_again_and_an_unfinished_one_goes_on(tmp_path):
    one, two = training(tmp_path / "one"), training(tmp_path / "two", seed=1)
    first = list(train_each([one], dataset_of))
    written = (tmp_path / "one" / "results.json").read_bytes()
    again = list(train_each([one, two], dataset_of))
    assert again[0] == first[0]
    assert (tmp_path / "one" / "results.json").read_bytes() == written
    assert again[1].results == results_of(tmp_path / "two")


@pytest.mark.slow
def test_only_the_same_config_dataset_and_version_are_finished(tmp_path):
    done = training(tmp_path)
    list(train_each([done], dataset_of))
    assert finished(done, DATASET) == results_of(tmp_path)
    for change in (
        lambda config: config.train.update(epochs=2),
        lambda config: config.evaluate.update(bootstrap=6),
        lambda config: config.update(seed=3),
    ):
        other = training(tmp_path)
        change(other.config)
        assert finished(other, DATASET) is None
    elsewhere = training(tmp_path)
    elsewhere.config.dataset.data_dir = "/elsewhere"
    assert finished(elsewhere, DATASET) is not None
    others = dataset_in_memory()
    assert finished(done, dataset_in_memory()) is not None
    object.__setattr__(others, "description", {"name": "other events"})
    assert finished(done, others) is None
    results = results_of(tmp_path)
    results["provenance"]["packages"]["e2e_jax"] = "0.0.1"
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert finished(done, DATASET) is None
    (tmp_path / "results.json").write_text("{")
    assert finished(done, DATASET) is None


@pytest.mark.slow
def test_a_training_that_fails_does_not_end_the_others(tmp_path):
    bad = training(tmp_path / "taken")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    failed, done = train_each([bad, training(tmp_path / "done")], dataset_of)
    assert failed.results is None
    assert "taken" in failed.failure
    assert done.results is not None


@pytest.mark.slow
def test_a_pool_trains_what_this_process_trains(tmp_path):
    here = [training(tmp_path / "here" / str(seed), seed) for seed in range(2)]
    there = [training(tmp_path / "there" / str(seed), seed) for seed in range(2)]
    with WorkerPool(1, environments=[{}]) as pool:
        outcomes = list(train_each(there, dataset_of, pool))
    for own, outcome in zip(train_each(here, dataset_of), outcomes):
        assert outcome.results["auc_vs_rest"] == own.results["auc_vs_rest"]


def test_the_gpus_are_those_that_the_environment_shows(monkeypatch):
    monkeypatch.setattr(host, "CUDA_PLUGINS", ("json",))
    assert host.visible_gpus({host.GPUS: "0,2"}) == ["0", "2"]
    assert host.visible_gpus({host.GPUS: ""}) == []
    assert host.visible_gpus({host.GPUS: "0,2", "JAX_PLATFORMS": "cpu"}) == []
    monkeypatch.setattr(host, "CUDA_PLUGINS", ("no_such_module",))
    assert host.visible_gpus({host.GPUS: "0,2"}) == []


def test_several_gpus_train_a_network_each_unless_a_training_asks_for_several(tmp_path, monkeypatch):
    monkeypatch.setattr(many.host, "visible_gpus", lambda: ["0", "2"])
    trainings = [training(tmp_path / str(seed), seed) for seed in range(2)]
    with machines(trainings) as executor:
        assert isinstance(executor, WorkerPool)
    with machines(trainings[:1]) as executor:
        assert executor is None
    trainings[0].config.devices = 2
    with machines(trainings) as executor:
        assert executor is None


class Elsewhere(concurrent.futures.Executor):
    """Another machine, whose disk is not this one's."""

    def submit(self, function, /, *args, **kwargs):
        done = concurrent.futures.Future()
        done.set_result(Outcome({"trained": "there"}))
        return done


def test_a_training_whose_folder_this_machine_does_not_see_is_a_failure(tmp_path):
    (outcome,) = train_each([training(tmp_path / "run")], dataset_of, Elsewhere())
    assert outcome.results is None
    assert str(tmp_path / "run") in outcome.failure


@pytest.mark.slow
def test_a_cluster_trains_what_this_process_trains(tmp_path):
    pytest.importorskip("distributed", reason="no Dask (pip install 'e2e_jax[cluster]')")
    from tests.dask_cluster import dask_cluster

    there = [training(tmp_path / "there", seed=1)]
    with dask_cluster(tmp_path, workers=1) as running, machines(there, running.address) as executor:
        (outcome,) = train_each(there, dataset_of, executor)
    (own,) = train_each([training(tmp_path / "here", seed=1)], dataset_of)
    assert outcome.results["auc_vs_rest"] == own.results["auc_vs_rest"]
