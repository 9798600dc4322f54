"""Runs jobs on a Dask cluster, where E2E_DASK_SCHEDULER names one.

Results stay with the workers until it is their turn: who ordered them holds one at a time, however large
the cluster. A worker that dies takes its results along, and the scheduler has those jobs run again.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import pathlib
import sys
import time
import warnings
from collections.abc import Callable

import e2e_jax
from e2e_jax.errors import ClusterError
from e2e_jax.execution import cluster_security

VARIABLE = "E2E_DASK_SCHEDULER"
"""Environment variable with the scheduler's address (tls://host:8786) or the path of its file."""

TIMEOUT = 10.0
"""Seconds to wait for the scheduler's answer."""

RETRIES = 2
"""Times that a job which raised is tried again, perhaps on a machine in better health."""

LEAST_AHEAD = 32
"""Jobs submitted at least, so that a cluster that grows by demand sees some."""

PACKAGES = ("distributed", "cloudpickle", "numpy", "awkward", "uproot", "pythia8mc")
"""Packages that the events, or the way back, may depend on."""

CODE = (
    "detector",
    "events",
    "execution",
    "files",
    "sources",
    "study",
)
"""Folders and modules of this package that make and read events."""


def executor(scheduler: str | None = None, timeout: float = TIMEOUT) -> ClusterExecutor | None:
    """The executor that runs jobs on the cluster, or None where none is named.

    Args:
      scheduler: the scheduler's address (tls://host:8786) or the path of its file (what `dask scheduler
        --scheduler-file` writes); by default what `E2E_DASK_SCHEDULER` says.
      timeout: seconds to wait for its answer.

    Raises:
      ClusterError: the scheduler is not reachable, runs another version of Dask, or asks for other
        certificates (see `cluster_security`).
      ModuleNotFoundError: Dask is not installed.
    """
    scheduler = scheduler or os.environ.get(VARIABLE)
    return ClusterExecutor(scheduler, timeout) if scheduler else None


class ClusterExecutor(concurrent.futures.Executor):
    """Submits to a Dask scheduler. Unlike Dask's own executor it fetches a result when it is asked for.

    Args:
      scheduler, timeout: as in `executor`.
    """

    def __init__(self, scheduler: str, timeout: float = TIMEOUT):
        try:
            import distributed
        except ImportError as error:
            raise ModuleNotFoundError(
                f"A cluster is asked for ({VARIABLE}, or a scheduler's address), but Dask is not installed: "
                "pip install 'e2e_jax[cluster]'.",
                name="distributed",
            ) from error
        self.address = _address(scheduler)
        security = cluster_security.security(self.address)
        self._counted, self._threads = -float("inf"), 0
        try:
            # Dask would wait for ever for the first word of a server that accepts and is silent.
            with concurrent.futures.ThreadPoolExecutor(1) as thread:
                thread.submit(asyncio.run, _greet(self.address, timeout, security)).result()
            with warnings.catch_warnings(action="ignore", category=UserWarning):
                # Dask warns of versions that differ; here they are looked at below and in each worker.
                self._client = distributed.Client(
                    self.address, timeout=timeout, set_as_default=False, security=security
                )
        except (OSError, ImportError, ValueError) as error:
            raise ClusterError(
                f"No Dask scheduler answers at {self.address} within {timeout:g} seconds "
                f"({str(error) or 'silence'}). Check that it runs, that this machine may reach it, that the "
                f"certificates are its own, and what {VARIABLE} or --scheduler says."
            ) from error
        theirs = self._client.get_versions()["scheduler"]["packages"]["distributed"]
        if theirs != distributed.__version__:
            self.shutdown()
            raise ClusterError(
                f"The Dask scheduler at {self.address} runs distributed {theirs}, this process "
                f"{distributed.__version__}: install the same version on both sides."
            )

    @property
    def ahead(self) -> int:
        """Jobs worth submitting before one is taken: two for each thread that the cluster has now."""
        if time.monotonic() > self._counted + 5:
            with contextlib.suppress(Exception):
                # A scheduler that is lost is reported by the jobs.
                self._threads = sum(self._client.nthreads().values())
            self._counted = time.monotonic()
        return max(LEAST_AHEAD, 2 * self._threads)

    def submit(self, function: Callable, /, *args) -> ClusterFuture:
        """Send `function(*args)` to the cluster; both must be importable or picklable there."""
        future = self._client.submit(
            _run_here, environment(), function, *args, pure=False, retries=RETRIES, key=None
        )
        return ClusterFuture(future, self.address)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False):
        """Leave the cluster, which forgets what was submitted and not taken; it goes on for others."""
        self._client.close()


