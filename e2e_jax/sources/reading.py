"""Reads the events of a ROOT file, AODSIM or flat ntuple."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import TypeVar

from e2e_jax.errors import SourceError
from e2e_jax.events.diphotons import Events
from e2e_jax.sources.root import aodsim, ntuple
from e2e_jax.study.selection import Selection

Result = TypeVar("Result")


def read_events(path: str | os.PathLike, select: Selection | Callable | None = None) -> Events:
    """Read all events of AODSIM files or of flat ntuples into memory.

    Args:
      path: a file, a pattern such as ``data/*.root``, or a ``root://`` or ``https://`` address.
      select: for AODSIM files, the selection, which also computes the observables: a selection such as
        `photons()` or `studies.hgg.SELECTIONS["central"]`, or a function. All events by default.

    Raises:
      SourceError: the file has another format, is damaged, or contains invalid values.
      StudyError: the selection cannot be applied.
      ValueError: `select` is given for a flat ntuple, which is already selected.
    """
    select = None if select is None else Selection.of(select)
    return of_either(path, lambda reader: reader.read_events(path, select))


def of_either(path: str | os.PathLike, read: Callable[[ModuleType], Result]) -> Result:
    """Call `read` with the module that reads the file: `aodsim` or `ntuple`.

    Raises:
      SourceError: raised by `read`; or the file has neither tree.
    """
    try:
        return read(aodsim)
    except SourceError as error:
        if error.reason != "missing_tree":
            raise
        no_aodsim = error
    try:
        return read(ntuple)
    except SourceError as error:
        if error.reason != "missing_tree":
            raise
        message = f"{no_aodsim} Nor is it a flat ntuple: those have a tree {ntuple.TREE}."
        raise SourceError(str(path), "missing_tree", message) from error
