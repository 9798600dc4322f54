"""Checkpoints of a training, and the classifier that a finished (or running) one holds.

A checkpoint has two parts: the whole training state, and the parameters of the best epoch so far. Beside
them are the config, the fingerprints of the dataset, and where the epochs stand (`checkpoint_files`).
Everything is stored as host arrays, so that any number of devices, of any kind, can read it. A released
checkpoint (`e2e_jax.release`) lacks the training state.
"""

import functools
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np

from e2e_jax import __version__, models
from e2e_jax.classes import category_of
from e2e_jax.devices import distributed
from e2e_jax.events.base import column_type
from e2e_jax.inference.prediction import Classifier, Predictor
from e2e_jax.models import backend, preprocessing
from e2e_jax.runs import checkpoint_files
from e2e_jax.runs.folder import (
    CHECKPOINTS,
    CONFIG,
    WorkdirError,
    as_config,
    check_path,
    deciding_differences,
    in_words,
    read_config,
    saved_steps,
)
from e2e_jax.training.history import TrainingError

__all__ = ["Checkpoints", "Classifier", "load_classifier", "read_about"]


class Checkpoints:
    """The checkpoints of one workdir, for the training that writes them. A context manager.

    Of several processes the first alone writes.
    """

    def __init__(self, workdir, config, dataset):
        """
        Args:
          workdir: the run's folder.
          config: of the training.
          dataset: the fingerprint of each split, {"train": ..., "validation": ...}.
        """
        self._folder = Path(workdir).absolute() / CHECKPOINTS
        self._config, self._dataset = config, dict(dataset)
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        self._alone = None
        self._saving = None
        self._read_back = False
        if distributed.first():
            checkpoint_files.remove_leftovers(self._folder)
        if distributed.first() and distributed.several():
            # Orbax has all processes save together, at the same step; this one is alone.
            self._alone = ProcessPoolExecutor(
                1, mp_context=multiprocessing.get_context("spawn"), initializer=distributed.stand_alone
            )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        # An error of the training comes before one of the last checkpoint.
        try:
            self.wait()
        except Exception:
            if error[0] is None:
                raise
        finally:
            self._thread.shutdown()
            if self._alone is not None:
                self._alone.shutdown()

    def save(self, step, state, best, progress, after=None):
        """Saves at a step, whole or not at all, while the training goes on; see `wait`.

        The first checkpoint is read back after it is written.

        Args:
          step: the training step, the name of the checkpoint.
          state: pytree, the training state; None where there is none to resume from.
          best: pytree, the parameters of the best epoch so far.
          progress: what JSON can hold: the epoch, its running sums, the history.
          after: a future; nothing is written before it is done.

        Raises:
          TrainingError: a number is not finite; nothing is written.
          WorkdirError: the checkpoint before this one could not be written.
        """
        if not distributed.first():
            return
        parts = {"best": host_copy(best)} | ({} if state is None else {"state": host_copy(state)})
        _require_finite(step, parts)
        # The folder of the datasets is one of this machine.
        fields = self._config.to_dict()
        fields["dataset"] = {**fields["dataset"], "data_dir": ""}
        about = {"config": fields, "dataset": self._dataset, "progress": progress}
        self.wait()
        self._saving = self._thread.submit(self._write, step, parts, about, after)

    def wait(self):
        """Waits until what was saved is on the disk.

        Raises:
          WorkdirError: it could not be written, or cannot be read.
        """
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.result()

    def _write(self, step, parts, about, after):
        if after is not None:
            after.result()
        self._do(checkpoint_files.write, step, parts, about)
        if not self._read_back:
            self._do(checkpoint_files.check_written, step, parts, about)
            self._read_back = True

    def _do(self, work, *arguments):
        if self._alone is None:
            work(self._folder, *arguments)
        else:
            self._alone.submit(work, self._folder, *arguments).result()

    def restore(self, like):
        """The latest checkpoint as (state, best, progress) on the host, or None where there is none yet.

        Args:
          like: a state of the same structure, or its shapes (`jax.eval_shape`).

        Raises:
          WorkdirError: the checkpoint is damaged, from another version, or of another config or dataset.
        """
        self.wait()
        steps = saved_steps(self._folder.parent)
        if not steps:
            return None
        path = self._folder / str(steps[-1])
        about = checkpoint_files.read_about(path)
        _check_config(path, about, self._config)
        check_dataset(path, about, self._dataset)
        load = functools.partial(checkpoint_files.load, path, about)
        return load("state", like), load("best", like.params), about["progress"]


