"""Checkpoints of a training, and the classifier that a finished (or running) one holds.

`checkpoints/<step>/` has three parts, written together or not at all: the whole training state, the
parameters of the best epoch so far, and, as metadata, where the epochs stand. Everything is stored as
host arrays, so that any number of devices, of any kind, can read it, with digests, so that a damaged
file is noticed. A released checkpoint (`e2e_jax.release`) lacks the first part.
"""

import functools
import hashlib
import importlib.metadata
import math
from pathlib import Path

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from e2e_jax import __version__, models, preprocessing
from e2e_jax.classes import category_of
from e2e_jax.models import backend
from e2e_jax.prediction import Classifier, predictor
from e2e_jax.sources.record import column_type
from e2e_jax.workdir import CHECKPOINTS, CONFIG, WorkdirError, read_config, saved_steps

__all__ = ["Checkpoints", "Classifier", "load_classifier", "predictor", "read_progress"]

KEPT = 2
"""Checkpoints kept: the latest, and the one before in case a crash or a full disk spoils it."""

FORMAT = 1
"""What the parts of a checkpoint mean; one more when an older version would misread them. 0: no digests."""


class Checkpoints:
    """The checkpoints of one workdir, for the training that writes them. A context manager."""

    def __init__(self, workdir):
        policies = ocp.training.preservation_policies
        self._folder = Path(workdir).absolute() / CHECKPOINTS
        self._orbax = ocp.training.Checkpointer(
            self._folder,
            preservation_policy=policies.LatestN(KEPT),
            cleanup_tmp_directories=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._orbax.close()

    def save(self, step, state, best, progress):
        """Saves at a step, whole or not at all; on return it is on disk.

        Args:
          step: the training step, the name of the checkpoint.
          state: pytree, the training state; None where there is none to resume from.
          best: pytree, the parameters of the best epoch so far.
          progress: what JSON can hold: the epoch, its running sums, the history.
        """
        parts, digests = {"best": host_copy(best)}, {}
        if state is not None:
            parts["state"] = host_copy(state)
            digests["params"] = _digest(parts["state"].params)
        digests |= {name: _digest(part) for name, part in parts.items()}
        about = {"format": FORMAT, "e2e_jax": __version__, "digests": digests, "progress": progress}
        self._orbax.save_checkpointables(step, parts, custom_metadata=about, force=True, overwrite=True)

    def restore(self, like):
        """The latest checkpoint as (state, best, progress) on the host, or None where there is none yet.

        Args:
          like: a state of the same structure, or its shapes (`jax.eval_shape`).

        Raises:
          WorkdirError: the checkpoint is damaged, or from a newer version.
        """
        latest = self._orbax.latest
        if latest is None:
            return None
        path = self._folder / str(latest.step)
        about, _ = _read_about(path)
        parts = _load(path, {"state": _host_shapes(like), "best": _host_shapes(like.params)})
        for name, part in parts.items():
            _check_digest(path, about, name, part)
        return parts["state"], parts["best"], about["progress"]


def load_classifier(workdir, which="best"):
    """Loads the classifier of a run; needs nothing but its folder, on any device.

    Args:
      workdir: the folder of the run.
      which: "best" (of the best epoch), "latest" (of the last step saved), or the step of a checkpoint.

    Raises:
      WorkdirError: there is no run, no such checkpoint, or no epoch is finished yet; the checkpoint is
        damaged, from a newer version, or of another network than the config describes.
    """
    config = read_config(workdir)
    path = _step_path(workdir, "latest" if which == "best" else which)
    expected = _parameter_shapes(config, Path(workdir) / CONFIG)
    about, saved = _read_about(path)
    if which == "best":
        if not about["progress"]["history"]:
            raise WorkdirError(
                f"No epoch of the run in {workdir} is finished, so none is the best. Let it train on, or "
                "load 'latest'."
            )
        if not saved.get("best"):
            raise _unreadable(path, "its part 'best' is not there")
        _check_shapes(path, saved["best"], expected)
        params = _load(path, {"best": _host_shapes(expected)})["best"]
        _check_digest(path, about, "best", params)
    else:
        if "state" not in saved:
            raise WorkdirError(
                f"{path} is a released checkpoint: it has the best epoch's parameters alone. Load 'best'."
            )
        if not saved["state"]:
            raise _unreadable(path, "its part 'state' is not there")
        _check_shapes(path, saved["state"].get("params"), expected)
        # The whole state as it was saved: the structure of Adam's part is optax's, no part of the light core.
        params = _load(path, {"state": None})["state"]["params"]
        _check_digest(path, about, "params", params)
    return Classifier(config, params, predictor(config))


def read_progress(workdir):
    """Where the epochs of a run stand, as `Checkpoints.save` was given it with the latest checkpoint."""
    return _read_about(_step_path(workdir, "latest"))[0]["progress"]


def initial_params(config, key):
    """The network's parameters before training, drawn from a key."""
    # A probe of one event; the sizes of a network never depend on the number of events or hits.
    record = category_of(config).record
    scalars = {name: ((), dtype) for name, dtype in record.SCALARS.items()} | record.TENSORS
    probe = {name: np.ones((1, *scalars[name][0]), scalars[name][1]) for name in record.BATCHED}
    for name, columns in record.COLLECTIONS.items():
        types = {column: column_type(declared) for column, declared in columns.items()}
        probe[name] = {c: np.zeros((1, 1, *shape), dtype) for c, (dtype, shape) in types.items()}
    network = models.build(config, backend.ANY)
    return network.init(key, preprocessing.model_inputs(probe, config.inputs))["params"]


def host_copy(tree):
    """Copies a pytree to host arrays of its own: no view of a buffer that a later step may reuse."""
    return jax.tree.map(lambda leaf: np.array(leaf), tree)


def _step_path(workdir, which):
    """The folder of a checkpoint, by its step or "latest"."""
    steps = saved_steps(workdir)
    if not steps:
        raise WorkdirError(
            f"The run in {workdir} has no checkpoint yet. Train it first, or wait for the first one."
        )
    step = steps[-1] if which == "latest" else which
    if step not in steps:
        raise WorkdirError(
            f"The run in {workdir} has no checkpoint {which!r}; there are 'best', 'latest' and the steps "
            f"{', '.join(map(str, steps))}."
        )
    return Path(workdir).absolute() / CHECKPOINTS / str(step)


def _read_about(path):
    """What a checkpoint says of itself: (its format, digests, progress; {part: its tree of metadata})."""
    try:
        found = ocp.checkpointables_metadata(path)
        about, saved = found.custom_metadata, dict(found.metadata)
    except Exception as error:  # of many kinds, as a cut or a missing file may have it
        raise _unreadable(path, error) from error
    if not isinstance(about, dict) or not {"format", "history"} & about.keys():
        raise _unreadable(path, "its metadata does not say where the epochs stand")
    if "format" not in about:
        about = {"format": 0, "digests": {}, "progress": about}
    if about["format"] > FORMAT:
        raise WorkdirError(
            f"The checkpoint {path} has format {about['format']}, written by e2e_jax {about.get('e2e_jax')}; "
            f"this is e2e_jax {__version__}, which reads formats up to {FORMAT}. Install that version or a "
            "newer one."
        )
    return about, saved


def _load(path, wanted):
    """`orbax.load_checkpointables`, whose errors are of every kind, with one."""
    try:
        return ocp.load_checkpointables(path, wanted)
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path, why):
    others = [step for step in saved_steps(path.parents[1]) if str(step) != path.name]
    other = f", or the step {others[-1]}, which it has as well" if others else ""
    while getattr(why, "__cause__", None):
        why = why.__cause__
    why = str(why).splitlines()[0][:200] if str(why) else type(why).__name__
    return WorkdirError(
        f"The checkpoint {path} cannot be read: a file of it is cut, changed or missing, or a newer version "
        f"of orbax-checkpoint wrote it (this is {importlib.metadata.version('orbax-checkpoint')}). Copy its "
        f"folder again{other}; a training goes on from there when the folder {path.name} is deleted. ({why})"
    )


