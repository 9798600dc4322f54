"""The patch transformer: its patches, and the invariances of its outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from e2e_jax.models.patch_transformer import PatchTransformer, cut

SMALL = {"widths": (8,), "head": (8,), "patches": (4, 6)}


def spots(n=3, rows=16, columns=16, channels=2, seed=0):
    """Images with three bright pixels each, in different patches."""
    random = np.random.default_rng(seed)
    image = np.zeros((n, rows, columns, channels), np.float32)
    for event in range(n):
        for patch in random.choice(9, 3, replace=False):
            image[event, 4 * (patch // 3) + 1, 4 * (patch % 3) + 2] = random.uniform(1, 50, channels)
    return image


def test_patches_hold_every_pixel_once():
    image = np.random.default_rng(0).uniform(size=(2, 10, 13, 3)).astype(np.float32)
    patches = np.asarray(cut(jnp.asarray(image), 4))
    assert patches.shape == (2, 3 * 4, 4 * 4 * 3)
    np.testing.assert_allclose(patches.sum(axis=(1, 2)), image.sum(axis=(1, 2, 3)), rtol=1e-5)
    np.testing.assert_array_equal(patches[1, 5].reshape(4, 4, 3), image[1, 4:8, 4:8])


@pytest.mark.slow
def test_faint_patches_beyond_the_most_and_empty_ones_change_nothing():
    image = spots()
    network = PatchTransformer(image="image", **{**SMALL, "patches": (4, 3)})
    variables = network.init(jax.random.key(0), {"image": image})
    made = network.apply(variables, {"image": image})
    fainter = image.copy()
    fainter[:, 15, 15] = 0.01
    np.testing.assert_array_equal(made, network.apply(variables, {"image": fainter}))
    # Empty patches are masked.
    more = PatchTransformer(image="image", **SMALL)
    np.testing.assert_allclose(more.apply(variables, {"image": image}), made, atol=1e-5)
    assert np.abs(np.asarray(more.apply(variables, {"image": fainter}) - made)).max() > 1e-4


@pytest.mark.slow
def test_places_matter_and_an_empty_image_is_finite():
    network, image = PatchTransformer(image="image", **SMALL), spots(n=1)
    variables = network.init(jax.random.key(0), {"image": image})
    moved = np.roll(image, 4, axis=2)
    made = [network.apply(variables, {"image": one}) for one in (image, moved, 0 * image)]
    assert np.abs(np.asarray(made[0] - made[1])).max() > 1e-5
    assert np.isfinite(made[2]).all()


def test_a_width_that_the_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="multiple of 4"):
        PatchTransformer(image="image", widths=(6,)).init(jax.random.key(0), {"image": spots()})
