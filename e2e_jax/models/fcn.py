"""Fully connected networks: the linear layer with PyTorch's initialisation, and the 4-momentum classifier."""

import flax.linen as nn
import jax.numpy as jnp

from e2e_jax.models.initializers import uniform_fan_in

KINEMATICS = 5  # pT1/m, pT2/m, eta1, eta2, cos(phi1 - phi2)


class Linear(nn.Module):
    """x @ kernel + bias, initialised as PyTorch does: [n, inputs] -> [n, features]."""

    features: int

    @nn.compact
    def __call__(self, x):
        inputs = x.shape[-1]
        kernel = self.param("kernel", uniform_fan_in(inputs), (inputs, self.features))
        bias = self.param("bias", uniform_fan_in(inputs), (self.features,))
        return jnp.dot(x, kernel) + bias[None, :]


class FourMomentum(nn.Module):
    """The paper's reference that sees no detector: 3 hidden layers of 256 ReLU on the photons' kinematics.

    Attributes:
      classes: number of logits.
      widths: neurons of each hidden layer.
    """

    classes: int = 3
    widths: tuple[int, ...] = (256, 256, 256)

    @nn.compact
    def __call__(self, inputs):
        """Maps {"kinematics": f4[n, 5]} to logits f4[n, classes]; raises ValueError on any other shape."""
        x = inputs["kinematics"]
        if x.ndim != 2 or x.shape[1] != KINEMATICS:
            raise ValueError(
                f"inputs['kinematics'] has shape {tuple(x.shape)}, but the 4-momentum network takes "
                f"[events, {KINEMATICS}]: pT1/m, pT2/m, eta1, eta2, cos(phi1 - phi2), leading photon first."
            )
        for layer, width in enumerate(self.widths):
            x = nn.relu(Linear(width, name=f"hidden{layer}")(x))
        return Linear(self.classes, name="head")(x)
