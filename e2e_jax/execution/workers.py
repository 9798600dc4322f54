"""A pool of processes that suits numerical work started from any script."""

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
"""What the common numerical libraries read their number of threads from, when they load."""

KEPT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": 32 << 20, "MALLOC_TRIM_THRESHOLD_": 256 << 20}
"""Environment variables of Linux's C library, in bytes: smaller arrays use memory that the process keeps. By
default it returns large arrays to the system, which clears their pages for the next ones."""


def available_cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """The name of this machine's processor."""
    names = cpuinfo("model name")
    return names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine()


def cpuinfo(*names: str) -> list[str]:
    """The different lines of /proc/cpuinfo with one of the names; none where the system has no such file."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    return sorted({line for line in lines if line.startswith(names)})


class WorkerPool(concurrent.futures.ProcessPoolExecutor):
    """Fresh processes with one numerical thread each, that do not run the caller's script again.

    A spawned process imports the main module by default: a script without the `__main__` guard
    would start over in it, and a training script would load its accelerator libraries.

    Args:
      max_workers: processes.
      main: whether the work needs the main module after all, being defined in it.
      environments: environment variables to set in each process, one mapping per process.
    """

    def __init__(self, max_workers: int, main: bool = False, environments: Sequence[Mapping[str, str]] = ()):
        context = multiprocessing.get_context("spawn")
        # A queue, because all processes have the same initializer: each takes one mapping.
        queue = context.Queue() if environments else None
        for environment in environments:
            queue.put(dict(environment))
        super().__init__(max_workers, mp_context=context, initializer=_start, initargs=(queue,))
        self._main = main

    def submit(self, function, /, *args, **kwargs):
        with _environment_of_workers(), contextlib.nullcontext() if self._main else _without_main_module():
            return super().submit(function, *args, **kwargs)


def _start(environments):
    """Run in a worker before its first job."""
    _end_with_parent()
    if environments is not None:
        os.environ.update(environments.get())


def _end_with_parent():
    """Run in a worker: without this it would wait for work for ever after its parent was killed."""

    def watch():
        multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    # Ctrl-C reaches every process of the terminal: a worker ends at once, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def _environment_of_workers():
    """Processes started inside inherit an environment with one numerical thread and `KEPT_MEMORY`."""
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
    """Processes started inside are not told which main module to import."""
    main = sys.modules["__main__"]
    hidden = {name: getattr(main, name) for name in ("__spec__", "__file__") if hasattr(main, name)}
    main.__spec__ = None
    main.__dict__.pop("__file__", None)
    try:
        yield
    finally:
        for name, value in hidden.items():
            setattr(main, name, value)
