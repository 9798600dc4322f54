"""Batches of hits from a TFDS dataset: read once into memory, then shuffled, balanced and padded.

A batch is a pure function of (events, batch size, seed, epoch, step), so a resumed training sees the same
batches as an uninterrupted one. This module does not need TensorFlow.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from e2e_jax.datasets.layout import Layout
from e2e_jax.errors import DatasetError
from e2e_jax.events.base import Record
from e2e_jax.execution.prefetching import prefetch
from e2e_jax.study import Task


@dataclasses.dataclass(frozen=True)
class Sampling:
    """Parameters of the batches of a training.

    Attributes:
      batch_size: events per batch, the classes in equal parts.
      seed: seed of the order of the events in each epoch.
      epochs: maximum number of epochs; the flat layout fits the batches of all of them.
      flat: flat batches (`Layout.flat`) for networks that use images only, else padded batches.
    """

    batch_size: int
    seed: int = 0
    epochs: int = 1
    flat: bool = False


def read_split(
    folder: pathlib.Path, split: str, task: Task, unread: Sequence[str] = (), progress: bool = True
) -> Record:
    """Open a split of a dataset, without the events of labels that are in no class of the task.

    Args:
      folder: folder of the dataset, from `preparation.prepare_dataset`.
      split: "train" or "validation".
      task: the learning task.
      unread: collections to leave empty.
      progress: whether to show progress bars.

    Raises:
      DatasetError: the split does not exist; the dataset is half-written or not in ArrayRecord format; or a
        class of the task has no events.
      ValueError: an event holds an impossible value (`Record.validate`).
    """
    # Imported here, because only the reading of a dataset needs these packages.
    from e2e_jax.datasets.reading import open_split

    events = open_split(folder, split, progress, unread=unread)
    return of_task(events, task, f"Split {split!r} of the dataset in {folder}")


def of_task(events: Record, task: Task, what: str) -> Record:
    """The events whose labels are in a class of the task.

    Raises:
      DatasetError: a label of a class has no events, an event has no label, or a target is missing or not
        finite; `what` names the events.
    """
    check_classes(events, task, what)
    check_targets(events, task, what)
    return events if min(task.class_of_label) >= 0 else events[task.of_labels(events.label) >= 0]


def check_targets(events: Record, task: Task, what: str) -> None:
    """Raise a DatasetError if a target is missing or not finite; `what` names the events."""
    for name in task.targets:
        if name not in events.observables:
            have = ", ".join(events.observables) or "none"
            raise DatasetError(
                f"{what} has no observable {name!r}, which the task predicts; its observables are: {have}. "
                "Build the dataset again, or name another as config.task.targets."
            )
        values = events.observables[name]
        if (bad := ~np.isfinite(values)).any():
            row = int(bad.argmax())
            raise DatasetError(
                f"{what} has {name} = {values[row]} in event {row} ({bad.sum()} of {len(bad)} are not "
                "finite), but the task predicts it. Drop these events from the dataset."
            )


def check_classes(events: Record, task: Task, what: str) -> None:
    """Raise a DatasetError if a label of a class has no events or an event has no label.

    Args:
      events: the events.
      task: defines the classes. A regression has no classes and needs no labels.
      what: names the events.
    """
    if not task.classifies:
        return
    if unlabelled := int(np.sum(events.label < 0)):
        raise DatasetError(
            f"{what} has {unlabelled} events without a label among {len(events)}, and a classifier learns "
            "from labels. Leave these events out, or choose config.task.kind = 'regression'."
        )
    counts = task.counts(events.label)
    if not all(counts.values()):
        having = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise DatasetError(
            f"{what} has a class with no events ({having}). Training and its metrics need every class: use a "
            "larger dataset, or build this one again."
        )


def layout(events: Record, task: Task, sampling: Sampling, devices: int) -> Layout:
    """The layout of the batches of a training on `devices` devices."""
    if not sampling.flat:
        return Layout.padded(events)
    steps = steps_per_epoch(events, sampling.batch_size, task)
    orders = (epoch_rows(events, task, sampling, steps, epoch) for epoch in range(sampling.epochs))
    return Layout.flat(events, orders, sampling.batch_size // devices)


def steps_per_epoch(events: Record, batch_size: int, task: Task) -> int:
    """The number of balanced batches per epoch: the full batches that the smallest class fills.

    Args:
      events: the training sample.
      batch_size: events per batch, the same number of each class.
      task: defines the classes; without classes, all events form one class.

    Raises:
      DatasetError: the number of classes does not divide the batch size, or the events fill no batch.
    """
    number = task.parts
    if batch_size < number or batch_size % number:
        raise DatasetError(
            f"A batch of {batch_size} events cannot hold the {number} classes in equal parts: set "
            f"config.train.batch_size to a multiple of {number}."
        )
    check_classes(events, task, "The training sample")
    targets = task.of_labels(events.label)
    smallest = int(np.bincount(targets[targets >= 0]).min())
    steps = smallest // (batch_size // number)
    if not steps:
        needed = f"{batch_size // number} of each class, but the smallest class has {smallest}"
        if not task.classifies:
            needed = f"as many training events, but there are {smallest}"
        raise DatasetError(
            f"A batch of {batch_size} events needs {needed}: lower config.train.batch_size to "
            f"{smallest * number}."
        )
    return steps


def epoch_rows(events: Record, task: Task, sampling: Sampling, steps: int, epoch: int) -> np.ndarray:
    """The indices of the events of each batch, int64 `[steps, batch_size]`.

    Each class is shuffled separately and distributed evenly. Within a batch the classes alternate, so that
    equal consecutive parts of the batch, one per device, are balanced too.
    """
    targets, columns = task.of_labels(events.label), []
    share = sampling.batch_size // task.parts
    for target in range(task.parts):
        rows = np.flatnonzero(targets == target)
        shuffled = np.random.default_rng([sampling.seed, epoch, target]).permutation(rows)
        columns.append(shuffled[: steps * share].reshape(steps, share))
    return np.stack(columns, axis=-1).reshape(steps, sampling.batch_size)


def epoch_batches(
    events: Record,
    task: Task,
    sampling: Sampling,
    epoch: int = 0,
    start: int = 0,
    share: slice = slice(None),
    layout: Layout | None = None,
) -> Iterator[dict]:
    """The training batches of an epoch from step `start` on. A thread prepares them ahead.

    Args:
      events: the training sample.
      task: defines the classes.
      sampling: batch size and seed.
      epoch: index of the epoch.
      start: first step, for a training that resumes within an epoch.
      share: slice of the events of each batch; all events by default.
      layout: layout of the batches; by default padded to the longest event.

    Returns:
      An iterator of batches (`Layout.batch`), all of the same shapes.

    Raises:
      DatasetError: see `steps_per_epoch`; raised immediately, not at the first batch.
    """
    steps = steps_per_epoch(events, sampling.batch_size, task)
    rows = epoch_rows(events, task, sampling, steps, epoch)
    layout = layout or Layout.padded(events)
    return prefetch(lambda: (layout.batch(events[row]) for row in rows[start:, share]))
