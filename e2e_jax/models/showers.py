"""Networks on 32 x 32 crops that separate electrons from photons (arXiv:1807.11916, Section 6).

The paper gives their types and results: a VGG-type network on energies, a Conv-LSTM and a network of three
fully connected layers on the ten samples of each crystal. It does not give their sizes; these are small
enough for two CPU cores. As in the ResNets there are no normalization layers, because the intensity carries
the energy scale. Images of the whole barrel use `resnet.ResNet15`.
"""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from e2e_jax.models.convolution import Convolution, max_pool
from e2e_jax.models.fcn import Linear, hidden_layers

SMALLEST = 8  # minimum side in pixels for three poolings


class ShowerVGG(nn.Module):
    """Pairs of 3x3 convolutions, a 2x2 maximum after each pair, a fully connected head.

    With crops of 1 channel and 2 classes: 203,250 parameters, 19.4 MFLOP per event in the forward pass.

    Attributes:
      classes: number of logits.
      widths: maps of each pair (K. Simonyan and A. Zisserman, arXiv:1409.1556, with a fourth of the width).
      head: neurons of the hidden layers after the maps.
      dropout: fraction of those neurons that is dropped in training.
      image: name of the image among the inputs.
      pool: the 2x2 pooling.
    """

    classes: int = 2
    widths: tuple[int, ...] = (16, 32, 64)
    head: tuple[int, ...] = (128,)
    dropout: float = 0.2
    image: str = "crop"
    pool: Callable = max_pool

    @nn.compact
    def __call__(self, inputs, keys=None):
        """Maps {image: f4[n, rows, columns, channels]} to logits f4[n, classes].

        Args:
          inputs: the images; for "digis", [n, samples, rows, columns], the samples are the channels.
          keys: in training, one random key per event for dropout, [n]; None disables dropout.

        Raises:
          ValueError: the images have a wrong number of axes or too few pixels.
        """
        x = inputs[self.image]
        if self.image == "digis":
            x = jnp.moveaxis(x, 1, -1)
        _check(x, "VGG", "[events, rows, columns, channels]", x.shape[1:3])
        for number, width in enumerate(self.widths):
            for convolution in (1, 2):
                x = nn.relu(Convolution(width, name=f"maps{number}_{convolution}")(x))
            x = self.pool(x)
        return _head(x, self, keys)


class ShowerConvLSTM(nn.Module):
    """A stride-2 convolution on each sample, a convolutional LSTM over the samples, a head on its last state.

    The LSTM is that of X. Shi et al., arXiv:1506.04214, without peepholes, as in flax. With ten samples of
    crops and 2 classes: 69,510 parameters, 18 MFLOP per event in the forward pass.

    Attributes:
      classes: number of logits.
      widths: maps of the first convolution and of the LSTM's state.
      head, dropout, pool: as for `ShowerVGG`.
    """

    classes: int = 2
    widths: tuple[int, int] = (4, 8)
    head: tuple[int, ...] = (128,)
    dropout: float = 0.2
    pool: Callable = max_pool

    @nn.compact
    def __call__(self, inputs, keys=None):
        """Maps {"digis": f4[n, samples, rows, columns]} to logits f4[n, classes]; see `ShowerVGG`."""
        if "digis" not in inputs:
            raise ValueError(
                f"The Conv-LSTM goes through the samples of digis, but its inputs are {', '.join(inputs)}: "
                "set config.inputs.channels to ('digis',)."
            )
        x = inputs["digis"]
        _check(x, "Conv-LSTM", "[events, samples, rows, columns]", x.shape[2:4])
        narrow, state = self.widths
        n, samples, rows, columns = x.shape
        x = x.reshape(n * samples, rows, columns, 1)
        # Four maps with a quarter of the pixels each can hold all values of the crystals.
        x = Convolution(narrow, kernel_size=4, stride=2, name="stem")(x)
        cell = nn.ConvLSTMCell(state, kernel_size=(3, 3), name="lstm")
        # Unrolled, because XLA's CPU convolutions are an order of magnitude slower inside a loop.
        scan = nn.RNN(cell, return_carry=True, unroll=samples)
        (_, x), _ = scan(x.reshape(n, samples, *x.shape[1:]))
        return _head(self.pool(x), self, keys)


class ShowerFCN(nn.Module):
    """Three fully connected layers on all values of the crop: 2,753,794 parameters with digis and 2 classes.

    Attributes:
      classes: number of logits.
      widths: neurons of the hidden layers.
      dropout: fraction of those neurons that is dropped in training.
      image: name of the input.
    """

    classes: int = 2
    widths: tuple[int, ...] = (256, 256, 256)
    dropout: float = 0.2
    image: str = "digis"

    @nn.compact
    def __call__(self, inputs, keys=None):
        """Maps {image: f4[n, ...]} to logits f4[n, classes]; `keys` as for `ShowerVGG`."""
        x = inputs[self.image]
        x = hidden_layers(x.reshape(x.shape[0], -1), self.widths, self.dropout, keys)
        return Linear(self.classes, name="head")(x)


def _head(x, network, keys):
    """The fully connected layers of a network after its maps [n, rows, columns, maps]."""
    x = hidden_layers(x.reshape(x.shape[0], -1), network.head, network.dropout, keys)
    return Linear(network.classes, name="head")(x)


def _check(x, network, wanted, pixels):
    if jnp.ndim(x) != 4 or min(pixels) < SMALLEST:
        raise ValueError(
            f"The images have shape {tuple(x.shape)}, but the {network} takes {wanted} with at least "
            f"{SMALLEST} rows and columns (a crop: 32 x 32)."
        )
