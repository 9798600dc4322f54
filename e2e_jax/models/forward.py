"""From a batch to logits: what training, prediction, gradients of hits and exported files share."""

from collections.abc import Callable

from e2e_jax.detector.drawing import Drawing
from e2e_jax.models import backend, building, preprocessing
from e2e_jax.models.building import Network
from e2e_jax.models.preprocessing import Inputs


def logits_function(
    network: Network, inputs: Inputs, platform: str | None = None, deterministic: bool = False
) -> Callable:
    """The network behind its inputs: (params, batch, keys=None) -> logits f4 [n, classes]; to be jitted.

    Args:
      network: the network.
      inputs: what it sees.
      platform: where the function runs, see `models.backend.features`; on this process's devices by default.
      deterministic: whether images are drawn in a fixed order, see `detector.drawing.Drawing`.

    Returns:
      A function of the network's parameters, a batch as `preprocessing.model_inputs` takes it and, in
      training, a random key for each event.
    """
    module = building.build(network, inputs, platform)
    drawing = Drawing(backend.takes_blocks(module), deterministic)

    def logits(params, batch, keys=None):
        with backend.matrix_precision(network.precision):
            seen = preprocessing.model_inputs(batch, inputs, drawing)
            return module.apply({"params": params}, seen, keys)

    return logits
