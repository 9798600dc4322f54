"""Production of the events of a dataset: the part that all configs of all builders share.

A config creates the production of a build, which has `events(split)`, a stream, and `metadata()`, called at
the end.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

import e2e_jax
from e2e_jax.datasets import code_version
from e2e_jax.events.base import Record
from e2e_jax.execution.jobs import Job
from e2e_jax.execution.keeping import Format


@dataclasses.dataclass(frozen=True)
class Place:
    """Executor and folders of a build.

    Attributes:
      run: `jobs.run_jobs` on the executor of the build.
      scratch: folder for finished jobs until the dataset is written.
      kept: folder for results that other builds can reuse.
      lists: folder with file lists, or files, given on the command line; else None.
      title: title of progress bars.
    """

    run: Callable
    scratch: pathlib.Path
    kept: pathlib.Path
    lists: pathlib.Path | None
    title: str


class Simulation:
    """Production of simulated events, job by job. Finished jobs are kept until the dataset is complete.

    Args:
      jobs: split -> jobs, in the order of `jobs.SPLITS`.
      produce: function that makes the events of a job.
      version: version of the code, see `code_version`.
      place: executor and folders of the build.
      kept_as: file format of finished jobs.
    """

    def __init__(
        self,
        jobs: Mapping[str, Sequence[Job]],
        produce: Callable,
        version: str,
        place: Place,
        kept_as: Format,
    ):
        self._jobs, self._taken = jobs, []
        # One list with the jobs of all splits, so that no core waits for the end of a split.
        self._results = place.run(
            [job for split in jobs for job in jobs[split]],
            produce,
            cache_dir=place.scratch,
            version=version,
            kept_as=kept_as,
            progress=place.title,
        )

    def events(self, split: str) -> Iterator[Record]:
        """The events of a split, job by job. The splits must be requested in order."""
        if split != [*self._jobs][len(self._taken)]:
            raise RuntimeError(f"The events of {split!r} were taken out of order, after {self._taken}.")
        self._taken.append(split)
        for _, (_, events) in zip(self._jobs[split], self._results):
            yield events
        if len(self._taken) == len(self._jobs):
            self._results.close()

    def metadata(self) -> dict:
        """No metadata: all are known before the simulation."""
        return {}

    def write_tables(self, folder: pathlib.Path) -> None:
        """Do nothing: simulated events have no source files."""


def versions(**packages: str) -> dict[str, str]:
    """The versions of this package, numpy and `packages` (name in the metadata -> package)."""
    others = {name: code_version.package_version(package) for name, package in packages.items()}
    return {"e2e_jax": e2e_jax.__version__, "numpy": np.__version__} | others
