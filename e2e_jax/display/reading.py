"""Reading of single events from an AODSIM file, a flat ntuple or a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from e2e_jax.datasets import finding, preparation, reading
from e2e_jax.errors import SourceError
from e2e_jax.events.base import Record
from e2e_jax.events.diphotons import Events
from e2e_jax.studies import hgg
from e2e_jax.study import Task

AODSIM, NTUPLE = "CMS simulation (AODSIM)", "flat ntuple"
"""Origins of events in ROOT files; the origin of a dataset is in its metadata."""


class Found(NamedTuple):
    """Events that were read.

    Attributes:
      events: the events.
      origin: short description of their origin.
      task: names their labels and observables.
    """

    events: Record
    origin: str
    task: Task


def read_events(
    source: str, rows: Sequence[int], split: str = "validation", select: str | None = None, data_dir: str = ""
) -> Found:
    """Reads some events, with their origin and the task that names their labels.

    Args:
      source: a ROOT file (a path or a root:// address), the folder of a TFDS dataset, or its name.
      rows: indices of the events, from 0; with `select`, among the selected events.
      split: split of a dataset.
      select: selection for an AODSIM file, a key of `hgg.SELECTIONS`.
      data_dir: folder of the datasets, for a dataset's name; "" is the TFDS default.

    Returns:
      The events in the order of `rows`.

    Raises:
      ValueError: the file, dataset or event does not exist; `SourceError` or `DatasetError` if it cannot be
        read.
    """
    folder = None if source.endswith(".root") else finding.dataset_folder(source, data_dir)
    if folder is None:
        return Found(*_root_events(source, rows, select), hgg.TASK)
    if select:
        raise ValueError(f"{source} is a dataset, selected when it was built: leave --select={select} out.")
    events = reading.read_split(folder, split, progress=False, rows=rows)
    metadata = preparation.read_metadata(folder)
    return Found(events, metadata["origin"], Task(**metadata["task"]))


def _root_events(source: str, rows: Sequence[int], select: str | None) -> tuple[Events, str]:
    """Reads from the first known tree that a file has."""
    from e2e_jax.sources.root import aodsim  # imports uproot, which a report does not need

    if select is not None and select not in hgg.SELECTIONS:
        raise ValueError(f"No selection {select!r}; there are {', '.join(hgg.SELECTIONS)}.")
    chosen = None if select is None else hgg.SELECTIONS[select]
    try:
        if chosen is None:
            return aodsim.read_entries(source, rows), AODSIM
        candidates = aodsim.read_candidates(source, chosen)
    except SourceError as error:
        if error.reason != "missing_tree":
            raise
        return _ntuple_events(source, rows, select, error), NTUPLE
    _check_rows(rows, len(candidates), f"events of {source} that pass --select={select}")
    return aodsim.read_entries(source, candidates.entry[list(rows)], select=chosen), AODSIM


def _ntuple_events(source: str, rows: Sequence[int], select: str | None, no_aodsim: SourceError) -> Events:
    """Reads a flat ntuple up to the last requested event."""
    from e2e_jax.sources.root import ntuple

    found, seen = {}, 0
    try:
        for events in ntuple.iterate_events(source, select):
            found |= {row: events[[row - seen]] for row in rows if 0 <= row - seen < len(events)}
            seen += len(events)
            if seen > max(rows):
                break
    except SourceError as error:
        if error.reason != "missing_tree":
            raise
        message = f"{no_aodsim} Nor is it a flat ntuple: those have a tree {ntuple.TREE}."
        raise SourceError(source, "missing_tree", message) from error
    _check_rows(rows, seen, f"events of {source}")
    return Events.concatenate(found[row] for row in rows)


def _check_rows(rows: Sequence[int], count: int, what: str):
    if outside := [row for row in rows if not 0 <= row < count]:
        counted = f"they count from 0 to {count - 1}" if count else "there are none"
        raise ValueError(f"There is no event {outside[0]} among the {what}: {counted}.")