class ClusterFuture:
    """The result of a job on the cluster, fetched by `result`; else as `concurrent.futures.Future`."""

    def __init__(self, future, address: str):
        self._future, self._address = future, address

    def __getattr__(self, name):
        return getattr(self._future, name)

    def result(self, timeout: float | None = None):
        """Wait for the job and fetches its result.

        Raises:
          BrokenExecutor: several workers died of the job.
          ClusterError: the scheduler was lost, or the workers lack this package.
          Exception: what the job raised.
        """
        from distributed.scheduler import KilledWorker

        try:
            return self._future.result(timeout)
        except KilledWorker as error:
            raise concurrent.futures.BrokenExecutor(str(error)) from error
        except concurrent.futures.CancelledError as error:
            raise ClusterError(
                f"The connection to the Dask scheduler at {self._address} was lost. What was finished is "
                "kept: start again once it is back."
            ) from error
        except ModuleNotFoundError as error:
            raise ClusterError(
                f"A Dask worker has no module {error.name!r}: install this package, with what it needs, into "
                "the environment that the workers start in."
            ) from error


def _run_here(expected: dict[str, str], function: Callable, *args):
    """Run in a worker: only where the same code would make the same events."""
    here = environment()
    differ = [
        f"{name} is {here.get(name)} instead of {value}"
        for name, value in expected.items()
        if here.get(name) != value
    ]
    if differ:
        raise ClusterError(
            f"The Dask worker on {os.uname().nodename} differs from the machine that builds: "
            f"{'; '.join(differ)}. Install the same versions, and the same commit of e2e_jax, on all of them."
        )
    return function(*args)


@functools.cache
def environment() -> dict[str, str]:
    """What must be the same wherever events of one dataset are made: versions, and this package's code."""
    package = pathlib.Path(e2e_jax.__file__).parent
    code = hashlib.sha256()
    parts = [package / part for part in CODE]
    for path in sorted(path for part in parts for path in (part.rglob("*.py") if part.is_dir() else [part])):
        code.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    versions = {"Python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions | {"e2e_jax": f"{e2e_jax.__version__} ({code.hexdigest()[:12]})"}


async def _greet(address: str, timeout: float, security):
    """Exchanges the first words with a scheduler, or raises an OSError."""
    from distributed.comm import connect

    try:
        async with asyncio.timeout(timeout):
            comm = await connect(address, timeout=timeout, **security.get_connection_args("client"))
    except (OSError, ImportError):
        raise
    except Exception as error:  # Dask takes the words of another protocol for sizes and messages
        raise OSError(f"what answers is no Dask scheduler: {error}") from error
    comm.abort()


def _address(scheduler: str) -> str:
    """The address itself, or the one in a scheduler's file."""
    if "://" in scheduler:
        return scheduler
    try:
        return json.loads(pathlib.Path(scheduler).read_text())["address"]
    except FileNotFoundError:
        reason = "is neither an address such as tls://host:8786 nor a file"
    except (OSError, ValueError, KeyError, TypeError):
        reason = "is not what `dask scheduler --scheduler-file` writes"
    raise ClusterError(f"{VARIABLE} or --scheduler says {scheduler}, which {reason}.")
