"""Platform-specific implementations agree with the network's definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from e2e_jax.detector.drawing import in_blocks
from e2e_jax.models import backend
from e2e_jax.models.convolution import Convolution, max_pool, max_pool_elementwise
from e2e_jax.models.resnet import ResNetFeatures


def images(*shape, seed=0, occupancy=0.1):
    rng = np.random.default_rng(seed)
    return (rng.exponential(size=shape) * (rng.random(shape) < occupancy)).astype(np.float32)


def close(ours, reference, tolerance=1e-5):
    np.testing.assert_allclose(ours, reference, rtol=tolerance, atol=tolerance * np.abs(reference).max())


@pytest.mark.slow
@pytest.mark.parametrize("size", [(24, 24, 1), (24, 38, 3)])
def test_images_in_blocks_have_the_same_features_and_gradients(size):
    x, plain, blocked = images(3, *size), ResNetFeatures(), backend.features("gpu")()
    params = plain.init(jax.random.key(0), x)
    assert jax.tree.structure(blocked.init(jax.random.key(0), in_blocks(x))) == jax.tree.structure(params)
    weights = np.random.default_rng(1).normal(size=(3, 32)).astype(np.float32)
    expected = jax.value_and_grad(lambda p: (plain.apply(p, x) * weights).sum())(params)
    found = jax.value_and_grad(lambda p: (blocked.apply(p, in_blocks(x)) * weights).sum())(params)
    jax.tree.map(lambda a, b: close(a, b, 1e-4), found, expected)


def test_a_network_for_blocks_refuses_other_channels():
    with pytest.raises(ValueError, match="3 channels"):
        backend.features("gpu")(channels=1).init(jax.random.key(0), in_blocks(images(1, 24, 24, 3)))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(6, 8), (7, 9), (2, 3)])
def test_pooling_and_its_gradient_are_those_of_the_library(size):
    # Few different values, so that maxima are equal in many blocks.
    x = np.random.default_rng(0).integers(0, 3, (4, *size, 5)).astype(np.float32)
    weights = np.random.default_rng(1).normal(size=(4, size[0] // 2, size[1] // 2, 5)).astype(np.float32)
    np.testing.assert_array_equal(jax.vjp(max_pool_elementwise, x)[0], max_pool(x))
    found, expected = (
        jax.grad(lambda x, pool=pool: (pool(x) * weights).sum())(x)
        for pool in (max_pool_elementwise, max_pool)
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize(("kernel_size", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (1, 2, 0), (7, 2, 1)])
def test_the_gradient_of_a_kernel_is_not_rounded_to_bfloat16(kernel_size, stride, padding):
    layer = Convolution(8, kernel_size, stride, padding)
    x = images(16, 23, 30, 4, occupancy=1.0).astype(jnp.bfloat16)
    params = layer.init(jax.random.key(0), x)
    # Parameters and weights that bfloat16 holds exactly, so that only the sums can differ.
    params = jax.tree.map(lambda p: p.astype(jnp.bfloat16).astype(jnp.float32), params)
    weights = jnp.sign(layer.apply(params, x).astype(jnp.float32))

    def objective(params, x):
        return (layer.apply(params, x).astype(jnp.float32) * weights).sum()

    found, of_x = jax.grad(objective, argnums=(0, 1))(params, x)
    expected, of_x_expected = jax.grad(objective, argnums=(0, 1))(params, x.astype(jnp.float32))
    jax.tree.map(lambda a, b: close(a, b, 1e-5), found, expected)
    close(of_x.astype(np.float32), of_x_expected, 0.01)
