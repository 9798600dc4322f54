"""A dataset is a list of jobs: small, picklable units of work that any executor may run.

A job determines its events: every run, on any machine, makes the same ones. A lost job can therefore run
again, and the result of a finished job can be kept on disk and reused.
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

from e2e_jax.errors import StudyError
from e2e_jax.events.base import Record
from e2e_jax.execution import keeping
from e2e_jax.execution.keeping import Format
from e2e_jax.execution.workers import WorkerPool, available_cores
from e2e_jax.files import atomic

LUMI_BLOCK = 100_000
"""Luminosity sections reserved per split: more than a split has jobs."""

SPLITS = ("train", "validation", "test")

OWN_MACHINE = (concurrent.futures.ProcessPoolExecutor, concurrent.futures.ThreadPoolExecutor)
"""Executors whose workers share a disk with the submitting process; other executors may not."""


class Job:
    """A frozen dataclass that determines its result. The field `events` is its size."""

    def content(self) -> dict:
        """All fields, which determine the result, for JSON."""
        return dataclasses.asdict(self)

    def fingerprint(self, version: str = "") -> str:
        """Hexadecimal digest of the fields and of the version of the code that runs the job."""
        text = json.dumps([self.content(), version], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


class JobError(RuntimeError):
    """A failed job. The message names the job, and `__cause__` is its error."""


def derive_seed(path: tuple[int, ...]) -> int:
    """A 63-bit seed from a path of numbers; different paths give independent seeds."""
    low, high = np.random.SeedSequence(path).generate_state(2)
    return (int(high) << 32 | int(low)) >> 1


def event_keys(events: Record) -> list[str]:
    """One key per event, label_run_lumi_event: unique in a dataset, and the same in every build."""
    return [f"{a}_{b}_{c}_{d}" for a, b, c, d in zip(events.label, events.run, events.lumi, events.event)]


def run_jobs(
    jobs: Iterable[Job],
    produce: Callable[[Job], Record],
    executor: concurrent.futures.Executor | None = None,
    workers: int | None = None,
    ahead: int | None = None,
    cache_dir: str | os.PathLike | None = None,
    version: str = "",
    progress: bool | str = True,
    kept_as: Format | None = None,
    unit: str = "event",
) -> Iterator[tuple[Job, Record]]:
    """Run jobs and yield (job, events) in the order of the jobs, as a stream.

    Args:
      jobs: the jobs; each has `events`, its share of the progress bar, and `fingerprint(version)`.
      produce: function that makes the events of a job; importable, because other processes call it.
      executor: `cluster.executor()`, Dask's `Client.get_executor()` or any other executor. By default a pool
        of new processes on this machine, each with one thread.
      workers: processes of that pool; by default one per available core.
      ahead: maximum number of jobs submitted and not yet consumed, which limits the memory use; by default
        `executor.ahead` if it exists, else twice the workers.
      cache_dir: folder where finished jobs are kept and looked up, so that interrupted work can resume. The
        workers of this machine write to it. The workers of a cluster may not share this disk, so this
        process writes their results.
      version: version of `produce`; jobs kept by another version are not used.
      progress: whether to show a progress bar, or its title.
      kept_as: file format in `cache_dir`; by default the format of `Events`.
      unit: the unit of the progress bar.

    Raises:
      StudyError: the study of the job cannot be used.
      JobError: a job raised an error, or its process died; it names the job. Or the result cannot be kept,
        because the disk is full or `cache_dir` is not writable.
    """
    jobs, kept_as = list(jobs), kept_as or keeping.EVENTS
    workers = workers or available_cores()
    with contextlib.ExitStack() as stack:
        if executor is None:
            executor = WorkerPool(max(1, min(workers, len(jobs))), main=b"__main__" in pickle.dumps(produce))
            stack.callback(executor.shutdown, wait=False, cancel_futures=True)
        bar = stack.enter_context(_Progress(jobs, progress, unit))
        waiting = collections.deque()
        stack.callback(lambda: [started.cancel() for started in waiting])
        for job in jobs:
            path = None
            if cache_dir is not None:
                path = pathlib.Path(cache_dir) / f"{job.fingerprint(version)}{kept_as.suffix}"
            waiting.append(_Started(job, produce, executor, path, kept_as, bar))
            # Evaluated each time, because a cluster can grow.
            while len(waiting) >= max(1, getattr(executor, "ahead", 2 * workers) if ahead is None else ahead):
                yield _collect(waiting.popleft())
        while waiting:
            yield _collect(waiting.popleft())


class _Started:
    """A job that was started or has a result on disk."""

    def __init__(self, job, produce, executor, path: pathlib.Path | None, kept_as: Format, bar: _Progress):
        self.job = job
        self._produce, self._executor, self._path, self._kept_as = produce, executor, path, kept_as
        self._bar, self._future = bar, None
        if path is None or not path.exists():
            self._submit()

    def _submit(self):
        if self._path is None:
            work = (self._produce, self.job)
        elif isinstance(self._executor, OWN_MACHINE):
            work = (keeping.make_and_keep, self._produce, self.job, self._path, self._kept_as.write)
        else:
            work = (
                keeping.make_and_pack,
                self._produce,
                self.job,
                self._kept_as.suffix,
                self._kept_as.write,
            )
        self._future = self._executor.submit(*work)
        self._future.add_done_callback(self._bar.finished(self.job))

    def result(self):
        if self._future is None:
            # Read as late as possible, so that the results of the jobs ahead do not fill the memory.
            kept = self._kept_as.read(self._path)
            if kept is not None:
                self._bar.update(self.job)
                return kept
            self._submit()
        return keeping.unpack(self._future.result(), self._path, self._kept_as.read)

    def cancel(self):
        if self._future is not None:
            self._future.cancel()


def _collect(started: _Started) -> tuple[Job, Record]:
    job = started.job
    try:
        return job, started.result()
    except concurrent.futures.BrokenExecutor as error:
        raise JobError(
            f"A worker process died while {job} was waiting or running: most often the machine ran out of "
            "memory. Finished jobs are kept; start again, with fewer workers if need be."
        ) from error
    except StudyError:
        raise
    except atomic.WriteError as error:
        raise JobError(f"The result of a job cannot be kept: {error}") from error
    except Exception as error:
        raise JobError(f"{job} failed: {type(error).__name__}: {error}") from error


class _Progress(contextlib.AbstractContextManager):
    """Progress in events, updated from any thread when jobs finish."""

    def __init__(self, jobs, progress: bool | str, unit: str = "event"):
        title = progress if isinstance(progress, str) else "simulation"
        # Update a terminal often and a log file rarely.
        pause = 0.2 if sys.stderr.isatty() else 10.0
        total = sum(job.events for job in jobs)
        self._bar = tqdm.tqdm(
            total=total, desc=title, unit=unit, mininterval=pause, disable=not progress, smoothing=0.05
        )

    def finished(self, job):
        def update(future):
            if not future.cancelled() and future.exception() is None:
                self.update(job)

        return update

    def update(self, job):
        self._bar.update(job.events)

    def __exit__(self, *_):
        self._bar.close()
