"""A dataset is a list of tasks: small, picklable pieces of work that any executor may run.

A task fixes its content: whoever runs it, wherever, however often, makes the same events. So a
lost task simply runs again, and a finished one can be kept on disk and reused.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import tqdm

from e2e_jax.events.diphotons import CLASSES, Events
from e2e_jax.execution import keeping
from e2e_jax.execution.keeping import Format
from e2e_jax.execution.keeping import read_events as read_events
from e2e_jax.execution.keeping import write_events as write_events
from e2e_jax.execution.workers import WorkerPool, available_cores
from e2e_jax.files import atomic
from e2e_jax.sources.selection import era_quotas

TASK_EVENTS = {"gamma_gamma": 1000, "h": 1000, "gamma_jet": 200}
"""Most events a task: some tens of seconds of one core, as few photon-like jets pass the selection."""

TASK_COST = {"gamma_gamma": 1.0, "h": 1.0, "gamma_jet": 20.0}
"""Time an event takes, relative to a Higgs boson's: long tasks start first, so none ends alone."""

LUMI_BLOCK = 100_000
"""Luminosity sections set aside for each split: more than a split has tasks."""

SPLITS = ("train", "validation")

EVENTS_PER_SHARD = 4000
"""Selected events for each file of pile-up: so every one of its collisions appears in about 16 of them."""

OWN_MACHINE = (concurrent.futures.ProcessPoolExecutor, concurrent.futures.ThreadPoolExecutor)
"""Executors whose workers write to the same disk as who submits; of others it is not assumed."""


