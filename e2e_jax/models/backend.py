"""Platform-specific implementations of the networks, chosen when a program is built, never inside a network.

`resnet.ResNetFeatures` is the definition. On a CPU, `resnet_cpu` computes the same function if its library is
usable. On a GPU, images are drawn in blocks of 2 x 2 pixels, [n, rows / 2, columns / 2, 4 * channels]. The
first convolution, 7x7 with stride 2 on 1 or 3 channels, then becomes 4x4 with stride 1 on 4 or 12 channels,
which suits the matrix units. Parameters and checkpoints are the same on every platform.
"""

import contextlib
import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from e2e_jax.models.convolution import (
    Convolution,
    add_bias,
    convolve,
    max_pool,
    max_pool_elementwise,
    wrapped,
)
from e2e_jax.models.cpu import resnet_cpu
from e2e_jax.models.resnet import ResNetFeatures

ANY = "any"
"""Platform of programs that run everywhere: XLA computes the definition."""


def features(platform=None, blocks=True):
    """The module that computes a ResNet-15's features on a platform.

    Args:
      platform: "cpu", "gpu", another JAX platform, or `ANY`; by default that of this process's devices.
      blocks: whether the images divide into blocks of 2 x 2 pixels.

    Returns:
      `ResNetFeatures`, or a module with the same parameters that computes the same function.
    """
    platform = jax.default_backend() if platform is None else platform
    fast = {"cpu": CpuFeatures, "gpu": BlockedFeatures if blocks else ResNetFeatures}
    return fast.get(platform, ResNetFeatures)


def pooling(platform=None):
    """The 2x2 pooling that is fast on a platform, as for `features`."""
    platform = jax.default_backend() if platform is None else platform
    return max_pool_elementwise if platform == "gpu" else max_pool


def takes_blocks(network):
    """Whether a module of `building.build` takes its images in blocks (`detector.drawing.in_blocks`)."""
    return getattr(network, "features", None) is BlockedFeatures


class CpuFeatures(ResNetFeatures):
    """The features computed by `resnet_cpu`, if it is usable and supports the types and widths."""

    def __call__(self, x):
        # The C++ code pads images with zeros only.
        usable = not self.closed and self.precision != "bfloat16" and resnet_cpu.usable(self.widths, x)
        if self.is_initializing() or not usable:
            return super().__call__(x)
        self.check(x)
        plain = functools.partial(_apply, ResNetFeatures(self.widths, self.channels, parent=None))
        return resnet_cpu.features(self.variables["params"], x, tuple(self.widths), plain)


def _apply(network, params, x):
    return network.apply({"params": params}, x)


class BlockedStem(Convolution):
    """The stem's convolution on images in blocks, with the 7x7 kernel as its parameter.

    Output (y, x) sees the rows 2y - 1 to 2y + 5, so the blocks y - 1 to y + 2 without the first row of the
    first. The kernel gets a row and a column of zeros there, and is put into blocks like the image.
    """

    @nn.compact
    def __call__(self, x):
        channels = x.shape[-1] // 4
        kernel, bias = self.parameters(channels)
        kernel = jnp.pad(kernel, ((1, 0), (1, 0), (0, 0), (0, 0)))
        blocks = kernel.reshape(4, 2, 4, 2, channels, -1).transpose(0, 2, 1, 3, 4, 5)
        blocks = blocks.reshape(4, 4, 4 * channels, -1)
        if self.closed:
            return add_bias(convolve(wrapped(x, 1, 2, (1, 0)), blocks, 1, (0, 0)), bias)
        return add_bias(convolve(x, blocks, 1, (1, 0)), bias)


class BlockedFeatures(ResNetFeatures):
    """The features of images in blocks of 2 x 2 pixels."""

    stem: type[Convolution] = BlockedStem
    pool: Callable = max_pool_elementwise
    block: int = 2


@contextlib.contextmanager
def matrix_precision(precision):
    """A context in which float32 convolutions and matrix products are traced at `config.precision`.

    The default on GPUs is TF32, with 10 bits of mantissa. With "bfloat16" the ResNets' convolutions use
    bfloat16 and everything else uses float32.
    """
    with jax.default_matmul_precision("default" if precision == "tf32" else "highest"):
        yield
