"""Exports to StableHLO with `jax.export`, for any batch size, on CPUs and NVIDIA GPUs.

Reading the file needs only JAX, and none of this code:

    scored = jax.export.deserialize(bytearray(open(FILE, "rb").read())).call(inputs)

JAX guarantees that its versions of the next six months read it. `mlir_module_serialized` of the deserialized
object is the StableHLO portable artifact for other compilers.
"""

import jax
from jax import export

from e2e_jax.errors import ExportError
from e2e_jax.inference.export.signature import scoring_function

PLATFORMS = ("cpu", "cuda")


def to_bytes(classifier, shapes):
    """The scoring function of a classifier as a serialized `jax.export.Exported`.

    Args:
      classifier: the classifier.
      shapes: its inputs, from `signature.input_shapes`.

    Raises:
      ExportError: the program would call code of this machine.
    """
    exported = export.export(jax.jit(scoring_function(classifier)), platforms=PLATFORMS)(shapes)
    if "@e2e_" in exported.mlir_module():
        raise ExportError("The program calls compiled code of this package, which no other machine has.")
    return bytes(exported.serialize())


def scorer(content):
    """The function inputs -> probabilities of a file's content."""
    return export.deserialize(bytearray(content)).call