class Task:
    """A frozen dataclass that fixes what it makes; it has `events`, its size, among its fields."""

    def fingerprint(self, version: str = "") -> str:
        """Hexadecimal name of the task's content, given the version of what produces it."""
        text = json.dumps([dataclasses.asdict(self), version], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclasses.dataclass(frozen=True)
class SimulationTask(Task):
    """Some selected events of one class and one era, to be simulated.

    Attributes:
      label: class, index into `diphotons.CLASSES`.
      era: index into `selection.ERAS`, which has the run number and the pile-up.
      seed: 63-bit seed of everything random in the task.
      events: events to deliver, after the selection.
      fast: the faster generator settings, see `sources.simulation`.
      category: "central" or "central_forward", see `selection`.
      reduction: which rec hits are kept, see `sources.simulation`.
      lumi: luminosity section of the events: unique in a dataset, so that (run, lumi, event) is.
      split: the split they are for; no two splits share any pile-up.
      pileup_shards: files of pile-up that are drawn from, see `sources.simulation.pool_files`.
    """

    label: int
    era: int
    seed: int
    events: int
    fast: bool = False
    category: str = "central"
    reduction: str = "aodsim"
    lumi: int = 1
    split: str = "train"
    pileup_shards: int = 1


class TaskError(RuntimeError):
    """A task failed; the message names it, the cause is what it raised."""


def simulation_tasks(
    events_per_class: int,
    seed: int,
    split: str = "train",
    *,
    fast: bool = False,
    category: str = "central",
    reduction: str = "aodsim",
    task_events: dict[str, int] = TASK_EVENTS,
) -> list[SimulationTask]:
    """The tasks of a balanced sample with the era proportions of the paper, longest first.

    Args:
      events_per_class: selected events of each of `diphotons.CLASSES`.
      seed: seed of the dataset; each task derives its own from it, and splits never share one.
      split: "train" or "validation".
      fast, category, reduction: as in `SimulationTask`.
      task_events: class name -> most events a task.

    Raises:
      ValueError: the split or the category is not known.
    """
    if split not in SPLITS:
        raise ValueError(f"No split {split!r}; there are {', '.join(SPLITS)}.")
    options = {"fast": fast, "category": category, "reduction": reduction, "split": split}
    options["pileup_shards"] = -(-events_per_class * len(CLASSES) // EVENTS_PER_SHARD) or 1
    tasks = []
    for label, name in enumerate(CLASSES):
        for era, quota in enumerate(era_quotas(events_per_class, category)):
            pieces = -(-quota // task_events[name])
            for piece in range(pieces):
                events = quota * (piece + 1) // pieces - quota * piece // pieces
                path = (seed, SPLITS.index(split), label, era, piece)
                lumi = SPLITS.index(split) * LUMI_BLOCK + len(tasks) + 1
                tasks.append(SimulationTask(label, era, derive_seed(path), events, **options, lumi=lumi))
    return sorted(tasks, key=lambda task: -task.events * TASK_COST[CLASSES[task.label]])


def derive_seed(path: tuple[int, ...]) -> int:
    """A 63-bit seed from a path of numbers; different paths give independent seeds."""
    low, high = np.random.SeedSequence(path).generate_state(2)
    return (int(high) << 32 | int(low)) >> 1


def event_keys(events: Events) -> list[str]:
    """One text an event, unique in a dataset and the same however it is made: label_run_lumi_event."""
    return [f"{a}_{b}_{c}_{d}" for a, b, c, d in zip(events.label, events.run, events.lumi, events.event)]


def run_tasks(
    tasks: Iterable[SimulationTask],
    produce: Callable[[SimulationTask], Events],
    executor: concurrent.futures.Executor | None = None,
    workers: int | None = None,
    ahead: int | None = None,
    cache_dir: str | os.PathLike | None = None,
    version: str = "",
    progress: bool | str = True,
    kept_as: Format | None = None,
    unit: str = "event",
) -> Iterator[tuple[SimulationTask, Events]]:
    """Runs tasks and yields (task, its events) in the order of the tasks, as a stream.

    Args:
      tasks: what to run; each has `events`, its share of the progress bar, and `fingerprint(version)`.
      produce: makes the events of a task; an importable function, as it goes to other processes.
      executor: where to run: `cluster.executor()`, Dask's `Client.get_executor()` or any other. By default
        a pool of processes on this machine, each started afresh and with one thread.
      workers: processes of that pool; by default one a core this process may use.
      ahead: most tasks submitted and not yet taken by the consumer, which bounds the memory;
        by default what the executor says (`executor.ahead`), else twice the workers.
      cache_dir: folder where each finished task is kept and looked for, so that work that was
        interrupted goes on where it stopped. The workers of this machine write to it themselves; for
        those of a cluster, who may have other disks, it is done here when their results are taken.
      version: version of `produce`: a task kept by another version is not used.
      progress: whether to show a progress bar, or its title.
      kept_as: how results are kept in `cache_dir`; by default as `Events`.
      unit: what the progress bar counts.

    Raises:
      TaskError: a task raised, or its process died: names the task. Or its result cannot be kept, as the
        disk is full or `cache_dir` cannot be written.
    """
    tasks, kept_as = list(tasks), kept_as or keeping.EVENTS
    workers = workers or available_cores()
    with contextlib.ExitStack() as stack:
        if executor is None:
            executor = WorkerPool(max(1, min(workers, len(tasks))), main=b"__main__" in pickle.dumps(produce))
            stack.callback(executor.shutdown, wait=False, cancel_futures=True)
        bar = stack.enter_context(_Progress(tasks, progress, unit))
        waiting = collections.deque()
        stack.callback(lambda: [job.cancel() for job in waiting])
        for task in tasks:
            path = None
            if cache_dir is not None:
                path = pathlib.Path(cache_dir) / f"{task.fingerprint(version)}{kept_as.suffix}"
            waiting.append(_Job(task, produce, executor, path, kept_as, bar))
            # Asked anew each time, as a cluster may grow.
            while len(waiting) >= max(1, getattr(executor, "ahead", 2 * workers) if ahead is None else ahead):
                yield _collect(waiting.popleft())
        while waiting:
            yield _collect(waiting.popleft())


class _Job:
    """A task that was started, or whose result was found on disk."""

    def __init__(self, task, produce, executor, path: pathlib.Path | None, kept_as: Format, bar: _Progress):
        self.task = task
        self._produce, self._executor, self._path, self._kept_as = produce, executor, path, kept_as
        self._bar, self._future = bar, None
        if path is None or not path.exists():
            self._submit()

    def _submit(self):
        if self._path is None:
            work = (self._produce, self.task)
        elif isinstance(self._executor, OWN_MACHINE):
            work = (keeping.make_and_keep, self._produce, self.task, self._path, self._kept_as.write)
        else:
            work = (
                keeping.make_and_pack,
                self._produce,
                self.task,
                self._kept_as.suffix,
                self._kept_as.write,
            )
        self._future = self._executor.submit(*work)
        self._future.add_done_callback(self._bar.finished(self.task))

    def result(self):
        if self._future is None:
            # Read now and not before: what is kept of all the tasks ahead need not be in memory.
            kept = self._kept_as.read(self._path)
            if kept is not None:
                self._bar.update(self.task)
                return kept
            self._submit()
        return keeping.unpack(self._future.result(), self._path, self._kept_as.read)

    def cancel(self):
        if self._future is not None:
            self._future.cancel()


def _collect(job: _Job) -> tuple[SimulationTask, Events]:
    task = job.task
    try:
        return task, job.result()
    except concurrent.futures.BrokenExecutor as error:
        raise TaskError(
            f"A worker process died while {task} was waiting or running: most often the machine ran out of "
            "memory. Finished tasks are kept; start again, with fewer workers if need be."
        ) from error
    except atomic.WriteError as error:
        raise TaskError(f"The result of a task cannot be kept: {error}") from error
    except Exception as error:
        raise TaskError(f"{task} failed: {type(error).__name__}: {error}") from error


class _Progress(contextlib.AbstractContextManager):
    """Progress in events, told as tasks finish, by whichever thread sees it."""

    def __init__(self, tasks, progress: bool | str, unit: str = "event"):
        title = progress if isinstance(progress, str) else "simulation"
        # A log file gets a line now and then, a terminal a bar that moves.
        pause = 0.2 if sys.stderr.isatty() else 10.0
        total = sum(task.events for task in tasks)
        self._bar = tqdm.tqdm(
            total=total, desc=title, unit=unit, mininterval=pause, disable=not progress, smoothing=0.05
        )

    def finished(self, task):
        def update(future):
            if not future.cancelled() and future.exception() is None:
                self.update(task)

        return update

    def update(self, task):
        self._bar.update(task.events)

    def __exit__(self, *_):
        self._bar.close()
