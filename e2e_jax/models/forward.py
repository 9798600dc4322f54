"""From a batch to logits: what training, prediction, gradients of hits and exported files share."""

from collections.abc import Callable

from e2e_jax import models
from e2e_jax.detector.drawing import Drawing
from e2e_jax.models import backend, preprocessing


def logits_function(config, platform: str | None = None) -> Callable:
    """The network behind its inputs: (params, batch, keys=None) -> logits f4 [n, classes]; to be jitted.

    Args:
      config: the config of the classifier.
      platform: where the function runs, see `models.backend.features`; on this process's devices by default.

    Returns:
      A function of the network's parameters, a batch as `preprocessing.model_inputs` takes it and, in
      training, a random key for each event.
    """
    network = models.build(config, platform)
    drawing = Drawing(backend.takes_blocks(network), config.get("deterministic", False))
    precision = config.get("precision", "float32")

    def logits(params, batch, keys=None):
        with backend.matrix_precision(precision):
            inputs = preprocessing.model_inputs(batch, config.inputs, drawing)
            return network.apply({"params": params}, inputs, keys)

    return logits
