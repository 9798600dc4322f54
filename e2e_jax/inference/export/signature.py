"""The scoring function of an exported file, and the shapes of its inputs."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from e2e_jax.errors import ExportError
from e2e_jax.events.diphotons import CELLS, COLLECTIONS, cell_exists
from e2e_jax.inference import validity
from e2e_jax.inference.prediction import Predictor
from e2e_jax.models import backend, heads, preprocessing
from e2e_jax.models.forward import logits_function

GIVEN = ("hits", "images")
EVENTS = "events"
"""Name of the batch dimension; other symbolic dimensions have the names of collections of hits."""


def in_float32(classifier):
    """The classifier with computations in float32, which every runtime supports, like its parameters."""
    network = dataclasses.replace(classifier.network, precision="float32")
    predictor = Predictor(classifier.task, network, classifier.inputs)
    return dataclasses.replace(classifier, network=network, _predict=predictor)


def scaled_outside(classifier):
    """The classifier for preprocessed images: without thresholds, scale and normalization.

    Raises:
      ExportError: its images are divided by another input, or it uses no images.
    """
    inputs = classifier.inputs
    if inputs.normalization != preprocessing.NONE or inputs.kind not in ("images", "showers"):
        raise ExportError(
            "--scaling=outside is for classifiers of images that are not divided by an observable. Leave it "
            "out."
        )
    plain = dataclasses.replace(inputs, threshold=float(np.finfo(np.float32).min), scale=1.0)
    predictor = Predictor(classifier.task, classifier.network, plain)
    return dataclasses.replace(classifier, inputs=plain, _predict=predictor)


def scoring_function(classifier):
    """The pure function {input: array} -> predictions f4 [n, columns], with parameters inside, only with XLA.

    An event for which `validity.is_invalid` is true gets NaN.
    """
    predictions = _predictions(classifier)

    def score(batch):
        invalid = validity.is_invalid(batch, classifier.task, classifier.inputs, jnp)
        return jnp.where(invalid[:, None], jnp.float32(np.nan), predictions(batch))

    return score


def _predictions(classifier):
    """The scoring function without the check of its inputs."""
    network, params = in_float32(classifier).network, jax.tree.map(np.asarray, classifier.params)
    logits_of = logits_function(network, classifier.inputs, backend.ANY)

    def score(batch):
        return heads.predictions(logits_of(params, batch), classifier.task)

    return score


def input_shapes(classifier, given):
    """The inputs of the classifier, as arrays without content and with symbolic dimensions.

    Args:
      classifier: the classifier.
      given: "hits", the padded batch of `Events.to_batch` with cells in int32; or "images", in GeV.

    Returns:
      {"mass": f4[events], "eb": {"cell": i4[events, eb], "energy": f4[events, eb]}, ...} or
      {"barrel": f4[events, 170, 360, channels], "mass": f4[events]}: only what the network reads, and the
      observables that decide whether an event is valid. Every symbolic dimension is at least 1.

    Raises:
      ExportError: `given` is neither, or the classifier uses no images.
    """
    inputs, observables = classifier.inputs, classifier.task.known_observables
    if given not in GIVEN:
        raise ExportError(f"Inputs {given!r} are not known: --input is one of {', '.join(GIVEN)}.")
    dense = preprocessing.dense_shapes(inputs)
    if given == "hits" and classifier.task.events != "collisions":
        raise ExportError(
            f"This classifier sees {classifier.task.events}, which are exported as images alone: give "
            "--input=images."
        )
    if given == "images" and not dense:
        raise ExportError(
            f"This classifier sees {inputs.kind}, no images. Export it with --input=hits: its inputs are "
            "then the photons and observables that it reads."
        )
    names = (EVENTS, *COLLECTIONS)
    dimension = dict(zip(names, export.symbolic_shape(", ".join(names))))
    events = dimension[EVENTS]
    shapes = {o.name: jax.ShapeDtypeStruct((events,), np.float32) for o in observables}
    if classifier.task.events == "collisions":
        shapes["photons"] = jax.ShapeDtypeStruct((events, 2, 3), np.float32)
    if given == "images":
        for name, size in dense.items():
            shapes[name] = jax.ShapeDtypeStruct((events, *size), np.float32)
    else:
        for name, columns in COLLECTIONS.items():
            shapes[name] = {
                column: jax.ShapeDtypeStruct((events, dimension[name]), _portable(dtype))
                for column, dtype in columns.items()
            }
    read = _only_read(_predictions(classifier), shapes)
    checked = {observable.name for observable in observables if observable.least is not None}
    return {name: read.get(name, shapes[name]) for name in shapes if name in read or name in checked}


def output_name(classifier):
    """The name of the output: "probabilities" for a classifier, otherwise "predictions"."""
    return "predictions" if classifier.task.targets else "probabilities"


def flat_names(tree):
    """Flatten nested inputs: {"eb": {"cell": x}} -> {"eb.cell": x}."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def as_inputs(batch, shapes):
    """Convert a batch of `Events.to_batch`, or images, to the arrays of `shapes`."""
    return {
        name: as_inputs(batch[name], shape) if isinstance(shape, dict) else batch[name].astype(shape.dtype)
        for name, shape in shapes.items()
    }


def probe(shapes, events, seed=0):
    """Valid inputs of these shapes: random hits on random cells, and images that are mostly zeros."""
    rng = np.random.default_rng(seed)

    def fill(name, shape):
        size = [events, *(axis if isinstance(axis, int) else 40 for axis in shape.shape[1:])]
        if name.endswith("cell"):
            collection = name.removesuffix(".cell")
            exists = cell_exists(collection, np.arange(CELLS[collection]))
            return rng.choice(np.flatnonzero(exists), size).astype(shape.dtype)
        if name.endswith(("eta", "phi")):
            return rng.uniform(-2.9, 2.9, size).astype(shape.dtype)
        # Numbers per event are observables, such as a mass.
        values = rng.uniform(1, 60, size) + (100 if len(size) == 1 else 0)
        return (values * (rng.random(size) < 0.01) if len(size) == 4 else values).astype(shape.dtype)

    leaves = [fill(name, shape) for name, shape in flat_names(shapes).items()]
    return jax.tree.unflatten(jax.tree.structure(shapes), leaves)


def _portable(dtype):
    """Type of an input; cells are int32, which every format and language supports."""
    return np.int32 if np.issubdtype(dtype, np.integer) else dtype


def _only_read(score, shapes):
    """The shapes of the inputs that `score` reads."""
    leaves, structure = jax.tree.flatten(shapes)
    program = jax.make_jaxpr(lambda *leaves: score(jax.tree.unflatten(structure, leaves)))(*leaves).jaxpr
    read = {id(variable) for equation in program.eqns for variable in equation.invars}
    kept = jax.tree.unflatten(structure, [id(variable) in read for variable in program.invars])
    pruned = {}
    for name, shape in shapes.items():
        if isinstance(shape, dict):
            columns = {column: shape[column] for column in shape if kept[name][column]}
            pruned |= {name: columns} if columns else {}
        elif kept[name]:
            pruned[name] = shape
    return pruned
