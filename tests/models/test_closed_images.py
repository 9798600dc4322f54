"""Networks on images that are periodic in phi have no seam."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from e2e_jax.detector.drawing import in_blocks
from e2e_jax.models.backend import BlockedFeatures, CpuFeatures
from e2e_jax.models.convolution import Convolution
from e2e_jax.models.resnet import ResNet15, ResNetFeatures

IMAGE = jnp.asarray(np.random.default_rng(0).exponential(size=(2, 20, 48, 2)), jnp.float32)


@pytest.mark.slow
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (7, 2, 1), (1, 2, 0)])
def test_a_closed_convolution_is_the_convolution_of_the_endless_image(kernel, stride, padding):
    sizes = {"features": 3, "kernel_size": kernel, "stride": stride, "padding": padding}
    open_, closed = Convolution(**sizes), Convolution(**sizes, closed=True)
    variables = closed.init(jax.random.key(0), IMAGE)
    got = closed.apply(variables, IMAGE)
    assert got.shape[2] == IMAGE.shape[2] // stride
    # Three turns of it: the middle one has no edge near.
    endless = open_.apply(variables, jnp.concatenate([IMAGE] * 3, axis=2))
    middle = slice(IMAGE.shape[2] // stride, 2 * IMAGE.shape[2] // stride)
    np.testing.assert_allclose(got, endless[:, :, middle], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_rolling_a_closed_image_changes_nothing_and_a_seam_does():
    for closed in (True, False):
        network = ResNet15(widths=(4, 8), closed=closed)
        variables = network.init(jax.random.key(0), {"barrel": IMAGE})
        plain, rolled = (
            network.apply(variables, {"barrel": jnp.roll(IMAGE, columns, axis=2)}) for columns in (0, 24)
        )
        assert np.allclose(plain, rolled, rtol=1e-4, atol=1e-5) == closed


@pytest.mark.slow
@pytest.mark.parametrize("features", [CpuFeatures, BlockedFeatures])
def test_every_platform_computes_the_same(features):
    sizes = {"widths": (16, 32), "closed": True}
    variables = ResNetFeatures(**sizes).init(jax.random.key(0), IMAGE)
    expected = ResNetFeatures(**sizes).apply(variables, IMAGE)
    images = in_blocks(IMAGE) if features is BlockedFeatures else IMAGE
    np.testing.assert_allclose(features(**sizes).apply(variables, images), expected, rtol=1e-4, atol=1e-5)