def load_classifier(workdir, which="best"):
    """Loads the classifier of a run; needs nothing but its folder, on any device.

    Args:
      workdir: the folder of the run.
      which: "best" (of the best epoch), "latest" (of the last step saved), or the step of a checkpoint.

    Raises:
      WorkdirError: there is no run, no such checkpoint, or no epoch is finished yet; the checkpoint is
        damaged, from another version, or of another config or network than the config describes.
    """
    config = read_config(workdir)
    path = _step_path(workdir, "latest" if which == "best" else which)
    about = checkpoint_files.read_about(path)
    _check_config(path, about, config)
    expected = _parameter_shapes(config, Path(workdir) / CONFIG)
    if which == "best":
        if not about["progress"]["history"]:
            raise WorkdirError(
                f"No epoch of the run in {workdir} is finished, so none is the best. Let it train on, or "
                "load 'latest'."
            )
        params = checkpoint_files.load(path, about, "best")
    else:
        if not any(Path(file).parts[0] == "state" for file in about["files"]):
            raise WorkdirError(
                f"{path} is a released checkpoint: it has the best epoch's parameters alone. Load 'best'."
            )
        # The whole state as it was saved: the structure of Adam's part is optax's, no part of the light core.
        params = checkpoint_files.load(path, about, "state")["params"]
    _check_shapes(path, params, expected)
    return Classifier(config, params, Predictor(config))


def read_about(workdir):
    """What was saved beside the arrays of a run's latest checkpoint: {"progress", "config", ...}."""
    return checkpoint_files.read_about(_step_path(workdir, "latest"))


def check_dataset(path, about, dataset):
    """Refuses another dataset than the one that a checkpoint was trained and chosen on.

    Args:
      path: of the checkpoint.
      about: what was saved with it.
      dataset: the fingerprints of the splits that are there.

    Raises:
      WorkdirError: it names the splits that differ.
    """
    splits = [split for split, fingerprint in about["dataset"].items() if dataset.get(split) != fingerprint]
    if splits:
        raise WorkdirError(
            f"The checkpoint {path} belongs to another dataset ({' and '.join(splits)} events differ). Name "
            "the dataset of its training as config.dataset.name and config.dataset.data_dir, or choose "
            "another folder with --workdir=DIR."
        )


def initial_params(config, key):
    """The network's parameters before training, drawn from a key."""
    # A probe of one event; the sizes of a network never depend on the number of events or hits.
    record = category_of(config).record
    probe = {name: np.ones((1, *shape), dtype) for name, (shape, dtype) in record.BATCHED.items()}
    probe["mass"] = np.ones(1, np.float32)
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
    check_path(workdir)
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


def _require_finite(step, parts):
    """Raises a TrainingError where a number of a checkpoint is not finite."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(parts):
        if leaf.dtype.kind == "f" and not np.isfinite(leaf).all():
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise TrainingError(
                f"{name} is not finite at step {step}, so nothing is saved. Train into a new folder with a "
                "smaller config.train.learning_rate or smaller config.inputs.scale."
            )


def _check_config(path, about, config):
    """Refuses another config than the one that a checkpoint was saved with."""
    try:
        saved = as_config(about["config"])
    except ValueError as error:
        raise WorkdirError(
            f"The checkpoint {path} was saved with a config that this e2e_jax {__version__} does not know "
            f"({str(error).rstrip('.')}). Install e2e_jax {about['e2e_jax']}, which saved it."
        ) from None
    if changes := deciding_differences(saved, config):
        raise WorkdirError(
            f"The checkpoint {path} was saved with another config "
            f"({in_words(changes, 'there', f'in {CONFIG}')}). These fields decide its results: put back the "
            f"{CONFIG} of the run."
        )


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
    """Refuses the parameters of another network than this code builds; says where they differ."""
    saved, expected = _shapes(saved), _shapes(expected)
    differing = [name for name in sorted(saved | expected) if saved.get(name) != expected.get(name)]
    if not differing:
        return
    changes = {name: (saved.get(name), expected.get(name)) for name in differing[:3]}
    more = f"; and {len(differing) - 3} more" if len(differing) > 3 else ""
    raise WorkdirError(
        f"The checkpoint {path} is of another network than e2e_jax {__version__} makes of its config "
        f"({in_words(changes, 'there', 'here')}{more}). Install the version that trained the run "
        "(results.json names it)."
    )


def _shapes(tree):
    """{"features/stem/kernel": (7, 7, 3, 16)}"""
    name = functools.partial(jax.tree_util.keystr, simple=True, separator="/")
    return {name(path): tuple(leaf.shape) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
