"""The function from batch to logits, used by training, prediction, gradients of hits and exported files."""

from collections.abc import Callable

from e2e_jax.detector.drawing import Drawing
from e2e_jax.models import backend, building, preprocessing
from e2e_jax.models.building import Network
from e2e_jax.models.preprocessing import Inputs


def logits_function(
    network: Network, inputs: Inputs, platform: str | None = None, deterministic: bool = False
) -> Callable:
    """Inputs and network as one function to jit: (params, batch, keys=None) -> logits f4 [n, classes].

    Args:
      network: the network.
      inputs: inputs of the network.
      platform: platform to run on, see `models.backend.features`; by default that of this process's devices.
      deterministic: whether images are drawn in a fixed order, see `detector.drawing.Drawing`.

    Returns:
      A function of the network's parameters, a batch as for `preprocessing.model_inputs` and, in training, a
      random key per event.
    """
    module = building.build(network, inputs, platform)
    drawing = Drawing(backend.takes_blocks(module), deterministic)

    def logits(params, batch, keys=None):
        with backend.matrix_precision(network.precision):
            seen = preprocessing.model_inputs(batch, inputs, drawing)
            return module.apply({"params": params}, seen, keys)

    return logits
