"""Schedules, optimizers, averages and smoothed labels: their formulas, and plain Adam by default."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from e2e_jax.training.losses import cross_entropy
from e2e_jax.training.optimizer import averaged, learning_rate, optimizer

PARAMS = {"kernel": jnp.array([[1.0, -2.0], [3.0, 0.5]]), "bias": jnp.array([0.5, -0.5])}
GRADIENTS = {"kernel": jnp.array([[3.0, 0.0], [0.0, 4.0]]), "bias": jnp.array([0.0, 0.0])}


def updates(made, steps=3, gradients=GRADIENTS):
    params, state = PARAMS, made.init(PARAMS)
    for _ in range(steps):
        change, state = made.update(gradients, state, params)
        params = optax.apply_updates(params, change)
    return params


def test_the_defaults_are_adam_to_the_bit():
    rate = learning_rate("constant", 1e-2, 10)
    jax.tree.map(np.testing.assert_array_equal, updates(optimizer("adam", rate)), updates(optax.adam(1e-2)))
    cosine = learning_rate("cosine", 1e-2, 10)
    expected = updates(optax.adam(optax.cosine_decay_schedule(1e-2, 10)))
    jax.tree.map(np.testing.assert_array_equal, updates(optimizer("adam", cosine)), expected)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_warm_up_rises_from_zero_to_the_highest_rate(schedule):
    rate = learning_rate(schedule, 1e-2, 100, warmup=0.2)
    rates = np.array([rate(step) for step in range(101)])
    np.testing.assert_allclose(rates[:21], np.linspace(0, 1e-2, 21), atol=1e-8)
    assert rates.max() == pytest.approx(1e-2)
    assert rates[100] == pytest.approx(1e-2 if schedule == "constant" else 0, abs=1e-8)


def test_one_cycle_rises_and_falls_to_nothing():
    rate = learning_rate("one_cycle", 1e-2, 100)
    rates = np.array([rate(step) for step in range(101)])
    assert rates[0] == pytest.approx(1e-2 / 25)
    assert rates.argmax() == 30
    assert rates.max() == pytest.approx(1e-2)
    assert rates[100] < 1e-5
    assert (np.diff(rates[:31]) > 0).all()
    assert (np.diff(rates[30:]) < 0).all()


def test_kernels_decay_and_biases_do_not():
    nothing = jax.tree.map(jnp.zeros_like, GRADIENTS)
    params = updates(optimizer("adamw", 0.1, weight_decay=0.5), steps=1, gradients=nothing)
    np.testing.assert_allclose(params["kernel"], 0.95 * PARAMS["kernel"], rtol=1e-6)
    np.testing.assert_array_equal(params["bias"], PARAMS["bias"])


def test_clipping_scales_all_gradients_together():
    made = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1))
    expected = updates(made)
    jax.tree.map(np.testing.assert_array_equal, updates(optimizer("adam", 0.1, clip_norm=1.0)), expected)
    clipped, _ = optax.clip_by_global_norm(1.0).update(GRADIENTS, optax.EmptyState())
    assert float(optax.tree.norm(clipped)) == pytest.approx(1.0)


def test_the_average_follows_the_parameters_and_forgets_the_first():
    average, decay = {"w": jnp.array(100.0)}, 0.9
    for step in range(200):
        average = averaged(average, {"w": jnp.array(1.0)}, jnp.int32(step), decay)
    assert float(average["w"]) == pytest.approx(1.0, abs=1e-3)
    now = averaged({"w": jnp.array(5.0)}, {"w": jnp.array(2.0)}, jnp.int32(0), 0.0)
    assert float(now["w"]) == 2.0
    late = averaged({"w": jnp.array(0.0)}, {"w": jnp.array(1.0)}, jnp.int32(10**6), decay)
    assert float(late["w"]) == pytest.approx(0.1, rel=1e-5)


def test_cross_entropy_is_that_of_smoothed_targets():
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)
    targets = jnp.array([0, 1, 2, 1, 0])
    wanted = np.full((5, 3), 0.1)
    wanted[np.arange(5), targets] += 0.7
    expected = -np.sum(wanted * np.asarray(jax.nn.log_softmax(logits)), axis=1)
    np.testing.assert_allclose(cross_entropy(logits, targets, 0.3), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: learning_rate("linear", 1e-3, 10),
        lambda: learning_rate("cosine", 1e-3, 10, warmup=1.0),
        lambda: learning_rate("one_cycle", 1e-3, 10, warmup=0.1),
        lambda: optimizer("sgd", 1e-3),
        lambda: optimizer("adam", 1e-3, weight_decay=0.1),
        lambda: optimizer("adamw", 1e-3, weight_decay=-0.1),
        lambda: optimizer("adam", 1e-3, clip_norm=-1.0),
        lambda: averaged({}, {}, 0, 1.0),
        lambda: cross_entropy(jnp.zeros((1, 3)), jnp.zeros(1, int), 1.0),
    ],
)
def test_what_is_no_setting_is_refused(wrong):
    with pytest.raises(ValueError):
        wrong()
