"""PyTorch's default initialization, used by the published classifiers."""

import math

import jax
import jax.numpy as jnp


def uniform_fan_in(fan_in):
    """U(-1/sqrt(fan_in), +1/sqrt(fan_in)) for kernels and biases.

    PyTorch draws kernels as Kaiming-uniform with a = sqrt(5), whose bound sqrt(6 / ((1 + a^2) fan_in)) is
    1/sqrt(fan_in) (`torch.nn.modules.conv._ConvNd.reset_parameters`; the same for `torch.nn.Linear`).

    Args:
      fan_in: number of inputs per output: kernel height * width * input channels, or input features.

    Returns:
      An initializer (key, shape, dtype) -> array.
    """
    bound = 1 / math.sqrt(fan_in)

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, minval=-bound, maxval=bound)

    return init
