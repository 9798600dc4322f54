"""From a TFDS dataset to batches of hits: read once into memory, then shuffled, balanced, padded.

A batch is a pure function of (events, batch size, seed, epoch, step), so a training that stopped
anywhere goes on with the batches it would have seen. Nothing here needs TensorFlow.
"""

from __future__ import annotations

import pathlib
import queue
import threading
from collections.abc import Callable, Iterator

import numpy as np

from e2e_jax.classes import ALL, Category, Classes, category_of
from e2e_jax.datasets.layout import Layout
from e2e_jax.datasets.preparation import DatasetError, describe, fingerprint, prepare_dataset, read_metadata
from e2e_jax.datasets.reading import open_split
from e2e_jax.events.base import Record
from e2e_jax.events.diphotons import CLASSES

__all__ = [
    "DatasetError",
    "describe",
    "epoch_batches",
    "epoch_rows",
    "evaluation_batches",
    "fingerprints",
    "layout",
    "load_split",
    "prefetch",
    "steps_per_epoch",
]

PREFETCHED_BATCHES = 4


def fingerprints(config) -> dict[str, str]:
    """The fingerprint of each split of the configured dataset; it must exist.

    Raises:
      DatasetError: there is no such dataset.
    """
    return fingerprint(prepare_dataset(config.dataset.name, config.dataset.data_dir))


def load_split(config, split: str, progress: bool = True) -> Record:
    """Opens a split of the configured dataset, building the dataset first if it is missing.

    Args:
      config: the run's configuration; reads `config.dataset.name`, such as "cms_hgg/quick",
        `config.dataset.data_dir`, the folder of the datasets (TFDS's own where it is ""), and, where it has
        them, `config.dataset.classes`, whose left-out labels are not returned, and `config.dataset.category`.
      split: "train" or "validation".
      progress: whether to show progress bars.

    Raises:
      DatasetError: there is no such dataset or split; the dataset is half-written, of another
        version than the code's or another category, not in ArrayRecord format, or lacks a class.
      ValueError: an event holds a value that cannot be (`Events.validate`).
    """
    folder = prepare_dataset(config.dataset.name, config.dataset.data_dir)
    _check_sample(config, folder)
    category, inputs = category_of(config), config.get("inputs", {})
    events = open_split(folder, split, progress, unread=category.record.unread(inputs))
    classes = Classes.of(config) if "classes" in config.dataset else _labels(category)
    _check_classes(events, f"Split {split!r} of the dataset in {folder}", classes)
    return events if min(classes.targets) >= 0 else events[classes.of_labels(events.label) >= 0]


def _labels(category: Category) -> Classes:
    """Every label of a category a class of its own."""
    return Classes(category.labels, tuple(range(len(category.labels))), category)


def _check_sample(config, folder: pathlib.Path) -> None:
    """Refuses a dataset of another selection than the config's, or in another view than its images."""
    metadata = read_metadata(folder)
    wanted = config.dataset.get("category")
    found = metadata.get("category", wanted)
    if wanted and found != wanted:
        raise DatasetError(
            f"config.dataset.category is {wanted!r}, but the dataset {config.dataset.name!r} in {folder} "
            f"holds the category {found!r}. Name a dataset of that category as config.dataset.name; a "
            "config's sizes do so by themselves (--config=configs/four_momentum.py:forward_quick)."
        )
    inputs = config.get("inputs", {})
    if metadata.get("view", inputs.get("geometry")) != inputs.get("geometry"):
        raise DatasetError(
            f"config.inputs.geometry is {inputs.geometry!r}, but the dataset {config.dataset.name!r} in "
            f"{folder} shows showers in the view {metadata['view']!r}. Name another as config.dataset.name."
        )
    if "digis" in inputs.get("channels", ()) and not metadata.get("digis", True):
        raise DatasetError(
            f"config.inputs.channels asks for digis, but the dataset {config.dataset.name!r} in {folder} "
            "has none. Name one with digis as config.dataset.name."
        )


def _check_classes(events: Record, what: str, classes: Classes) -> None:
    counts = np.bincount(events.label[events.label >= 0], minlength=len(events.CLASSES))
    if not all(count for count, target in zip(counts, classes.targets) if target >= 0):
        having = ", ".join(f"{name}: {count}" for name, count in zip(events.CLASSES, counts))
        raise DatasetError(
            f"{what} has a class with no events ({having}). Training and its metrics need every class: use a "
            "larger dataset, or build this one again."
        )


