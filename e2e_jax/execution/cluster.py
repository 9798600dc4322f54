"""Execution of jobs on the Dask cluster that E2E_DASK_SCHEDULER names.

Results stay on the workers until they are needed, so the client holds one at a time for a cluster of any
size. If a worker dies, its results are lost and the scheduler runs those jobs again.
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
"""Number of retries of a job that raised an error, possibly on another machine."""

LEAST_AHEAD = 32
"""Minimum number of submitted jobs, so that an adaptive cluster starts to grow."""

PACKAGES = ("distributed", "cloudpickle", "numpy", "awkward", "uproot", "pythia8mc")
"""Packages that the events, or the transfer of the results, can depend on."""

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
    """The executor that runs jobs on the cluster, or None if no scheduler is named.

    Args:
      scheduler: the scheduler's address (tls://host:8786) or the path of its file (what `dask scheduler
        --scheduler-file` writes); by default the value of `E2E_DASK_SCHEDULER`.
      timeout: seconds to wait for its answer.

    Raises:
      ClusterError: the scheduler is not reachable, runs another version of Dask, or requires other
        certificates (see `cluster_security`).
      ModuleNotFoundError: Dask is not installed.
    """
    scheduler = scheduler or os.environ.get(VARIABLE)
    return ClusterExecutor(scheduler, timeout) if scheduler else None


class ClusterExecutor(concurrent.futures.Executor):
    """Executor on a Dask scheduler. Unlike Dask's own executor, it fetches a result only on request.

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
            # Dask would wait forever for a server that accepts the connection and sends nothing.
            with concurrent.futures.ThreadPoolExecutor(1) as thread:
                thread.submit(asyncio.run, _greet(self.address, timeout, security)).result()
            with warnings.catch_warnings(action="ignore", category=UserWarning):
                # Dask only warns of different versions; they are checked below and in each worker.
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
        """Number of jobs to submit ahead: two per thread that the cluster has now."""
        if time.monotonic() > self._counted + 5:
            with contextlib.suppress(Exception):
                # The jobs report a lost scheduler.
                self._threads = sum(self._client.nthreads().values())
            self._counted = time.monotonic()
        return max(LEAST_AHEAD, 2 * self._threads)

    def submit(self, function: Callable, /, *args) -> ClusterFuture:
        """Send `function(*args)` to the cluster; both must be importable there or picklable."""
        future = self._client.submit(
            _run_here, environment(), function, *args, pure=False, retries=RETRIES, key=None
        )
        return ClusterFuture(future, self.address)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False):
        """Disconnect from the cluster. It drops the results that were not fetched, and keeps running."""
        self._client.close()


class ClusterFuture:
    """The result of a job on the cluster, fetched by `result`; otherwise a `concurrent.futures.Future`."""

    def __init__(self, future, address: str):
        self._future, self._address = future, address

    def __getattr__(self, name):
        return getattr(self._future, name)

    def result(self, timeout: float | None = None):
        """Wait for the job and fetch its result.

        Raises:
          BrokenExecutor: the job killed several workers.
          ClusterError: the scheduler was lost, or the workers lack this package.
          Exception: the error that the job raised.
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
    """Run a function in a worker, if its environment makes the same events."""
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
    """The versions and the code of this package that all workers of a dataset must share."""
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
    """Do the handshake with a scheduler; raises an OSError if it fails."""
    from distributed.comm import connect

    try:
        async with asyncio.timeout(timeout):
            comm = await connect(address, timeout=timeout, **security.get_connection_args("client"))
    except (OSError, ImportError):
        raise
    except Exception as error:  # Dask reads data of another protocol as sizes and messages
        raise OSError(f"what answers is no Dask scheduler: {error}") from error
    comm.abort()


def _address(scheduler: str) -> str:
    """The address itself, or the address in a scheduler's file."""
    if "://" in scheduler:
        return scheduler
    try:
        return json.loads(pathlib.Path(scheduler).read_text())["address"]
    except FileNotFoundError:
        reason = "is neither an address such as tls://host:8786 nor a file"
    except (OSError, ValueError, KeyError, TypeError):
        reason = "is not what `dask scheduler --scheduler-file` writes"
    raise ClusterError(f"{VARIABLE} or --scheduler says {scheduler}, which {reason}.")
