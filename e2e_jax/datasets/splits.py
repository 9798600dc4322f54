"""The two kinds of datasets that a classifier is trained on: stored on disk, or held in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

from e2e_jax.datasets import batches
from e2e_jax.errors import DatasetError
from e2e_jax.events.base import Record
from e2e_jax.study import Task

TASK = "task"
"""Key of a description: the task of the dataset's study, as returned by `Task.to_json`."""


class Dataset(Protocol):
    """A dataset with the splits "train" and "validation"."""

    def describe(self) -> dict:
        """The identity of the dataset, for the results of a run. `TASK` holds the task of its study."""

    def fingerprints(self) -> dict[str, str]:
        """Split -> digest of its events."""

    def read(self, split: str, task: Task, unread: Sequence[str] = ()) -> Record:
        """The events of a split whose labels are in a class of the task."""


@dataclasses.dataclass(frozen=True)
class StoredDataset:
    """A TFDS dataset; it is built if it is missing.

    Attributes:
      name: builder and config, such as "cms_hgg/quick".
      data_dir: folder of the datasets; "" for TFDS's own.
    """

    name: str
    data_dir: str = ""

    def describe(self) -> dict:
        """As `preparation.describe`.

        Raises:
          DatasetError: the dataset does not exist, is damaged, or has no task.
        """
        from e2e_jax.datasets import preparation

        description = preparation.describe(self.name, self.data_dir)
        if TASK not in description:
            folder = preparation.prepare_dataset(self.name, self.data_dir)
            raise DatasetError(
                f"The metadata of the dataset in {folder} name no task, so another version of e2e_jax wrote "
                f"it. {preparation.again(folder)}"
            )
        return description

    def fingerprints(self) -> dict[str, str]:
        """As `preparation.fingerprint`."""
        from e2e_jax.datasets import preparation

        return preparation.fingerprint(preparation.prepare_dataset(self.name, self.data_dir))

    def read(self, split: str, task: Task, unread: Sequence[str] = ()) -> Record:
        """As `batches.read_split`."""
        from e2e_jax.datasets import preparation

        folder = preparation.prepare_dataset(self.name, self.data_dir)
        return batches.read_split(folder, split, task, unread)


@dataclasses.dataclass(frozen=True)
class GivenDataset:
    """Events in memory.

    Attributes:
      task: the learning task.
      splits: "train" and "validation" -> events.
      description: further fields of the identity.
      digests: split -> digest of its events; "" by default. A run continues only with the same digests.
    """

    task: Task
    splits: Mapping[str, Record]
    description: Mapping = dataclasses.field(default_factory=lambda: {"name": "events in memory"})
    digests: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def describe(self) -> dict:
        """The description with the task."""
        return {**self.description, TASK: self.task.to_json()}

    def fingerprints(self) -> dict[str, str]:
        """The digests."""
        return {split: self.digests.get(split, "") for split in self.splits}

    def read(self, split: str, task: Task, unread: Sequence[str] = ()) -> Record:
        """The events of a split whose labels are in a class of the task."""
        return batches.of_task(self.splits[split], task, f"Split {split!r}")
