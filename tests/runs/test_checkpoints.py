"""A checkpoint is read back exactly, on any number of devices, and contains a complete classifier."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from e2e_jax.detector.images import make_images
from e2e_jax.errors import WorkdirError
from e2e_jax.inference.loading import load_classifier
from e2e_jax.runs.checkpoints import Checkpoints, host_copy, read_about
from e2e_jax.runs.folder import claim, read_config
from e2e_jax.studies import hgg
from tests.objects import new_state, run_of
from tests.synthetic import image_config, kinematics_config, sample

DATASET = {"train": "the training events", "validation": "the validation events"}
"""Fingerprints."""

PROGRESS = {"history": [{"epoch": 1, "auc_h": 0.1 + 0.2, "cvm": 1e-300}], "steps": 3}


@pytest.fixture
def config():
    return kinematics_config()


def state_of(config, seed=0):
    return host_copy(new_state(config, seed))


def save_run(workdir, config, progress=PROGRESS, steps=(5,), seed=0):
    """A run's folder as training leaves it; the best parameters are those of another seed."""
    claim(workdir, config)
    state, best = state_of(config, seed), state_of(config, seed + 1).params
    with Checkpoints(workdir, config, hgg.TASK, DATASET) as checkpoints:
        for step in steps:
            checkpoints.save(step, state.replace(step=np.int32(step)), best, progress)
    return state, best


def assert_equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_restores_every_bit(tmp_path, config):
    state, best = save_run(tmp_path, config)
    with Checkpoints(tmp_path, config, hgg.TASK, DATASET) as checkpoints:
        restored = checkpoints.restore(jax.eval_shape(lambda: new_state(config)))
    assert_equal(restored[0], state.replace(step=np.int32(5)))
    assert_equal(restored[1], best)
    assert restored[2] == PROGRESS == read_about(tmp_path)["progress"]


def test_a_new_run_has_nothing_to_restore(tmp_path, config):
    with Checkpoints(tmp_path, config, hgg.TASK, DATASET) as checkpoints:
        assert checkpoints.restore(state_of(config)) is None


def test_a_folder_of_another_task_is_refused(tmp_path, config):
    state, _ = save_run(tmp_path, config)
    other = dataclasses.replace(hgg.TASK, of=("gamma_gamma", "gamma_jet"))
    with (
        Checkpoints(tmp_path, config, other, DATASET) as checkpoints,
        pytest.raises(
            WorkdirError, match=r"another task \(of: \['gamma_gamma'\] there, \['gamma_gamma', 'gam"
        ),
    ):
        checkpoints.restore(state)


def test_keeps_the_latest_two(tmp_path, config):
    save_run(tmp_path, config, steps=(1, 2, 3))
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"2", "3"}


def test_saving_a_step_again_replaces_it(tmp_path, config):
    save_run(tmp_path, config, steps=(1, 1))
    assert read_about(tmp_path)["progress"] == PROGRESS


def test_loads_best_latest_and_a_step(tmp_path, config):
    state, best = save_run(tmp_path, config, steps=(5, 6))
    assert_equal(load_classifier(tmp_path).params, best)
    assert_equal(load_classifier(tmp_path, "latest").params, state.params)
    assert_equal(load_classifier(tmp_path, 5).params, state.params)
    assert load_classifier(tmp_path).task == hgg.TASK
    assert load_classifier(tmp_path).inputs == run_of(config).inputs


def test_what_cannot_be_loaded_is_named(tmp_path, config):
    with pytest.raises(WorkdirError, match=r"no run in .*--workdir"):
        load_classifier(tmp_path)
    claim(tmp_path, config)
    with pytest.raises(WorkdirError, match="no checkpoint yet"):
        load_classifier(tmp_path)
    save_run(tmp_path, config, progress={"history": []})
    with pytest.raises(WorkdirError, match=r"No epoch .* is finished.*'latest'"):
        load_classifier(tmp_path)
    with pytest.raises(WorkdirError, match=r"no checkpoint 7; there are 'best', 'latest' and the steps 5"):
        load_classifier(tmp_path, 7)


