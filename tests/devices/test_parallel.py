"""The choice of devices of a training, and resuming a run on other devices."""

import jax
import numpy as np
import pytest

from e2e_jax.datasets import batches
from e2e_jax.datasets.batches import Sampling
from e2e_jax.devices import parallel
from e2e_jax.devices.parallel import Setup
from e2e_jax.runs.checkpoints import Checkpoints, host_copy
from e2e_jax.studies import hgg
from e2e_jax.training import loop
from e2e_jax.training.options import Options
from tests.objects import new_state, parallel_step, run_of
from tests.synthetic import image_config, kinematics_config, sample

LAYOUTS = {"four by jit": ("jit", 4), "four by pmap": ("pmap", 4), "one": ("jit", 1)}


def config_of(layout):
    config = kinematics_config()
    config.parallel, config.devices = LAYOUTS[layout]
    return config


def trained(layout, state, steps):
    """The state after some of the first epoch's steps, given as a slice."""
    config = config_of(layout)
    made = parallel_step(config)
    assert len(made.devices) == config.devices
    state = made.place(state)
    for batch in list(batches.epoch_batches(sample(20), hgg.TASK, Sampling(12)))[steps]:
        state, _ = made.step(state, batch)
    return state


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after"), [("four by jit", "one"), ("four by pmap", "one"), ("one", "four by pmap")]
)
def test_a_checkpoint_goes_on_in_another_layout(tmp_path, before, after):
    start = host_copy(new_state(kinematics_config()))
    whole = host_copy(trained("one", start, slice(0, 4)))
    with Checkpoints(tmp_path, kinematics_config(), hgg.TASK, {}) as checkpoints:
        saved = trained(before, start, slice(0, 2))
        checkpoints.save(2, saved, saved.params, {"history": []})
    with Checkpoints(tmp_path, kinematics_config(), hgg.TASK, {}) as checkpoints:
        restored, _, _ = checkpoints.restore(start)
    resumed = host_copy(trained(after, restored, slice(2, 4)))
    assert resumed.step == 4
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), resumed.params, whole.params
    )


def test_more_devices_than_there_are_is_an_error():
    assert parallel.chosen() == jax.devices()
    with pytest.raises(ValueError, match=r"config\.devices is 5, but there are 4 \(cpu\).*0 for all"):
        parallel.parallelize(lambda axis: None, 12, Setup(devices=jax.device_count() + 1))


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
    run, options = run_of(config), Options.of(config)
    told = loop.summary(run, options, "a-quick", (60, 30), used, {"kernel": np.zeros(3)})
    assert words in told
    assert "decorrelated from the diphoton mass in the events of γγ" in told


@pytest.mark.slow
def test_a_deterministic_training_learns_the_same():
    config = image_config()
    state = host_copy(new_state(config))
    layout = batches.layout(sample(20), hgg.TASK, Sampling(12, flat=True), 4)
    batch = layout.batch(sample(20)[np.arange(12)])
    losses = []
    for config.deterministic in (False, True):
        made = parallel_step(config)
        losses.append(made.step(made.place(state), batch)[1]["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-5)
    with pytest.raises(ValueError, match=r"config\.parallel"):
        parallel.parallelize(lambda axis: None, 12, Setup("pmap", deterministic=True))
