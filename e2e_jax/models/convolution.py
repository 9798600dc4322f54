"""Convolution and pooling of the paper's networks: explicit padding, PyTorch's initialization."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from e2e_jax.models.initializers import uniform_fan_in

_LAYOUT = ("NHWC", "HWIO", "NHWC")


class Convolution(nn.Module):
    """A convolution with bias and zero padding: [n, h, w, c] -> [n, h', w', features].

    For an image that is periodic along its columns, columns of the opposite edge replace the zeros at the
    left and right. Their number gives w' = w / stride, so the result is periodic too.

    The computation uses the images' precision; kernel and bias are always float32 parameters.

    Attributes:
      features: number of output maps.
      kernel_size: side of the square kernel, in pixels.
      stride: pixels between consecutive applications of the kernel.
      padding: rows and columns of zeros on each side; explicit, because "SAME" defines another network.
      closed: whether the last column is a neighbor of the first, as in phi.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    padding: int = 1
    closed: bool = False

    @nn.compact
    def __call__(self, x):
        kernel, bias = self.parameters(x.shape[-1])
        if self.closed:
            x = wrapped(x, self.padding, max(self.kernel_size - self.stride - self.padding, 0), self.padding)
            return add_bias(convolve(x, kernel, self.stride, (0, 0)), bias)
        return add_bias(convolve(x, kernel, self.stride, (self.padding, self.padding)), bias)

    def parameters(self, channels):
        """The kernel [side, side, channels, features] and the bias [features]."""
        shape = (self.kernel_size, self.kernel_size, channels, self.features)
        init = uniform_fan_in(math.prod(shape[:3]))
        return self.param("kernel", init, shape), self.param("bias", init, (self.features,))


def wrapped(x, before, after, rows):
    """Images [n, h, w, c] padded with columns of the opposite edge and with rows of zeros.

    Args:
      x: the images.
      before, after: columns to add at the left and at the right.
      rows: rows of zeros on each side, or (above, below).
    """
    parts = [x[:, :, x.shape[2] - before :], x, x[:, :, :after]]
    rows = rows if isinstance(rows, tuple) else (rows, rows)
    return jnp.pad(jnp.concatenate(parts, axis=2), ((0, 0), rows, (0, 0), (0, 0)))


def convolve(x, kernel, stride, padding):
    """The convolution of images [n, h, w, c] with a float32 kernel, in the images' precision.

    Args:
      x: the images.
      kernel: [rows, columns, c, features].
      stride: pixels between consecutive applications of the kernel.
      padding: zeros before and after the image, for rows and columns.

    Returns:
      The maps, in the images' type. The gradient of the kernel is summed and returned in the kernel's type.
    """
    if x.dtype == kernel.dtype:
        # `jax.default_matmul_precision` selects float32 or TF32, see `backend.matrix_precision`.
        return _convolve(x, kernel, stride, padding, precision=None)
    return _rounded(x, kernel, stride, padding)


def add_bias(y, bias):
    """Adds the bias in float32, so that its gradient, the sum over all pixels, is also float32."""
    return (y.astype(bias.dtype) + bias[None, None, None, :]).astype(y.dtype)


def _convolve(x, kernel, stride, padding, precision):
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), (padding, padding), dimension_numbers=_LAYOUT, precision=precision
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _rounded(x, kernel, stride, padding):
    """The convolution with the kernel rounded to the images' type; the kernel's gradient is not rounded."""
    return _convolve(x, kernel.astype(x.dtype), stride, padding, lax.Precision.DEFAULT)


def _rounded_forward(x, kernel, stride, padding):
    return _rounded(x, kernel, stride, padding), (x, kernel)


def _rounded_backward(stride, padding, kept, gradient):
    x, kernel = kept
    rounded, precision = kernel.astype(x.dtype), lax.Precision.DEFAULT
    (of_x,) = jax.linear_transpose(lambda x: _convolve(x, rounded, stride, padding, precision), x)(gradient)
    # Convolves the images with the gradient of the maps. The sum is over the events, so the events are passed
    # as channels. The zeros after the image give the result the size of the kernel.
    before = padding[0]
    after = [
        size + stride * (steps - 1) - before - pixels
        for size, steps, pixels in zip(kernel.shape[:2], gradient.shape[1:3], x.shape[1:3])
    ]
    of_kernel = lax.conv_general_dilated(
        x,
        gradient,
        window_strides=(1, 1),
        padding=[(before, zeros) for zeros in after],
        rhs_dilation=(stride, stride),
        dimension_numbers=("CHWN", "IHWO", "HWNC"),
        precision=precision,
        preferred_element_type=kernel.dtype,
    )
    return of_x, of_kernel


_rounded.defvjp(_rounded_forward, _rounded_backward)


def max_pool(x):
    """The maximum of each 2x2 block: [n, h, w, c] -> [n, h // 2, w // 2, c]; drops an odd last row or column.

    The gradient goes to the block's first maximum in row-major order.
    """
    return nn.max_pool(x, (2, 2), strides=(2, 2))


@jax.custom_vjp
def max_pool_elementwise(x):
    """`max_pool` with a gradient that is computed pixel by pixel.

    The gradient of `max_pool` is a `select_and_scatter`: it is faster on a CPU, but uses atomic additions on
    a GPU.
    """
    return max_pool(x)


def _pool_forward(x):
    """The maxima, and for the gradient the index of each maximum in its block, int8."""
    n, rows, columns, channels = x.shape
    ends = (n, rows // 2 * 2, columns // 2 * 2, channels)
    pixels = [lax.slice(x, (0, i, j, 0), ends, (1, 2, 2, 1)) for i in (0, 1) for j in (0, 1)]
    largest = functools.reduce(jnp.maximum, pixels)
    winner = jnp.full(largest.shape, 3, jnp.int8)
    for place in (2, 1, 0):
        winner = jnp.where(pixels[place] == largest, jnp.int8(place), winner)
    # An empty array carries the shape of the image.
    return largest, (winner, jnp.zeros((0, *x.shape[1:3])))


def _pool_backward(kept, gradient):
    winner, image = kept
    n, rows, columns, channels = gradient.shape
    place = jnp.arange(4, dtype=jnp.int8).reshape(1, 1, 2, 1, 2, 1)
    won = winner[:, :, None, :, None, :] == place
    of_x = jnp.where(won, gradient[:, :, None, :, None, :], 0).reshape(n, 2 * rows, 2 * columns, channels)
    cut = ((0, image.shape[1] - 2 * rows), (0, image.shape[2] - 2 * columns))
    return (jnp.pad(of_x, ((0, 0), *cut, (0, 0))),)


max_pool_elementwise.defvjp(_pool_forward, _pool_backward)
