"""The convolution that computes several columns together is the plain one, and so are its gradients."""

import jax
import numpy as np
import pytest

from e2e_jax.models.convolution import convolve, convolve_columns, fast_convolve

CASES = [
    # width, channels, kernel side, stride, padding, columns
    (20, 3, 7, 2, 1, 3),
    (21, 1, 7, 2, 1, 2),
    (9, 4, 3, 1, 1, 2),
    (10, 4, 3, 1, 1, 2),
    (11, 4, 3, 1, 0, 3),
    (8, 2, 3, 2, 1, 5),
]


def images_and_kernel(width, channels, side):
    rng = np.random.default_rng(3)
    return (
        rng.normal(size=(2, 12, width, channels)).astype(np.float32),
        rng.normal(size=(side, side, channels, 5)).astype(np.float32),
    )


@pytest.mark.parametrize(("width", "channels", "side", "stride", "padding", "columns"), CASES)
def test_columns_together_are_columns_apart(width, channels, side, stride, padding, columns):
    x, kernel = images_and_kernel(width, channels, side)
    expected = convolve(x, kernel, stride, padding)
    np.testing.assert_allclose(
        convolve_columns(x, kernel, stride, padding, columns), expected, rtol=1e-5, atol=1e-4
    )


@pytest.mark.parametrize(("width", "channels", "side", "stride", "padding", "columns"), CASES)
def test_gradients_of_images_and_kernel(width, channels, side, stride, padding, columns):
    x, kernel = images_and_kernel(width, channels, side)
    expected, plain = jax.vjp(lambda x, kernel: convolve(x, kernel, stride, padding), x, kernel)
    _, fast = jax.vjp(lambda x, kernel: fast_convolve(x, kernel, stride, padding, columns), x, kernel)
    gradient = np.random.default_rng(4).normal(size=expected.shape).astype(np.float32)
    for ours, theirs in zip(fast(gradient), plain(gradient), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
