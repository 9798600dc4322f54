"""Fully connected networks: the linear layer with PyTorch's initialization, and networks without images."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from e2e_jax.models.initializers import uniform_fan_in


class Linear(nn.Module):
    """x @ kernel + bias with PyTorch's initialization: [n, inputs] -> [n, features]."""

    features: int

    @nn.compact
    def __call__(self, x):
        inputs = x.shape[-1]
        kernel = self.param("kernel", uniform_fan_in(inputs), (inputs, self.features))
        bias = self.param("bias", uniform_fan_in(inputs), (self.features,))
        return jnp.dot(x, kernel) + bias[None, :]


def hidden_layers(x, widths, dropout=0.0, keys=None):
    """Hidden ReLU layers with dropout after each, inside the calling module: [n, i] -> [n, widths[-1]].

    The dropout mask of an event depends only on the event's key and the layer's index, so it does not depend
    on the distribution of the batch over devices. The kept neurons are scaled by 1 / (1 - dropout).

    Args:
      x: f4[n, i].
      widths: neurons of each layer; layer i has the parameters "hidden<i>".
      dropout: fraction of each layer's neurons dropped in training, 0 to 1 (excluded).
      keys: in training, one random key per event, [n]; None disables dropout.

    Raises:
      ValueError: `dropout` is out of range.
    """
    if not 0 <= dropout < 1:
        raise ValueError(f"config.model.dropout is {dropout}; it is a fraction, at least 0 and less than 1.")
    for layer, width in enumerate(widths):
        x = nn.relu(Linear(width, name=f"hidden{layer}")(x))
        if keys is not None and dropout:
            x = jnp.where(_kept(keys, layer, width, dropout), x / (1 - dropout), 0)
    return x


def _kept(keys, layer, width, dropout):
    """The neurons of a layer that are kept, bool[n, width]."""
    draw = jax.vmap(lambda key: jax.random.bernoulli(jax.random.fold_in(key, layer), 1 - dropout, (width,)))
    return draw(keys)


class _FullyConnected(nn.Module):
    """Hidden ReLU layers on the input `SEES` of an event, then a linear layer.

    Attributes:
      classes: number of logits.
      widths: neurons of each hidden layer.
    """

    classes: int = 3
    widths: tuple[int, ...] = (256, 256, 256)

    SEES: ClassVar[str]
    NUMBERS: ClassVar[int | None] = None  # number of inputs, if fixed
    TAKES: ClassVar[str]  # error message for other shapes

    @nn.compact
    def __call__(self, inputs, keys=None):
        """Maps {SEES: f4[n, numbers]} to logits f4[n, classes]; ignores `keys`.

        Raises:
          ValueError: the inputs have another shape.
        """
        x = inputs[self.SEES]
        if x.ndim != 2 or x.shape[1] != (self.NUMBERS or x.shape[1]):
            raise ValueError(f"inputs[{self.SEES!r}] has shape {tuple(x.shape)}, but {self.TAKES}.")
        return Linear(self.classes, name="head")(hidden_layers(x, self.widths))


class FourMomentum(_FullyConnected):
    """The paper's reference without detector inputs: 3 hidden layers of 256 ReLU on the photons' kinematics.

    Maps {"kinematics": f4[n, 5]} to logits f4[n, classes].
    """

    SEES = "kinematics"
    NUMBERS = 5
    TAKES = (
        "the 4-momentum network takes [events, 5]: pT1/m, pT2/m, eta1, eta2, cos(phi1 - phi2), leading "
        "photon first"
    )


class HighLevel(_FullyConnected):
    """The traditional approach: the same layers on kinematics, shower shapes and isolation of the photons.

    Maps {"high_level": f4[n, i]}, as `preprocessing.model_inputs` makes them, to logits f4[n, classes].
    """

    SEES = "high_level"
    TAKES = "the high-level network takes [events, inputs], as `preprocessing.model_inputs` makes them"
