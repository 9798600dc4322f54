"""Faulty events: either the first one raises an error, or all are dropped and counted."""

from __future__ import annotations

import collections

import numpy as np

from e2e_jax.errors import SourceError
from e2e_jax.events.base import Ragged

ON_ERROR = ("fail", "skip")
"""Allowed values of `on_error`."""


class Faults:
    """The faulty events of one file.

    Args:
      path: the file.
      on_error: "fail" raises a `SourceError` on the first fault; "skip" records the events.
      skipped: counts the recorded events by reason, each event once.

    Raises:
      ValueError: `on_error` is not in `ON_ERROR`.
    """

    def __init__(self, path: str, on_error: str = "fail", skipped: collections.Counter | None = None):
        check_on_error(on_error)
        self.path, self._on_error = path, on_error
        self._skipped = collections.Counter() if skipped is None else skipped
        self._entries = np.zeros(0, np.int64)

    def sound(self, entries: np.ndarray) -> np.ndarray:
        """Mask of the entries without a fault, bool `[n]`."""
        return ~np.isin(entries, self._entries)

    def mark(self, reason: str, faulty: np.ndarray, entries: np.ndarray, why: str):
        """Record faulty events.

        Args:
          reason: slug under which they are counted.
          faulty: bool `[n]`.
          entries: int64 `[n]`, their entry numbers in the file.
          why: text after "entry 3 of the file: ".
        """
        if not faulty.any():
            return
        if self._on_error == "fail":
            message = (
                f"Entry {entries[faulty][0]} of {self.path}: {why}. {int(faulty.sum())} of {len(entries)} "
                "events read together have this fault. Fetch the file again, or leave such events out with "
                "on_error=skip."
            )
            raise SourceError(self.path, reason, message)
        new = np.setdiff1d(entries[faulty], self._entries)
        self._entries = np.concatenate([self._entries, new])
        if len(new):
            self._skipped[reason] += len(new)

    def mark_values(self, reason: str, bad: np.ndarray, lists: Ragged, entries: np.ndarray, why: str):
        """Record the events that have a bad value in a list.

        Args:
          bad: bool `[lists.offsets[-1]]`.
          lists: the lists of the entries; the error shows the columns of the first bad value.
          reason, entries, why: as in `mark`.
        """
        if not bad.any():
            return
        first = int(np.flatnonzero(bad)[0])
        shown = ", ".join(f"{name} {_text(column[first])}" for name, column in lists.columns.items())
        faulty = np.bincount(lists.event_index[bad], minlength=len(lists)) > 0
        self.mark(reason, faulty, entries, f"{why} ({shown})")


def check_on_error(on_error: str):
    """Raise a ValueError unless `on_error` is in `ON_ERROR`."""
    if on_error not in ON_ERROR:
        raise ValueError(f"on_error is {on_error!r}; it can be {' or '.join(map(repr, ON_ERROR))}.")


def _text(value) -> str:
    return f"0x{value:08x}" if isinstance(value, np.uint32) else f"{value:g}"
