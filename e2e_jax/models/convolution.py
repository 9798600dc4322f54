"""The convolution of the paper's networks: explicit padding, bias, PyTorch's initialisation."""

import math

import flax.linen as nn
from jax import lax

from e2e_jax.models.initializers import uniform_fan_in


class Convolution(nn.Module):
    """A convolution with bias, with zeros around the image: [n, h, w, c] -> [n, h', w', features].

    Computed in the images' precision; kernel and bias are float32 parameters all the same.

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
        kernel = self.param("kernel", init, shape).astype(x.dtype)
        bias = self.param("bias", init, (self.features,))
        y = lax.conv_general_dilated(
            x,
            kernel,
            window_strides=(self.stride, self.stride),
            padding=[(self.padding, self.padding)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        # In float32, and with it the sum over all pixels that is the bias's gradient.
        return (y.astype(bias.dtype) + bias[None, None, None, :]).astype(x.dtype)
