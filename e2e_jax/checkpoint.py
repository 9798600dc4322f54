"""Checkpoints of a training, and the classifier that a finished (or running) one holds.

`checkpoints/<step>/` has three parts, written together or not at all: the whole training state, the
parameters of the best epoch so far, and, as metadata, where the epochs stand. Everything is stored as
host arrays, so that any number of devices, of any kind, can read it.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np
from orbax.checkpoint import v1 as ocp

from e2e_jax import models, parallel, preprocessing
from e2e_jax.sources.events import COLLECTIONS, Events
from e2e_jax.workdir import CHECKPOINTS, WorkdirError, read_config, saved_steps

KEPT = 2
"""Checkpoints kept: the latest, and the one before in case a crash or a full disk spoils it."""

LENGTH_STEP = 128
"""Padded lengths are multiples of this, so that similar events share one compiled program."""


class Checkpoints:
    """The checkpoints of one workdir, for the training that writes them. A context manager."""

    def __init__(self, workdir):
        policies = ocp.training.preservation_policies
        self._orbax = ocp.training.Checkpointer(
            Path(workdir).absolute() / CHECKPOINTS,
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
          state: pytree, the training state.
          best: pytree, the parameters of the best epoch so far.
          progress: what JSON can hold: the epoch, its running sums, the history.
        """
        parts = {"state": host_copy(state), "best": host_copy(best)}
        self._orbax.save_checkpointables(step, parts, custom_metadata=progress, force=True, overwrite=True)

    def restore(self, like):
        """The latest checkpoint as (state, best, progress) on the host, or None where there is none yet.

        Args:
          like: a state of the same structure, or its shapes (`jax.eval_shape`).
        """
        latest = self._orbax.latest
        if latest is None:
            return None
        wanted = {"state": _host_shapes(like), "best": _host_shapes(like.params)}
        parts = self._orbax.load_checkpointables(latest.step, wanted)
        progress = self._orbax.checkpointables_metadata(latest.step).custom_metadata
        return parts["state"], parts["best"], progress


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A trained classifier.

    Attributes:
      config: the config it was trained with.
      params: the network's parameters.
    """

    config: ml_collections.ConfigDict
    params: Any
    _predict: Callable = dataclasses.field(repr=False)

    def predict(self, events_or_images):
        """Probabilities of the classes, in the order of `classes.Classes.of(config).names`.

        Args:
          events_or_images: `Events`; a padded batch of hits (`Events.to_batch`); or images in GeV, with
            what they are normalised by: {"barrel": [n, 170, 360, channels], "mass": [n]}; all the images
            of `config.inputs.geometry`.

        Returns:
          f4 `[n, classes]`.
        """
        return self._predict(self.params, events_or_images)


def load_classifier(workdir, which="best"):
    """Loads the classifier of a run; needs nothing but its folder, on any device.

    Args:
      workdir: the folder of the run.
      which: "best" (of the best epoch), "latest" (of the last step saved), or the step of a checkpoint.

    Raises:
      WorkdirError: there is no run, no such checkpoint, or no epoch is finished yet.
    """
    config = read_config(workdir)
    path = _step_path(workdir, "latest" if which == "best" else which)
    shapes = jax.eval_shape(lambda: initial_params(config, jax.random.key(0)))
    if which == "best":
        if not read_progress(workdir)["history"]:
            raise WorkdirError(
                f"No epoch of the run in {workdir} is finished, so none is the best. Let it train on, or "
                "load 'latest'."
            )
        params = ocp.load_checkpointables(path, {"best": _host_shapes(shapes)})["best"]
    else:
        # The whole state as it was saved: the structure of Adam's part is optax's, no part of the light core.
        params = ocp.load_checkpointables(path, {"state": None})["state"]["params"]
    return Classifier(config, params, predictor(config))


def read_progress(workdir):
    """Where the epochs of a run stand, as `Checkpoints.save` was given it with the latest checkpoint."""
    return ocp.checkpointables_metadata(_step_path(workdir, "latest")).custom_metadata


def initial_params(config, key):
    """The network's parameters before training, drawn from a key."""
    # A probe of one event; the sizes of a network never depend on the number of events or hits.
    hits = {
        name: {c: np.zeros((1, 1), t) for c, t in columns.items()} for name, columns in COLLECTIONS.items()
    }
    probe = {"mass": np.ones(1, np.float32), "photons": np.ones((1, 2, 3), np.float32), **hits}
    return models.build(config).init(key, preprocessing.model_inputs(probe, config.inputs))["params"]


def predictor(config):
    """Compiles the forward pass: (params, events or images) -> probabilities f4 [n, classes], on the host.

    Batches of `config.evaluate.batch_size` go over all devices that divide it.
    """
    network = models.build(config)

    def forward(params, batch):
        logits = network.apply({"params": params}, preprocessing.model_inputs(batch, config.inputs))
        return jax.nn.softmax(logits, axis=-1)

    compiled = {}

    def predict(params, events_or_images):
        rows = _rows(events_or_images)
        size = min(config.evaluate.batch_size, max(rows, 1))
        if size not in compiled:
            replicated, split = parallel.shardings(parallel.mesh(size))
            compiled[size] = jax.jit(forward, in_shardings=(replicated, split), out_shardings=replicated)
        params = jax.device_get(params)
        parts = [np.zeros((0, config.model.classes), np.float32)]
        for batch, filled in _batches(events_or_images, rows, size):
            parts.append(np.asarray(compiled[size](params, batch))[:filled])
        return np.concatenate(parts)

    return predict


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


def _host_shapes(tree):
    return jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), tree)


def _rows(events_or_images):
    if isinstance(events_or_images, Events):
        return len(events_or_images)
    return len(jax.tree.leaves(events_or_images)[0])


def _batches(events_or_images, rows, size):
    """Yields (batch of `size` rows, how many of them are real); the last row fills the last batch up."""
    lengths = {}
    if isinstance(events_or_images, Events):
        longest = {name: int(getattr(events_or_images, name).counts.max(initial=1)) for name in COLLECTIONS}
        lengths = {name: -(-count // LENGTH_STEP) * LENGTH_STEP for name, count in longest.items()}
    for start in range(0, rows, size):
        taken = np.minimum(np.arange(start, start + size), rows - 1)
        if isinstance(events_or_images, Events):
            batch = events_or_images[taken].to_batch(lengths)
        else:
            batch = jax.tree.map(lambda leaf, taken=taken: np.asarray(leaf)[taken], dict(events_or_images))
        yield batch, min(size, rows - start)
