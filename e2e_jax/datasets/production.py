"""How the events of a dataset come about: what every config of every builder shares.

A config gives a production for a build: `events(split)` as a stream and, at the end, `metadata()`.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterator

import numpy as np

import e2e_jax
from e2e_jax.datasets import code_version
from e2e_jax.events.base import Record
from e2e_jax.execution.jobs import SPLITS, Task
from e2e_jax.execution.keeping import Format


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a build takes place.

    Attributes:
      run: `jobs.run_tasks` on the executor of the build.
      scratch: folder for finished tasks until the dataset is written.
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
    """Makes simulated events, task by task; finished tasks are kept until the dataset is whole.

    Args:
      tasks: "train" or "validation" -> the tasks of the split.
      produce: makes the events of a task.
      version: of what makes them, see `code_version`.
      place: where the build takes place.
      kept_as: how finished tasks are kept; by default as `Events`.
    """

    def __init__(
        self, tasks: Callable, produce: Callable, version: str, place: Place, kept_as: Format | None = None
    ):
        self._tasks, self._produce, self._version = tasks, produce, version
        self._place, self._kept_as = place, kept_as
        self._results = self._run()

    def _run(self) -> Iterator[tuple[Task, Record]]:
        """Runs the tasks of all splits as one list, so that no core waits for the end of a split."""
        yield from self._place.run(
            [task for split in SPLITS for task in self._tasks(split)],
            self._produce,
            cache_dir=self._place.scratch,
            version=self._version,
            kept_as=self._kept_as,
            progress=self._place.title,
        )

    def events(self, split: str) -> Iterator[Record]:
        """The events of a split, task by task; the splits must be taken in the order of `SPLITS`."""
        for task, (done, events) in zip(self._tasks(split), self._results):
            if done != task:
                raise RuntimeError(f"The events of {split!r} were taken out of order: {done} for {task}.")
            yield events
        if split == SPLITS[-1]:
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
