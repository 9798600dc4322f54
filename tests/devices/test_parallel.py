"""Which devices a training takes, and that what one layout of them saved goes on in another."""

import jax
import numpy as np
import pytest

from e2e_jax.datasets import batches
from e2e_jax.devices import parallel
from e2e_jax.runs.checkpoints import Checkpoints, host_copy
from e2e_jax.training import loop
from tests.synthetic import image_config, kinematics_config, sample

LAYOUTS = {"four by jit": ("jit", 4), "four by pmap": ("pmap", 4), "one": ("jit", 1)}


def config_of(layout):
    config = kinematics_config()
    config.parallel, config.devices = LAYOUTS[layout]
    return config


def trained(layout, state, steps):
    """The state after some of the first epoch's steps, given as a slice."""
    config = config_of(layout)
    made = parallel.parallelize(lambda axis: loop.make_train_step(config, axis), config)
    assert len(made.devices) == config.devices
    state = made.place(state)
    for batch in list(batches.epoch_batches(sample(20), 12, 0, 0))[steps]:
        state, _ = made.step(state, batch)
    return state


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after"), [("four by jit", "one"), ("four by pmap", "one"), ("one", "four by pmap")]
)
def test_a_checkpoint_goes_on_in_another_layout(tmp_path, before, after):
    start = host_copy(loop.create_state(kinematics_config(), jax.random.key(0)))
    whole = host_copy(trained("one", start, slice(0, 4)))
    with Checkpoints(tmp_path, kinematics_config(), {}) as checkpoints:
        saved = trained(before, start, slice(0, 2))
        checkpoints.save(2, saved, saved.params, {"history": []})
    with Checkpoints(tmp_path, kinematics_config(), {}) as checkpoints:
        restored, _, _ = checkpoints.restore(start)
    resumed = host_copy(trained(after, restored, slice(2, 4)))
    assert resumed.step == 4
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), resumed.params, whole.params
    )


def test_more_devices_than_there_are_is_an_error():
    config = kinematics_config()
    assert parallel.chosen(config) == jax.devices()
    config.devices = jax.device_count() + 1
    with pytest.raises(ValueError, match=r"config\.devices is 5, but there are 4 \(cpu\).*0 for all"):
        parallel.parallelize(lambda axis: None, config)


@pytest.mark.parametrize(
    ("asked", "used", "words"),
    [
        (0, 4, "on 4 of 4 devices (cpu"),
        (2, 2, "on 2 of 4 devices (cpu"),
        (0, 3, "3 of 4 devices, the most that"),
    ],
)
def test_the_summary_says_when_devices_stay_idle(asked, used, words):
    config = kinematics_config()
    config.devices = asked
    assert words in loop._summary(config, range(60), range(30), used, {"kernel": np.zeros(3)})


def test_a_deterministic_training_learns_the_same():
    config = image_config()
    state = host_copy(loop.create_state(config, jax.random.key(0)))
    batch = batches.layout(sample(20), config, 4).batch(sample(20)[np.arange(12)])
    losses = []
    for config.deterministic in (False, True):
        made = parallel.parallelize(lambda axis: loop.make_train_step(config, axis), config)
        losses.append(made.step(made.place(state), batch)[1]["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-5)
    config.parallel = "pmap"
    with pytest.raises(ValueError, match=r"config\.parallel"):
        parallel.parallelize(lambda axis: None, config)
