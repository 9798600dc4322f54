"""Joins arrays part by part, so that memory holds the result and one part, never everything twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

SPARE = 8
"""A full array grows by one part in `SPARE` of its length."""


def join(parts: Iterable[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Concatenates the arrays of each name along the first axis; an iterator is consumed part by part.

    Args:
      parts: the same names in each, with the same types and trailing shapes.

    Returns:
      name -> array; empty where there are no parts.
    """
    growing: dict[str, _Growing] = {}
    for part in parts:
        for name, values in part.items():
            if name not in growing:
                growing[name] = _Growing(values)
            else:
                growing[name].append(values)
    return {name: column.whole() for name, column in growing.items()}


class _Growing:
    """An array with spare capacity. The system moves the pages of a large array instead of copying it."""

    def __init__(self, values: np.ndarray):
        self._array, self._length = np.array(values, order="C"), len(values)

    def append(self, values: np.ndarray) -> None:
        end = self._length + len(values)
        if end > len(self._array):
            self._resize(max(end, self._length + self._length // SPARE))
        self._array[self._length : end] = values
        self._length = end

    def whole(self) -> np.ndarray:
        self._resize(self._length)
        return self._array

    def _resize(self, length: int) -> None:
        # No check of references is needed: the array was never handed out.
        self._array.resize((length, *self._array.shape[1:]), refcheck=False)