def _check_digest(path, about, name, part):
    expected = about["digests"].get(name)
    if expected is not None and _digest(part) != expected:
        raise _unreadable(path, f"the content of {name!r} is not what was saved")


def _digest(tree):
    """SHA-256 of the arrays of a tree, in the order of its leaves."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        leaf = np.ascontiguousarray(leaf)
        digest.update(f"{leaf.dtype.str}{np.shape(leaf)}".encode() + leaf.tobytes())
    return digest.hexdigest()


def _parameter_shapes(config, path):
    """The shapes of the network's parameters, as the config in `path` has it."""
    try:
        return jax.eval_shape(lambda: initial_params(config, jax.random.key(0)))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise WorkdirError(
            f"{path} describes no network of e2e_jax {__version__}: {str(error).splitlines()[0]} Restore the "
            "file, or install the version that trained the run (results.json names it)."
        ) from error


def _check_shapes(path, saved, expected):
    """Refuses the parameters of another network; says where they differ."""
    saved, expected = _shapes(saved), _shapes(expected)
    differing = [name for name in sorted(saved | expected) if saved.get(name) != expected.get(name)]
    if not differing:
        return
    listed = "; ".join(
        f"{name}: {saved.get(name, 'nothing')} there, {expected.get(name, 'nothing')} by the config"
        for name in differing[:3]
    )
    more = f"; and {len(differing) - 3} more" if len(differing) > 3 else ""
    sizes = [sum(math.prod(shape) for shape in shapes.values()) for shapes in (saved, expected)]
    raise WorkdirError(
        f"The checkpoint {path} is of another network than {CONFIG} describes: it has {sizes[0]} parameters, "
        f"the config's network {sizes[1]} ({listed}{more}). config.model, config.inputs.channels, "
        "config.inputs.geometry and config.inputs.kind decide that. Put back the config and the checkpoints "
        "of one run."
    )


def _shapes(tree):
    """{"features/stem/kernel": (7, 7, 3, 16)}"""
    name = functools.partial(jax.tree_util.keystr, simple=True, separator="/")
    return {name(path): tuple(leaf.shape) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _host_shapes(tree):
    return jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), tree)
