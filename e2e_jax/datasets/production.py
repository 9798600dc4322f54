"""How the events of a dataset come about: what every config of every builder shares.

A config gives a production for a build: `events(split)` as a stream and, at the end, `metadata()`.
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
    """Where a build takes place.

    Attributes:
      run: `jobs.run_jobs` on the executor of the build.
      scratch: folder for finished jobs until the dataset is written.
      kept: folder for what other builds may use too.
      lists: folder with file lists, or files, that the command named, None if it did not.
      title: of progress bars.
    """

    run: Callable
    scratch: pathlib.Path
    kept: pathlib.Path
    lists: pathlib.Path | None
    title: str


class Simulation:
    """Makes simulated events, job by job; finished jobs are kept until the dataset is whole.

    Args:
      jobs: split -> its jobs, in the order of `jobs.SPLITS`.
      produce: makes the events of a job.
      version: of what makes them, see `code_version`.
      place: where the build takes place.
      kept_as: how finished jobs are kept.
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
        # The jobs of all splits are one list, so that no core waits for the end of a split.
        self._results = place.run(
            [job for split in jobs for job in jobs[split]],
            produce,
            cache_dir=place.scratch,
            version=version,
            kept_as=kept_as,
            progress=place.title,
        )

    def events(self, split: str) -> Iterator[Record]:
        """The events of a split, job by job; the splits must be taken in their order."""
        if split != [*self._jobs][len(self._taken)]:
            raise RuntimeError(f"The events of {split!r} were taken out of order, after {self._taken}.")
        self._taken.append(split)
        for _, (_, events) in zip(self._jobs[split], self._results):
            yield events
        if len(self._taken) == len(self._jobs):
            self._results.close()

    def metadata(self) -> dict:
        """What is known of the events only after they were made: nothing."""
        return {}

    def write_tables(self, folder: pathlib.Path) -> None:
        """Simulated events need no list of where they came from."""


def versions(**packages: str) -> dict[str, str]:
    """The versions of this package, of numpy and of others, by the name they get in the metadata."""
    others = {name: code_version.package_version(package) for name, package in packages.items()}
    return {"e2e_jax": e2e_jax.__version__, "numpy": np.__version__} | others
