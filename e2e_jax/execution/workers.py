"""A pool of processes for numerical work, usable from any script."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import platform
import signal
import sys
import threading
from collections.abc import Mapping, Sequence

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables from which numerical libraries read their number of threads at import."""

KEPT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": 32 << 20, "MALLOC_TRIM_THRESHOLD_": 256 << 20}
"""Environment variables of glibc, in bytes: smaller arrays reuse memory that the process keeps. By default
glibc returns large arrays to the system, which must clear the pages of each new array."""


def available_cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """The name of this machine's processor."""
    names = cpuinfo("model name")
    return names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine()


def cpuinfo(*names: str) -> list[str]:
    """The distinct lines of /proc/cpuinfo with one of the names; empty if the file does not exist."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    return sorted({line for line in lines if line.startswith(names)})


class WorkerPool(concurrent.futures.ProcessPoolExecutor):
    """New processes with one numerical thread each, which do not import the caller's script.

    By default a spawned process imports the main module: a script without the `__main__` guard
    would run again, and a training script would load its accelerator libraries.

    Args:
      max_workers: number of processes.
      main: import the main module, for work that is defined in it.
      environments: environment variables to set in each process, one mapping per process.
    """

    def __init__(self, max_workers: int, main: bool = False, environments: Sequence[Mapping[str, str]] = ()):
        context = multiprocessing.get_context("spawn")
        # All processes have the same initializer, so each takes one mapping from a queue.
        queue = context.Queue() if environments else None
        for environment in environments:
            queue.put(dict(environment))
        super().__init__(max_workers, mp_context=context, initializer=_start, initargs=(queue,))
        self._main = main

    def submit(self, function, /, *args, **kwargs):
        with _environment_of_workers(), contextlib.nullcontext() if self._main else _without_main_module():
            return super().submit(function, *args, **kwargs)


def _start(environments):
    """Prepare a worker before its first job."""
    _end_with_parent()
    if environments is not None:
        os.environ.update(environments.get())


def _end_with_parent():
    """End this worker if its parent is killed; otherwise it would wait for work forever."""

    def watch():
        multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    # Ctrl-C reaches every process of the terminal; a worker then ends without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def _environment_of_workers():
    """Set one numerical thread and `KEPT_MEMORY` in the environment of the processes started inside."""
    wanted = dict.fromkeys(THREAD_VARIABLES, "1")
    wanted |= {name: str(size) for name, size in KEPT_MEMORY.items() if name not in os.environ}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


@contextlib.contextmanager
def _without_main_module():
    """Keep the processes started inside from importing the main module."""
    main = sys.modules["__main__"]
    hidden = {name: getattr(main, name) for name in ("__spec__", "__file__") if hasattr(main, name)}
    main.__spec__ = None
    main.__dict__.pop("__file__", None)
    try:
        yield
    finally:
        for name, value in hidden.items():
            setattr(main, name, value)
