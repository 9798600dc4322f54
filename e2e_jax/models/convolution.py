"""The convolution of the paper's networks: explicit padding, bias, PyTorch's initialisation.

On a CPU a convolution to 16 maps, as in the paper's first half, reaches half the speed of one to 32 maps.
`convolve_columns` therefore computes neighbouring output columns as if they were more maps, with a kernel
that is wider by the columns between them and zero where it must not look. The zeros cost up to 4/7 more
multiplications, and still the whole is faster: see the tables in benchmarks/README.md.
"""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from e2e_jax.models.initializers import uniform_fan_in


def convolve(x, kernel, stride, padding):
    """Cross-correlates images with a kernel: [n, h, w, c] and [kh, kw, c, f] -> [n, h', w', f]."""
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def convolve_columns(x, kernel, stride, padding, columns):
    """What `convolve` gives, computed `columns` output columns at a time."""
    n, _, width, _ = x.shape
    height, side, inputs, maps = kernel.shape
    out = (width + 2 * padding - side) // stride + 1
    groups = -(-out // columns)
    wide = side + stride * (columns - 1)
    copies = [
        jnp.pad(kernel, ((0, 0), (stride * i, wide - side - stride * i), (0, 0), (0, 0)))
        for i in range(columns)
    ]
    right = stride * columns * (groups - 1) + wide - width - padding
    y = lax.conv_general_dilated(
        x,
        jnp.stack(copies, axis=3).reshape(height, wide, inputs, columns * maps),
        (stride, stride * columns),
        [(padding, padding), (padding, right)],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return y.reshape(n, y.shape[1], groups * columns, maps)[:, :, :out]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def fast_convolve(x, kernel, stride, padding, columns):
    """`convolve_columns` on a CPU, `convolve` on any other device, in both directions."""
    return lax.platform_dependent(
        x,
        kernel,
        cpu=lambda x, kernel: convolve_columns(x, kernel, stride, padding, columns),
        default=lambda x, kernel: convolve(x, kernel, stride, padding),
    )


def _forward(x, kernel, stride, padding, columns):
    return fast_convolve(x, kernel, stride, padding, columns), (x, kernel)


def _backward(stride, padding, columns, residuals, gradient):
    x, kernel = residuals
    of_x, of_kernel = jax.vjp(lambda x, kernel: convolve(x, kernel, stride, padding), x, kernel)[1](gradient)
    if stride == 1 and kernel.shape[0] == kernel.shape[1]:
        turned = kernel[::-1, ::-1].swapaxes(2, 3)
        of_x = fast_convolve(gradient, turned, 1, kernel.shape[0] - 1 - padding, columns)
    return of_x, of_kernel


fast_convolve.defvjp(_forward, _backward)


class Convolution(nn.Module):
    """A convolution with bias, with zeros around the image: [n, h, w, c] -> [n, h', w', features].

    Computed in the images' precision; kernel and bias are float32 parameters all the same.

    Attributes:
      features: maps made.
      kernel_size: side of the square kernel, in pixels.
      stride: pixels from one application of the kernel to the next.
      padding: rows and columns of zeros on each side; explicit, because "SAME" is another network.
      columns: output columns that a CPU computes together; changes the speed, not the result.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    padding: int = 1
    columns: int = 1

    @nn.compact
    def __call__(self, x):
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        init = uniform_fan_in(math.prod(shape[:3]))
        kernel = self.param("kernel", init, shape).astype(x.dtype)
        bias = self.param("bias", init, (self.features,))
        if self.columns > 1:
            y = fast_convolve(x, kernel, self.stride, self.padding, self.columns)
        else:
            y = convolve(x, kernel, self.stride, self.padding)
        # In float32, and with it the sum over all pixels that is the bias's gradient.
        return (y.astype(bias.dtype) + bias[None, None, None, :]).astype(x.dtype)