def layout(events: Record, config, devices: int) -> Layout:
    """The layout of a training's batches: flat for images and tokens, else padded.

    Args:
      events: the training sample.
      config: read are `inputs.kind`, `dataset.classes`, `seed`, `train.batch_size` and `train.epochs`.
      devices: over how many the batches are spread.
    """
    if config.inputs.kind not in ("images", "tokens"):
        return Layout.padded(events)
    classes, size = Classes.of(config), config.train.batch_size
    targets, steps = classes.of_labels(events.label), steps_per_epoch(events, size, classes)
    orders = (
        epoch_rows(targets, size, steps, config.seed, epoch, len(classes.names))
        for epoch in range(config.train.epochs)
    )
    return Layout.flat(events, orders, size // devices)


def steps_per_epoch(events: Record, batch_size: int, classes: Classes = ALL) -> int:
    """Balanced batches of an epoch: as many whole ones as the smallest class fills.

    Args:
      events: the training sample.
      batch_size: events a batch, the same number of each class.
      classes: the config's classes; every label by default.

    Raises:
      DatasetError: the batch size does not divide evenly into the classes, or no batch is filled.
    """
    number = len(classes.names)
    if batch_size < number or batch_size % number:
        raise DatasetError(
            f"A batch of {batch_size} events cannot hold the {number} classes in equal parts: set "
            f"config.train.batch_size to a multiple of {number}."
        )
    _check_classes(events, "The training sample", classes)
    targets = classes.of_labels(events.label)
    smallest = int(np.bincount(targets[targets >= 0]).min())
    steps = smallest // (batch_size // number)
    if not steps:
        raise DatasetError(
            f"A batch of {batch_size} events needs {batch_size // number} of each class, but the "
            f"smallest class has {smallest}: lower config.train.batch_size to {smallest * number}."
        )
    return steps


def epoch_rows(
    targets: np.ndarray, batch_size: int, steps: int, seed: int, epoch: int, classes: int = len(CLASSES)
) -> np.ndarray:
    """Which events make which batch, int64 `[steps, batch_size]`, by the class of each event.

    Every class is shuffled for itself and dealt out evenly. Within a batch the classes alternate, so
    that equal consecutive parts of it, one a device, are balanced as well.
    """
    share = batch_size // classes
    columns = []
    for target in range(classes):
        rows = np.flatnonzero(targets == target)
        shuffled = np.random.default_rng([seed, epoch, target]).permutation(rows)
        columns.append(shuffled[: steps * share].reshape(steps, share))
    return np.stack(columns, axis=-1).reshape(steps, batch_size)


def epoch_batches(
    events: Record,
    batch_size: int,
    seed: int,
    epoch: int,
    start: int = 0,
    classes: Classes = ALL,
    share: slice = slice(None),
    layout: Layout | None = None,
) -> Iterator[dict]:
    """The training batches of an epoch, from step `start` on, prepared ahead by a thread.

    Args:
      events: the training sample.
      batch_size: events a batch, the same number of each class.
      seed, epoch: fix the order of the events, with nothing else.
      start: first step, for a training that goes on in mid-epoch.
      classes: the config's classes; every label by default.
      share: which events of each batch; all by default.
      layout: of the batches; padded to the longest event by default.

    Returns:
      An iterator of batches (`Layout.batch`), all of the same shapes.

    Raises:
      DatasetError: see `steps_per_epoch`; raised at once, not at the first batch.
    """
    steps = steps_per_epoch(events, batch_size, classes)
    targets = classes.of_labels(events.label)
    rows = epoch_rows(targets, batch_size, steps, seed, epoch, len(classes.names))
    layout = layout or Layout.padded(events)
    return prefetch(lambda: (layout.batch(events[row]) for row in rows[start:, share]))


def evaluation_batches(events: Record, batch_size: int) -> Iterator[dict]:
    """Every event once, in order, in batches of one shape.

    Returns:
      An iterator of padded batches with one more entry, "valid": bool `[batch_size]`. The last batch
      is filled up with repetitions of the last event, where it is false.
    """
    layout = Layout.padded(events)

    def batches():
        for first in range(0, len(events), batch_size):
            rows = np.arange(first, first + batch_size)
            batch = layout.batch(events[np.minimum(rows, len(events) - 1)])
            yield batch | {"valid": rows < len(events)}

    return prefetch(batches)


def prefetch(make: Callable[[], Iterator], ahead: int = PREFETCHED_BATCHES) -> Iterator:
    """Iterates over `make()` with a thread that works `ahead` items before the consumer.

    What the thread raises is raised here. Closing the iterator, or dropping it, ends the thread.
    """
    ready: queue.Queue = queue.Queue(ahead)
    stopped = threading.Event()

    def offer(kind, item=None) -> bool:
        while not stopped.is_set():
            try:
                ready.put((kind, item), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work():
        try:
            for item in make():
                if not offer("item", item):
                    return
            offer("end")
        except BaseException as error:  # handed to the consumer, whatever it is
            offer("error", error)

    def consume():
        thread = threading.Thread(target=work, name="prefetch", daemon=True)
        thread.start()
        try:
            while (entry := ready.get())[0] == "item":
                yield entry[1]
            if entry[0] == "error":
                raise entry[1]
        finally:
            stopped.set()
            thread.join()

    return consume()
