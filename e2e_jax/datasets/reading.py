"""Reading of the events of a dataset: selected events, or a whole split as cached flat arrays."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import warnings
from collections.abc import Iterator, Sequence

import tqdm

from e2e_jax.datasets import flat_arrays
from e2e_jax.datasets.preparation import DatasetError, again, check_files, derived_folders, read_metadata
from e2e_jax.events.base import Record
from e2e_jax.events.kinds import KINDS
from e2e_jax.files import digests, locks

READ_TOGETHER = 1000
"""Events read at a time before they are converted to flat arrays; limits the memory use."""

KEY_LENGTH = 16
"""Digits of the key in the name of a folder of flat arrays."""

LAYOUT = 3
"""Version of the flat arrays. Increase it when reading or validation changes."""


def open_split(folder: pathlib.Path, split: str, progress: bool = True, unread: Sequence[str] = ()) -> Record:
    """Open a split of the dataset in the folder, validated, as read-only memory-mapped arrays.

    The first call reads and validates the split and stores its flat arrays next to the dataset, or in the
    user's cache if the dataset is read-only. Later calls map them. If the arrays or the dataset changed, they
    are made again.

    Args:
      folder, split, progress, unread: as in `read_split`.

    Raises:
      DatasetError: see `read_split`.
      ValueError: an event holds an impossible value (`Record.validate`).
    """
    record, places = record_of(folder), derived_folders(folder)
    metadata = read_metadata(folder)
    view = {name: value for name, value in metadata.items() if name == "view"}
    labels = len(metadata["task"]["labels"])
    files = check_files(folder).get(split)
    key = digests.of_json([LAYOUT, flat_arrays.layout(record), files, sorted(unread), view])
    variant = "-".join((split, *(f"without_{name}" for name in sorted(unread))))
    name = f"{variant}-{key[:KEY_LENGTH]}"

    def mapped():
        found = (flat_arrays.open_mapped(place / name, record, key, places) for place in places)
        return next((events for events in found if events is not None), None)

    def parts():
        read = split_parts(folder, split, progress, unread=unread)
        return (part.validate(labels, **view) for part in read)

    if (events := mapped()) is not None:
        return events
    with contextlib.ExitStack() as stack:
        place = next((place for place in places if _entered(stack, place / f"{variant}.lock")), None)
        if place is None:
            _warn_not_kept(folder, "no permission")
            return record.concatenate(parts())
        # Another process may have written them in the meantime.
        if (events := mapped()) is not None:
            return events
        for stale in place.glob(f"{variant}-{'?' * KEY_LENGTH}"):
            shutil.rmtree(stale, ignore_errors=True)
        try:
            flat_arrays.write(place / name, parts(), key, places)
        except OSError as error:
            _warn_not_kept(folder, error.strerror or error)
        if (events := mapped()) is None:
            events = record.concatenate(parts())
        return events


def _warn_not_kept(folder: pathlib.Path, why) -> None:
    places = " or ".join(map(str, derived_folders(folder)))
    warnings.warn(
        f"The arrays of the dataset in {folder} are not kept ({why}), so each training reads it anew. Make "
        f"room in {places}, or ask for the permission.",
        stacklevel=3,
    )


def _entered(stack: contextlib.ExitStack, lock: pathlib.Path) -> bool:
    """Hold a lock until the stack is closed; returns False if its folder cannot be written."""
    try:
        stack.enter_context(locks.locked(lock, wait=True))
    except OSError:
        return False
    return True


def read_split(
    folder: pathlib.Path,
    split: str,
    progress: bool = True,
    rows: Sequence[int] | None = None,
    unread: Sequence[str] = (),
) -> Record:
    """Read a split of the dataset in the folder into memory.

    Args, Raises: as `split_parts`.
    """
    return record_of(folder).concatenate(split_parts(folder, split, progress, rows, unread))


def split_parts(
    folder: pathlib.Path,
    split: str,
    progress: bool = True,
    rows: Sequence[int] | None = None,
    unread: Sequence[str] = (),
) -> Iterator[Record]:
    """Read a split of the dataset in the folder in one or more parts.

    Args:
      folder: as returned by `prepare_dataset`.
      split: one of `jobs.SPLITS`.
      progress: whether to show a progress bar.
      rows: indices of the events to read, from 0; all events by default.
      unread: collections to leave empty.

    Raises:
      DatasetError: the dataset is half-written, damaged, or not in ArrayRecord format, or has no such split
        or event.
    """
    from tensorflow_datasets.core.example_parser import ExampleParserNp

    from e2e_jax.datasets.features import stored

    source, record = _stored(folder, split), record_of(folder)
    observables = [observable["name"] for observable in read_metadata(folder)["task"]["observables"]]
    rows = range(len(source)) if rows is None else rows
    if outside := [row for row in rows if not 0 <= row < len(source)]:
        raise DatasetError(
            f"The split {split!r} of the dataset in {folder} has no event {outside[0]}: "
            f"its {len(source)} events count from 0 to {len(source) - 1}."
        )
    parser = ExampleParserNp(stored(record, observables))
    title = f"reading {'/'.join(folder.parts[-3:-1])} {split}"
    with tqdm.tqdm(total=len(rows), desc=title, unit="event", disable=not progress) as bar:
        for first in range(0, max(len(rows), 1), READ_TOGETHER):
            together = list(rows[first : first + READ_TOGETHER])
            try:
                examples = [parser.parse_example(content) for content in source.__getitems__(together)]
                part = record.from_examples(examples, observables)
            except Exception as error:
                raise DatasetError(
                    f"The dataset in {folder} does not hold {record.__name__} as this code writes them "
                    f"({error}). {again(folder)}"
                ) from error
            bar.update(len(together))
            yield part.without(unread)


def count(folder: pathlib.Path, split: str) -> int:
    """The number of events of a split; errors as in `read_split`."""
    return len(_stored(folder, split))


def record_of(folder: pathlib.Path) -> type[Record]:
    """The class of the events of the dataset in a folder."""
    return KINDS[read_metadata(folder)["task"]["events"]]


def _stored(folder: pathlib.Path, split: str):
    """The stored examples of a split, after checking that the dataset is complete."""
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    files = check_files(folder)
    if not files.get(split):
        have = ", ".join(name for name, some in files.items() if some) or "none"
        raise DatasetError(f"The dataset in {folder} has no split {split!r} with events; it has {have}.")
    if other := [name for name in files[split] if ".array_record" not in name]:
        raise DatasetError(
            f"The dataset in {folder} is stored as {other[0].partition('.')[2]}, which only TensorFlow "
            f"reads; training reads array_record. {again(folder)}"
        )
    return ArrayRecordDataSource([str(folder / name) for name in files[split]])
