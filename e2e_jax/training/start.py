"""Start of a training from the parameters of another run: all of them, or all except the head."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from e2e_jax.errors import WorkdirError
from e2e_jax.experiment import Experiment
from e2e_jax.inference.loading import load_classifier
from e2e_jax.runs.checkpoints import read_about
from e2e_jax.runs.config import in_words
from e2e_jax.training.progress import say

HEAD = "head"
"""The last layer of every network, whose outputs are those of the task."""

FIELD = "config.model.start_from"


def started(params: Any, run: Experiment, folder: str, parts: str) -> tuple[Any, dict]:
    """Replaces new parameters by those of the best epoch of another run, and describes their origin.

    Args:
      params: new parameters of the network, on the host.
      run: the run that starts.
      folder: folder of the other run.
      parts: "all", or "features" for all except the head.

    Returns:
      The parameters, and the description of their origin for results.json.

    Raises:
      WorkdirError: the folder has no finished epoch, or its network has other parameters.
    """
    try:
        other, about = load_classifier(folder), read_about(folder)
    except WorkdirError as error:
        raise WorkdirError(f"{FIELD} names a run that cannot be used. {error}") from error
    old, new = _by_name(other.params), _by_name(params)
    wanted = [name for name in new if parts == "all" or not _is_head(name)]
    _check(old, new, wanted, parts, folder, run, other)
    taken = {name: old[name] if name in wanted else value for name, value in new.items()}
    left = [name for name in new if name not in wanted]
    count = sum(int(np.size(old[name])) for name in wanted)
    fresh = f"; new: {', '.join(left)}" if left else ""
    say(
        f"Started from the best epoch of {other.name} in {folder}: {count} parameters taken{fresh}."
        f"{_other_inputs(run, other)}"
    )
    structure = jax.tree.structure(params)
    origin = {"run": str(folder), "name": other.name, "checkpoint": about["sha256"], "new": left}
    return jax.tree.unflatten(structure, list(taken.values())), origin


def _check(old, new, wanted, parts, folder, run, other):
    """Raises a WorkdirError if names or shapes of the parameters differ."""
    relevant = [*wanted, *(name for name in old if name not in new)]
    shapes = {name: (np.shape(old[name]) if name in old else None) for name in relevant}
    asked = {name: (np.shape(new[name]) if name in new else None) for name in relevant}
    differing = [name for name in relevant if shapes[name] != asked[name]]
    if parts != "all":
        differing = [name for name in differing if not _is_head(name)]
    if not differing:
        return
    changes = {name: (shapes[name], asked[name]) for name in differing[:3]}
    more = f"; and {len(differing) - 3} more" if len(differing) > 3 else ""
    way = "Choose a run with the same config.model and config.inputs.channels, or leave the field empty."
    if parts == "all" and all(map(_is_head, differing)):
        way = "Set config.model.start_parts to 'features', which takes all but the head."
    raise WorkdirError(
        f"{FIELD}: the network {other.network.name!r} of the run in {folder} does not fit "
        f"{run.network.name!r} ({in_words(changes, 'there', 'here')}{more}). {way}"
    )


def _other_inputs(run: Experiment, other) -> str:
    """A sentence about the inputs that differ from those of the other run; "" where none do."""
    fields = vars(run.inputs)
    differing = {
        f"inputs.{name}": (getattr(other.inputs, name), value)
        for name, value in fields.items()
        if getattr(other.inputs, name) != value
    }
    return f" The inputs differ: {in_words(differing, 'there', 'here')}." if differing else ""


def _by_name(tree) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in leaves}


def _is_head(name: str) -> bool:
    return name.split("/")[0] == HEAD
