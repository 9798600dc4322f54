"""Many trainings: one after another in this process, or as jobs on a cluster or on several GPUs.

Each training has a folder, so an interrupted list can be continued: finished trainings are skipped, and
interrupted ones resume.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import NamedTuple

from ml_collections import ConfigDict

from e2e_jax import __version__, experiment
from e2e_jax.datasets.splits import Dataset
from e2e_jax.devices import host
from e2e_jax.errors import DatasetError, StudyError, TrainingError, WorkdirError
from e2e_jax.execution import cluster
from e2e_jax.execution.jobs import Job, run_jobs
from e2e_jax.execution.workers import WorkerPool
from e2e_jax.runs.config import WITHOUT_EFFECT, as_config, differences
from e2e_jax.runs.results_files import RESULTS, SCORES
from e2e_jax.training import loop
from e2e_jax.training.progress import say

FAILURES = (WorkdirError, TrainingError, DatasetError, StudyError)
"""Errors of one training that do not end the others."""


@dataclasses.dataclass(frozen=True)
class Training(Job):
    """A training to run.

    Attributes:
      config: config of one network or of several (`config.seeds`).
      workdir: the run's folder.
      events: its share of a progress bar.
    """

    config: ConfigDict
    workdir: Path
    events: int = 1

    def __str__(self) -> str:
        return f"The training in {self.workdir}"


class Outcome(NamedTuple):
    """The outcome of a training: the content of results.json, or the reason why there is none."""

    results: dict | None
    failure: str = ""


@contextlib.contextmanager
def machines(trainings: Sequence[Training], scheduler: str | None = None) -> Iterator[Executor | None]:
    """The executor of the trainings: a cluster, one process per GPU if there are several, or None.

    Trainings that request several devices each (`config.devices`) are not divided among the GPUs.

    Args:
      trainings: trainings to run.
      scheduler: Dask scheduler, see `cluster.executor`. Its workers and this machine share the folders of the
        runs and of the datasets.

    Raises:
      ClusterError: the scheduler cannot be used.
    """
    networks = sum(training.config.seeds for training in trainings)
    executor = cluster.executor(scheduler) if networks > 1 or scheduler else None
    gpus = host.visible_gpus() if executor is None and networks > 1 else []
    if len(gpus) > 1 and all(training.config.devices <= 1 for training in trainings):
        executor = WorkerPool(len(gpus), environments=[{host.GPUS: gpu} for gpu in gpus])
    try:
        yield executor
    finally:
        if executor is not None:
            executor.shutdown(wait=True, cancel_futures=True)


def train_each(
    trainings: Sequence[Training],
    datasets: Callable[[ConfigDict], Dataset] = experiment.dataset_of,
    executor: Executor | None = None,
    board: Callable | None = None,
) -> Iterator[Outcome]:
    """Trains networks, one per training, and yields the outcome of each, in order.

    Args:
      trainings: trainings to run.
      datasets: config -> training dataset; must be picklable if there is an executor.
      executor: executor, see `machines`; by default the trainings run in this process.
      board: as for `loop.train`.

    Raises:
      JobError: a process of the executor died.
      stopping.Stopped: the process was asked to end; the same call continues where it stopped.
    """
    attempt = functools.partial(_attempt, datasets=datasets, board=board)
    if executor is None:
        yield from map(attempt, trainings)
        return
    trainings = [dataclasses.replace(one, workdir=Path(one.workdir).absolute()) for one in trainings]
    _build(trainings, datasets)
    for training, outcome in run_jobs(trainings, attempt, executor, progress="trainings", unit="training"):
        if outcome.results is not None and not (training.workdir / RESULTS).exists():
            outcome = Outcome(
                None,
                f"Another machine trained in {training.workdir}, which is no folder of this machine. Choose "
                "a folder that all machines share with --workdir=DIR.",
            )
        yield outcome


def finished(training: Training, dataset: Dataset) -> dict | None:
    """The results of a training if it was evaluated with this config, dataset and version; None otherwise."""
    folder = Path(training.workdir)
    try:
        results = json.loads((folder / RESULTS).read_text())
        made, version = as_config(results["config"]), results["provenance"]["packages"].get("e2e_jax")
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return None
    changed = differences(made, training.config).keys() - set(WITHOUT_EFFECT)
    same = results["dataset"] == json.loads(json.dumps(dataset.describe()))
    there = (folder / SCORES).exists() and version in (None, __version__)
    return results if there and same and not changed else None


def _attempt(training: Training, datasets: Callable, board: Callable | None) -> Outcome:
    try:
        dataset = datasets(training.config)
        if results := finished(training, dataset):
            say(f"The run in {training.workdir} is finished: not trained again.")
            return Outcome(results)
        say(f"Training in {training.workdir}.")
        return Outcome(loop.train(training.config, training.workdir, dataset, board))
    except FAILURES as error:
        say(f"The training in {training.workdir} failed: {error}")
        return Outcome(None, str(error))


def _build(trainings: Sequence[Training], datasets: Callable) -> None:
    """Builds missing datasets before several processes try to build them."""
    for config in {training.config.dataset.name: training.config for training in trainings}.values():
        # Each training that needs it fails with the same error.
        with contextlib.suppress(*FAILURES):
            datasets(config).describe()
