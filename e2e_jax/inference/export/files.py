"""Exports a run to a file that is tested before it gets its final name."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from e2e_jax.errors import ExportError
from e2e_jax.files.atomic import write_whole
from e2e_jax.inference.ensemble import one_network
from e2e_jax.inference.export import signature, stablehlo
from e2e_jax.inference.loading import load_classifier

FORMATS = ("stablehlo", "onnx")
TOLERANCE = 1e-5
"""Largest allowed difference of a probability from `Classifier.predict`, in float32."""

PROBED = 5
"""Number of events for this comparison."""


SCALINGS = ("inside", "outside")


def export(workdir, output, form, given="hits", which="best", scaling="inside"):
    """Write the classifier of a run to one file, atomically.

    Args:
      workdir: folder of the run.
      output: the file to write.
      form: one of `FORMATS`.
      given: input of the file, "hits" or "images".
      which: the checkpoint, as for `load_classifier`.
      scaling: one of `SCALINGS`: whether thresholds and scale of images are in the file or applied before.

    Returns:
      A summary of a few lines: inputs, output, size, largest difference from `predict`.

    Raises:
      ExportError: this export is impossible, or the scores of the file would differ from `predict`.
      WorkdirError: the run cannot be loaded, or it is an ensemble.
    """
    output = Path(output).expanduser()
    if form not in FORMATS:
        raise ExportError(f"No format {form!r}; there are {', '.join(FORMATS)}.")
    if not output.parent.is_dir() or (output.exists() and not output.is_file()):
        raise ExportError(f"{output} cannot be written: name a file, in a folder that exists.")
    if form == "onnx" and importlib.util.find_spec("onnx") is None:
        raise ExportError("ONNX needs the package onnx: pip install 'e2e_jax[export]'.")
    classifier = signature.in_float32(one_network(load_classifier(workdir, which)))
    if scaling == "outside":
        if given != "images":
            raise ExportError("--scaling=outside needs --input=images: hits are scaled inside.")
        classifier = signature.scaled_outside(classifier)
    shapes = signature.input_shapes(classifier, given)
    content, scorer = _content(classifier, shapes, form)
    difference = None if scorer is None else _difference(classifier, shapes, scorer)
    if difference is not None and not difference <= TOLERANCE:
        raise ExportError(
            f"The exported file would differ from predict by {difference:.2g} in a probability, more than "
            f"{TOLERANCE:g}, so it was not written. Please report it, with the config and the versions."
        )
    try:
        write_whole(output, content)
    except OSError as error:
        raise ExportError(f"{output} cannot be written ({error.strerror}).") from error
    return _summary(classifier, shapes, output, content, difference)


def _content(classifier, shapes, form):
    """(the file's content, a function that scores with it; None if no runtime is installed)."""
    if form == "stablehlo":
        content = stablehlo.to_bytes(classifier, shapes)
        return content, stablehlo.scorer(content)
    from e2e_jax.inference.export import onnx_file

    content = onnx_file.to_bytes(classifier, shapes)
    runnable = importlib.util.find_spec("onnxruntime") is not None
    return content, onnx_file.scorer(content) if runnable else None


def _difference(classifier, shapes, scorer):
    inputs = signature.probe(shapes, PROBED)
    return float(np.max(np.abs(np.asarray(scorer(inputs)) - classifier.predict(inputs))))


def _summary(classifier, shapes, output, content, difference):
    lines = [f"{output}: {len(content) / 1e6:.2f} MB"]
    for name, shape in signature.flat_names(shapes).items():
        lines.append(f"  input   {name}: {np.dtype(shape.dtype).name}[{', '.join(map(str, shape.shape))}]")
    columns = classifier.columns if classifier.task.targets else classifier.classes
    name, listed = signature.output_name(classifier), ", ".join(columns)
    lines.append(f"  output  {name}: float32[{signature.EVENTS}, {len(columns)}]: {listed}")
    tried = "not tried out: onnxruntime is not installed"
    if difference is not None:
        tried = f"largest difference from predict on {PROBED} random events: {difference:.1g}"
    return "\n".join([*lines, f"  {tried}"])
