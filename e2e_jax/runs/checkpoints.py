"""Checkpoints of a training.

A checkpoint has two parts: the training state, and the parameters of the best epoch so far. It also holds the
config, the task, the fingerprints of the dataset and the progress of the training (`checkpoint_files`). The
arrays are stored as host arrays, so that any number and type of devices can read them. A released checkpoint
(`inference.release`) has no training state.
"""

import functools
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np

from e2e_jax import __version__
from e2e_jax.devices import distributed
from e2e_jax.errors import TrainingError, WorkdirError
from e2e_jax.runs import checkpoint_files
from e2e_jax.runs.config import as_config, deciding_differences, in_words
from e2e_jax.runs.folder import CHECKPOINTS, CONFIG, check_path, members, saved_steps
from e2e_jax.study import Task


class Checkpoints:
    """The checkpoints of one workdir, for the training that writes them. A context manager.

    With several processes, only the first writes.
    """

    def __init__(self, workdir, config, task, dataset):
        """
        Args:
          workdir: the folder of the run.
          config: config of the training.
          task: the learning task.
          dataset: the fingerprint of each split, {"train": ..., "validation": ...}.
        """
        self._folder = Path(workdir).absolute() / CHECKPOINTS
        self._config, self._task, self._dataset = config, task, dict(dataset)
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        self._alone = None
        self._saving = None
        self._read_back = False
        if distributed.first():
            checkpoint_files.remove_leftovers(self._folder)
        if distributed.first() and distributed.several():
            # Orbax makes all processes save together, at the same step; a child process can save alone.
            self._alone = ProcessPoolExecutor(
                1, mp_context=multiprocessing.get_context("spawn"), initializer=distributed.stand_alone
            )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        # An error of the training has precedence over an error of the last checkpoint.
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
        """Save a checkpoint atomically while the training continues; see `wait`.

        The first checkpoint is read back after it is written.

        Args:
          step: the training step, the name of the checkpoint.
          state: pytree, the training state; None for a checkpoint from which no training resumes.
          best: pytree, the parameters of the best epoch so far.
          progress: JSON content: the epoch, its running sums, the history.
          after: a future; nothing is written before it is done.

        Raises:
          TrainingError: a number is not finite; nothing is written.
          WorkdirError: the previous checkpoint could not be written.
        """
        if not distributed.first():
            return
        parts = {"best": host_copy(best)} | ({} if state is None else {"state": host_copy(state)})
        _require_finite(step, parts)
        # The folder of the datasets is specific to this machine.
        fields = self._config.to_dict()
        fields["dataset"] = {**fields["dataset"], "data_dir": ""}
        about = {"config": fields, "task": self._task.to_json()}
        about |= {"dataset": self._dataset, "progress": progress}
        self.wait()
        self._saving = self._thread.submit(self._write, step, parts, about, after)

    def wait(self):
        """Wait until the saved checkpoint is on the disk.

        Raises:
          WorkdirError: the checkpoint could not be written, or cannot be read.
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
        """The latest checkpoint as (state, best, progress) on the host, or None if there is none yet.

        Args:
          like: a state of the same structure, or its shapes (`jax.eval_shape`).

        Raises:
          WorkdirError: the checkpoint is damaged, from another version, or of another config, task or
            dataset.
        """
        self.wait()
        steps = saved_steps(self._folder.parent)
        if not steps:
            return None
        path = self._folder / str(steps[-1])
        about = checkpoint_files.read_about(path)
        check_config(path, about, self._config)
        check_task(path, about, self._task)
        check_dataset(path, about, self._dataset)
        load = functools.partial(checkpoint_files.load, path, about)
        return load("state", like), load("best", like.params), about["progress"]


def read_about(workdir):
    """The JSON content of the latest checkpoint of a run: {"progress", "config", ...}."""
    return checkpoint_files.read_about(step_path(workdir, "latest"))


def check_dataset(path, about, dataset):
    """Reject a dataset that differs from the training and validation data of a checkpoint.

    Args:
      path: path of the checkpoint.
      about: from `read_about`.
      dataset: the fingerprints of the available splits.

    Raises:
      WorkdirError: splits differ; the message names them.
    """
    splits = [split for split, fingerprint in about["dataset"].items() if dataset.get(split) != fingerprint]
    if splits:
        raise WorkdirError(
            f"The checkpoint {path} belongs to another dataset ({' and '.join(splits)} events differ). Name "
            "the dataset of its training as config.dataset.name and config.dataset.data_dir, or choose "
            "another folder with --workdir=DIR."
        )


def check_task(path, about, task):
    """Reject a task that differs from the task of a checkpoint.

    Raises:
      WorkdirError: fields differ; the message names them.
    """
    saved, asked = Task(**about["task"]).to_json(), task.to_json()
    if changes := {name: (saved[name], asked[name]) for name in asked if saved[name] != asked[name]}:
        raise WorkdirError(
            f"The checkpoint {path} belongs to a run with another task "
            f"({in_words(changes, 'there', 'asked for')}). Choose another folder with --workdir=DIR, or give "
            "the dataset and the config.task that the run began with."
        )


def host_copy(tree):
    """Copy a pytree to new host arrays, not views of buffers that a later step may reuse."""
    return jax.tree.map(lambda leaf: np.array(leaf), tree)


def step_path(workdir, which):
    """The folder of a checkpoint, by its step or "latest"."""
    check_path(workdir)
    steps, networks = saved_steps(workdir), members(workdir)
    if networks and not steps:
        raise WorkdirError(
            f"The run in {workdir} is an ensemble of {len(networks)} networks, without its own checkpoint. "
            f"Name the folder of one of them, such as {networks[0]}."
        )
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
    """Raise a TrainingError if a number of a checkpoint is not finite."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(parts):
        if leaf.dtype.kind == "f" and not np.isfinite(leaf).all():
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise TrainingError(
                f"{name} is not finite at step {step}, so nothing is saved. Train into a new folder with a "
                "smaller config.train.learning_rate or smaller config.inputs.scale."
            )


def check_config(path, about, config):
    """Reject a config that differs from the config of a checkpoint."""
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
