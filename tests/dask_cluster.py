"""A Dask scheduler and its worker processes on this machine's loopback, for tests and benchmarks."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator

import distributed

from e2e_jax.execution import cluster_security
from e2e_jax.execution.cluster_security import CA_FILE, CERT_FILE, KEY_FILE

WAIT = 60.0
"""Seconds that processes may take to start."""


class DaskCluster:
    """A scheduler, as a site would run it, and workers with one thread each.

    Attributes:
      folder: where everything of it lies, `scheduler.json` among it.
      workers: the worker processes, in the order of their start.
    """

    def __init__(self, folder: pathlib.Path, certificates: pathlib.Path | None = None):
        self.folder, self.workers = folder, []
        self._secure, self._security = (), None
        if certificates is not None:
            self._security = cluster_security.certificates(certificates)
            files = {"ca-file": CA_FILE, "cert": CERT_FILE, "key": KEY_FILE}
            options = [(f"--tls-{name}", str(certificates / file)) for name, file in files.items()]
            self._secure = ("--protocol", "tls", *itertools.chain(*options))
        self.file = folder / "scheduler.json"
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0")
        _wait_for(self._written, "The scheduler did not start", self.scheduler)
        self.address = json.loads(self.file.read_text())["address"]

    def _written(self) -> bool:
        with contextlib.suppress(OSError, ValueError):
            return "address" in json.loads(self.file.read_text())
        return False

    def _start(self, what: str, *options: str) -> subprocess.Popen:
        # The workers import the checkout; a task may take one worker along, not a second.
        environment = os.environ | {
            "PYTHONPATH": str(pathlib.Path(__file__).parents[1]),
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
        }
        command = [sys.executable, "-m", "distributed.cli.dask_" + what, "--scheduler-file", str(self.file)]
        with (self.folder / "log.txt").open("ab") as log:
            return subprocess.Popen(
                [*command, "--no-dashboard", "--dashboard-address", "127.0.0.1:0", *self._secure, *options],
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=log,
            )

    def add_workers(self, count: int):
        """Starts workers, and waits until the scheduler knows them."""
        with distributed.Client(self.address, set_as_default=False, security=self._security) as client:
            known = len(client.nthreads())
            options = ("--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--local-directory", ".")
            new = [self._start("worker", *options) for _ in range(count)]
            self.workers += new
            _wait_for(lambda: len(client.nthreads()) >= known + count, "The workers did not start", *new)

    def stop(self):
        """Ends all of it."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


def _wait_for(condition, complaint: str, *processes: subprocess.Popen):
    end = time.monotonic() + WAIT
    while not condition():
        if time.monotonic() > end or any(process.poll() is not None for process in processes):
            raise RuntimeError(f"{complaint}; its folder has a log.txt.")
        time.sleep(0.05)


@contextlib.contextmanager
def dask_cluster(
    folder: pathlib.Path, workers: int, certificates: pathlib.Path | None = None
) -> Iterator[DaskCluster]:
    """A cluster with some workers, gone afterwards; with TLS where a folder for certificates is given."""
    cluster = DaskCluster(folder, certificates)
    try:
        cluster.add_workers(workers)
        yield cluster
    finally:
        cluster.stop()