def test_probabilities_do_not_depend_on_the_batching(tmp_path, config):
    save_run(tmp_path, config)
    classifier, events = load_classifier(tmp_path), sample(12)
    together = classifier.predict(events)
    assert together.shape == (36, 3)
    np.testing.assert_allclose(together.sum(axis=1), 1, rtol=1e-6)
    single = np.concatenate([classifier.predict(events[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(single, together[:3], rtol=1e-5)
    np.testing.assert_allclose(classifier.predict(events.to_batch()), together, rtol=1e-5)
    assert classifier.predict(events[:0]).shape == (0, 3)


@pytest.mark.slow
def test_events_and_their_images_have_the_same_probabilities(tmp_path):
    config = image_config()
    save_run(tmp_path, config)
    classifier, events = load_classifier(tmp_path), sample(1)
    images = make_images(events, channels=config.inputs.channels)
    np.testing.assert_allclose(
        classifier.predict({**images, "mass": events.mass}), classifier.predict(events), rtol=1e-5
    )


LIGHT = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", 1)
import numpy as np
from e2e_jax.inference.loading import load_classifier
from tests.synthetic import sample

np.save(sys.argv[2], load_classifier(sys.argv[1]).predict(sample(2)))
heavy = {"tensorflow", "tensorflow_datasets", "optax", "pyarrow", "tensorboardX", "tqdm", "uproot"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""


@pytest.mark.slow
def test_another_number_of_devices_loads_it_with_the_light_core_alone(tmp_path, config):
    save_run(tmp_path, config)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", LIGHT, str(tmp_path), str(tmp_path / "probabilities.npy")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    there = np.load(tmp_path / "probabilities.npy")
    np.testing.assert_allclose(there, load_classifier(tmp_path).predict(sample(2)), rtol=1e-5)


def test_the_config_survives_the_folder(tmp_path, config):
    claim(tmp_path, config)
    assert read_config(tmp_path).to_dict() == config.to_dict()
    assert read_config(tmp_path).is_locked


def test_a_folder_of_something_else_is_refused(tmp_path, config):
    (tmp_path / "thesis.tex").write_text("everything")
    with pytest.raises(WorkdirError, match="is not a run of this program; nothing in it was touched"):
        claim(tmp_path, config)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_spoilt_config_is_named(tmp_path, config):
    save_run(tmp_path, config)
    (tmp_path / "config.json").write_text('{"name": "eb",')
    with pytest.raises(WorkdirError, match=r"config\.json is not valid JSON"):
        claim(tmp_path, config)


def test_a_run_that_saved_nothing_yet_may_change(tmp_path, config):
    claim(tmp_path, config)
    config.dataset.name = "cms_hgg/another"
    claim(tmp_path, config)
    assert read_config(tmp_path).dataset.name == "cms_hgg/another"


def test_the_epochs_of_a_schedule_are_fixed(tmp_path):
    config = kinematics_config(schedule="cosine")
    save_run(tmp_path, config)
    config.train.epochs = 99
    with pytest.raises(WorkdirError, match=r"train\.epochs: 3 there, 99 asked for"):
        claim(tmp_path, config)


def test_only_fields_that_enter_no_step_may_change(tmp_path, config):
    save_run(tmp_path, config)
    config.train.epochs, config.parallel, config.evaluate.bootstrap = 99, "pmap", 7
    claim(tmp_path, config)
    assert read_config(tmp_path).train.epochs == 99
    config.decorrelation.strength, config.inputs.scale.ecal = 0.3, 1.0
    with pytest.raises(
        WorkdirError, match=r"decorrelation\.strength: 0\.15 there, 0\.3 asked.*inputs\.scale\.ecal: 50\.0"
    ):
        claim(tmp_path, config)
