"""The convolution of the paper's networks: explicit padding 1, bias, PyTorch's initialisation."""

import math

import flax.linen as nn
from jax import lax

from e2e_jax.models.initializers import uniform_fan_in


def convolve(x, kernel, stride, padding):
    """Cross-correlates images with a kernel: [n, h, w, c] and [kh, kw, c, f] -> [n, h', w', f]."""
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


class Convolution(nn.Module):
    """A convolution with bias, with zeros around the image: [n, h, w, c] -> [n, h', w', features].

    Attributes:
      features: maps made.
      kernel_size: side of the square kernel, in pixels.
      stride: pixels from one application of the kernel to the next.
      padding: rows and columns of zeros on each side; explicit, because "SAME" is another network.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    padding: int = 1

    @nn.compact
    def __call__(self, x):
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        init = uniform_fan_in(math.prod(shape[:3]))
        kernel = self.param("kernel", init, shape)
        bias = self.param("bias", init, (self.features,))
        return convolve(x, kernel, self.stride, self.padding) + bias[None, None, None, :]
