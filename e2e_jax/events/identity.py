"""Finds events that come a second time, in the same file or in another one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from e2e_jax.events.diphotons import Events

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""Odd, with bits all over: 2^64 divided by the golden ratio."""


def identities(events: Events) -> np.ndarray:
    """A number per event, uint64 `[n]`, that two different events share with a probability of 2^-64.

    It depends on the address, on the number of entries in each list and on the first entry of each. The
    address alone is not enough: simulated samples use the same addresses.
    """
    mixed = np.zeros(len(events), np.uint64)
    with np.errstate(over="ignore"):
        for values in _distinguishing(events):
            mixed = (mixed ^ values) * _FACTOR
            mixed ^= mixed >> np.uint64(29)
    return mixed


def _distinguishing(events: Events) -> Iterator[np.ndarray]:
    """Columns uint64 `[n]`."""
    for name in ("run", "lumi", "event"):
        yield getattr(events, name).astype(np.uint64)
    for name in events.ragged():
        ragged = getattr(events, name)
        there = ragged.counts > 0
        yield ragged.counts.astype(np.uint64)
        for column in ragged.columns.values():
            first = np.zeros(len(events), column.dtype)
            first[there] = column[ragged.offsets[:-1][there]]
            yield first.view(f"u{column.dtype.itemsize}").astype(np.uint64)


class SeenEvents:
    """The identities of events that were seen, and the source of each: 12 bytes per event."""

    def __init__(self):
        self._known, self._sources = np.zeros(0, np.uint64), np.zeros(0, np.int32)

    def first_source(self, found: np.ndarray, source: int) -> np.ndarray:
        """Where events were seen before: the number of the source, -1 for a new event, int32 `[n]`.

        Args:
          found: identities of the events.
          source: number of the source that holds them.
        """
        first = np.full(len(found), -1, np.int32)
        place = np.searchsorted(self._known, found)
        before = np.append(self._known, np.uint64(0))[place] == found
        before &= place < len(self._known)
        first[before] = self._sources[place[before]]
        # Among events of one call the first one counts as new.
        _, earliest = np.unique(found, return_index=True)
        again = np.ones(len(found), bool)
        again[earliest] = False
        first[again & ~before] = source
        new = np.sort(found[first < 0])
        place = np.searchsorted(self._known, new)
        self._known = np.insert(self._known, place, new)
        self._sources = np.insert(self._sources, place, source)
        return first
