"""The C++ code for CPUs agrees with XLA: values and gradients, on any number of devices."""

import jax
import numpy as np
import pytest

from e2e_jax.devices import parallel
from e2e_jax.models.backend import CpuFeatures
from e2e_jax.models.cpu import resnet_cpu
from e2e_jax.models.resnet import ResNet15, ResNetFeatures

pytestmark = pytest.mark.skipif(not resnet_cpu.load(), reason="no C++ compiler on this machine")

# The barrel's size, ones that leave other remainders, the smallest.
CASES = [((170, 360, 1), (16, 32)), ((37, 54, 2), (16, 32)), ((23, 22, 3), (16, 16)), ((8, 9, 1), (16, 32))]


def images(size, events=3, occupancy=0.05, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.exponential(5.0, size=(events, *size)) * (rng.random((events, *size)) < occupancy)
    return x.astype(np.float32)


def close(ours, reference, tolerance=1e-5):
    scale = max(np.abs(reference).max(), 1e-3)
    np.testing.assert_allclose(ours, reference, rtol=tolerance, atol=tolerance * scale)


def objective(network, weights):
    return lambda params, x: (network.apply(params, x) * weights).sum()


@pytest.mark.slow
@pytest.mark.parametrize(("size", "widths"), CASES)
def test_values_and_gradients_are_the_plain_networks(size, widths):
    x = images(size)
    fast, plain = CpuFeatures(widths), ResNetFeatures(widths)
    params = fast.init(jax.random.key(1), x)
    close(jax.jit(fast.apply)(params, x), jax.jit(plain.apply)(params, x))
    weights = np.random.default_rng(2).normal(size=(len(x), widths[1])).astype(np.float32)
    ours = jax.jit(jax.grad(objective(fast, weights), argnums=(0, 1)))(params, x)
    reference = jax.jit(jax.grad(objective(plain, weights), argnums=(0, 1)))(params, x)
    jax.tree.map(lambda a, b: close(a, b, 1e-4), ours, reference)


@pytest.mark.slow
@pytest.mark.parametrize("occupancy", [0.001, 0.02])
def test_a_gradient_that_is_zero_is_exactly_zero(occupancy):
    """Adam would make whole steps of its rounding."""
    x = images((170, 360, 1), occupancy=occupancy)
    fast, plain = CpuFeatures(), ResNetFeatures()
    params = plain.init(jax.random.key(1), x)
    weights = np.random.default_rng(2).normal(size=(len(x), 32)).astype(np.float32) / len(x)
    ours, reference = (jax.jit(jax.grad(objective(n, weights)))(params, x) for n in (fast, plain))
    zeros = jax.tree.map(lambda a: np.asarray(a) == 0, reference)
    assert sum(zero.sum() for zero in jax.tree.leaves(zeros)) > 100
    jax.tree.map(lambda a, zero: np.testing.assert_array_equal(a[zero], 0), ours, zeros)


@pytest.mark.parametrize("occupancy", [0.0, 1.0])
def test_empty_and_full_images_are_taken_too(occupancy):
    x = images((40, 40, 2), occupancy=occupancy) - np.float32(occupancy)  # full: negative pixels as well
    network = CpuFeatures()
    params = network.init(jax.random.key(1), x)
    close(network.apply(params, x), ResNetFeatures().apply(params, x))


def test_it_is_what_runs_under_jit_on_a_cpu():
    x = images((24, 24, 1))
    network = ResNet15(features=CpuFeatures)
    params = network.init(jax.random.key(0), {"barrel": x})
    text = jax.jit(network.apply).lower(params, {"barrel": x}).compile().as_text()
    assert "e2e_resnet_forward" in text
    assert " convolution(" not in text


@pytest.mark.slow
@pytest.mark.parametrize("way", ["mesh", "pmap"])
def test_devices_share_the_events_and_agree_with_one(way):
    x = images((40, 60, 3), events=8)
    weights = np.random.default_rng(2).normal(size=(8, 32)).astype(np.float32)
    network = CpuFeatures()
    params = network.init(jax.random.key(1), x)

    def value(params, x, weights):
        return (network.apply(params, x) * weights).sum()

    alone = jax.jit(jax.value_and_grad(value))(params, x, weights)
    if way == "mesh":
        replicated, split = parallel.shardings(parallel.mesh(len(x)))
        arguments = jax.device_put(params, replicated), *jax.device_put((x, weights), split)
        step = jax.jit(jax.value_and_grad(value))
        assert "all-gather" not in step.lower(*arguments).compile().as_text()
        shared = step(*arguments)
    else:
        parts = (a.reshape(4, 2, *a.shape[1:]) for a in (x, weights))
        shared = jax.pmap(jax.value_and_grad(value), in_axes=(None, 0, 0))(params, *parts)
        shared = jax.tree.map(lambda a: a.sum(axis=0), shared)
    jax.tree.map(close, shared, alone)


def test_the_same_events_give_the_same_bits():
    x = images((40, 60, 3), events=5)
    network = CpuFeatures()
    params = network.init(jax.random.key(1), x)
    step = jax.jit(jax.grad(lambda params: network.apply(params, x).sum()))
    jax.tree.map(np.testing.assert_array_equal, step(params), step(params))


def test_maps_made_again_give_the_same_gradients_in_less_memory(monkeypatch):
    x = images((40, 60, 3), events=5)
    network = CpuFeatures()
    params = network.init(jax.random.key(1), x)
    gradients, memory = [], []
    for kept in (1e9, 0):
        monkeypatch.setattr(resnet_cpu, "KEPT", kept)
        step = jax.jit(jax.grad(lambda params: network.apply(params, x).sum())).lower(params).compile()
        gradients.append(step(params))
        memory.append(step.memory_analysis().temp_size_in_bytes)
    jax.tree.map(np.testing.assert_array_equal, *gradients)
    assert memory[1] < 0.8 * memory[0]


def test_an_event_does_not_depend_on_its_neighbours():
    x = images((40, 60, 3), events=5)
    network = CpuFeatures()
    params = network.init(jax.random.key(1), x)
    together = network.apply(params, x)
    for i in range(len(x)):
        np.testing.assert_array_equal(network.apply(params, x[i : i + 1])[0], together[i])


@pytest.mark.slow
def test_maps_of_an_image_with_a_single_hit_are_zero_where_nothing_reaches():
    """The bias of such a map's convolution has a gradient of zero where the plain network's is."""
    x = np.zeros((4, 64, 64, 1), np.float32)
    for event in range(4):
        x[event, 9 + 13 * event, 50 - 11 * event] = 1 + event
    fast, plain = CpuFeatures(), ResNetFeatures()
    params = plain.init(jax.random.key(1), x)
    weights = np.random.default_rng(2).normal(size=(4, 32)).astype(np.float32)
    ours, reference = (jax.jit(jax.grad(objective(n, weights)))(params, x) for n in (fast, plain))
    jax.tree.map(lambda a, b: close(a, b, 1e-4), ours, reference)


def test_what_is_not_finite_shows():
    x = images((40, 60, 1))
    network = CpuFeatures()
    params = jax.tree.map(lambda p: p * np.nan, network.init(jax.random.key(1), x))
    assert np.isnan(network.apply(params, x)).all()


@pytest.mark.parametrize("dtype", [np.float16, "bfloat16"])
def test_other_types_are_left_to_xla(dtype):
    assert not resnet_cpu.usable((16, 32), jax.numpy.zeros((1, 8, 8, 1), dtype))
    assert not resnet_cpu.usable((24, 48), jax.numpy.zeros((1, 8, 8, 1)))
    assert resnet_cpu.usable((16, 32), jax.numpy.zeros((1, 8, 8, 1)))
