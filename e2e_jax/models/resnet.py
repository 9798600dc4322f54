"""ResNet-15, the paper's image classifier (arXiv:1807.11916, Figure 2).

    conv 7x7 stride 2 padding 1, C -> 16; ReLU; max-pool 2x2      170x360 -> 83x178 -> 41x89
    3 residual blocks of 16 maps                                  41x89
    1 residual block 16 -> 32 maps, stride 2                      21x45
    3 residual blocks of 32 maps                                  21x45
    maximum over the whole map; linear 32 -> classes

1 + 7*2 = 15 convolutions, all with bias and without normalization layers, because the pixel intensity carries
the energy scale.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from e2e_jax.models.convolution import Convolution, max_pool
from e2e_jax.models.fcn import Linear

BLOCKS = 3  # residual blocks at each width, not counting the one that changes the width
PRECISIONS = ("float32", "tf32", "bfloat16")
SMALLEST = 8  # minimum side in pixels; smaller images are empty after the first convolution and the pooling


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: [n, h, w, c] -> [n, ceil(h/stride), ceil(w/stride), features].

    The shortcut is the identity, or a 1x1 convolution if the number of maps or the resolution changes.
    """

    features: int
    stride: int = 1
    closed: bool = False

    @nn.compact
    def __call__(self, x):
        convolution = functools.partial(Convolution, self.features, closed=self.closed)
        y = nn.relu(convolution(stride=self.stride, name="conv1")(x))
        y = convolution(name="conv2")(y)
        if self.stride != 1 or x.shape[-1] != self.features:
            x = convolution(kernel_size=1, stride=self.stride, padding=0, name="shortcut")(x)
        return nn.relu(x + y)


class ResNetFeatures(nn.Module):
    """ResNet-15 without its head: images [n, h, w, c] -> the maximum of each last map [n, widths[1]].

    Attributes:
      widths: maps before and after the downsampling block.
      channels: required number of input channels; None accepts that of the first image.
      precision: precision of activations and convolutions, one of `PRECISIONS`; parameters and result are
        float32.
      stem: the module of the first convolution.
      pool: the 2x2 pooling.
      block: side of the pixel blocks in the last axis of the image; 1 for an ordinary image.
      closed: whether the images are periodic in phi, see `Convolution`. The features are then invariant under
        rolling by multiples of 8 columns.
    """

    widths: tuple[int, int] = (16, 32)
    channels: int | None = None
    precision: str = "float32"
    stem: type[Convolution] = Convolution
    pool: Callable = max_pool
    block: int = 1
    closed: bool = False

    @nn.compact
    def __call__(self, x):
        self.check(x)
        if self.precision == "bfloat16":
            x = x.astype(jnp.bfloat16)
        narrow, wide = self.widths
        x = self.stem(narrow, kernel_size=7, stride=2, closed=self.closed, name="stem")(x)
        # Pooling first leaves fewer pixels for the ReLU.
        x = nn.relu(self.pool(x))
        for block in range(BLOCKS):
            x = ResidualBlock(narrow, closed=self.closed, name=f"narrow{block}")(x)
        x = ResidualBlock(wide, stride=2, closed=self.closed, name="downsample")(x)
        for block in range(BLOCKS):
            x = ResidualBlock(wide, closed=self.closed, name=f"wide{block}")(x)
        return jnp.max(x, axis=(1, 2)).astype(jnp.promote_types(x.dtype, jnp.float32))

    def check(self, x):
        """Raises a ValueError for images of a wrong shape and for an unknown precision."""
        if self.precision not in PRECISIONS:
            raise ValueError(f"config.precision is {self.precision!r}; it is one of {', '.join(PRECISIONS)}.")
        if x.ndim != 4 or min(x.shape[1:3]) * self.block < SMALLEST:
            raise ValueError(
                f"An image batch has shape {tuple(x.shape)}, but ResNet-15 takes [events, rows, columns, "
                f"channels] with at least {SMALLEST} rows and columns (the barrel: [n, 170, 360, channels])."
            )
        found = x.shape[3] // self.block**2
        if self.channels is not None and found != self.channels:
            raise ValueError(
                f"An image batch of shape {tuple(x.shape)} has {found} channels in its last axis, but "
                f"the network was built for {self.channels}: take both from one config.inputs.channels."
            )


class ResNet15(nn.Module):
    """ResNet-15 on one image: 84,739 parameters for 1 channel and 3 classes, 86,307 for 3 channels.

    Attributes:
      classes: number of logits.
      widths: maps before and after the downsampling block.
      channels: required number of input channels; None accepts that of the first image.
      image: name of the image among the inputs: "barrel", or "full" in the HCAL-centric geometry.
      precision: precision of activations and convolutions, one of `PRECISIONS`.
      features: the module that computes the features: the definition, or a faster one from `backend`.
      closed: whether the image is periodic in phi.
    """

    classes: int = 3
    widths: tuple[int, int] = (16, 32)
    channels: int | None = None
    image: str = "barrel"
    precision: str = "float32"
    features: type[ResNetFeatures] = ResNetFeatures
    closed: bool = False

    @nn.compact
    def __call__(self, inputs, keys=None):
        """Maps {image: f4[n, rows, columns, channels]} to logits f4[n, classes]; ignores `keys`."""
        sizes = self.widths, self.channels, self.precision
        features = self.features(*sizes, closed=self.closed, name="features")
        return Linear(self.classes, name="head")(features(inputs[self.image]))
