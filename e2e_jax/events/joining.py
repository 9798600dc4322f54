"""Arrays that come in parts, joined as they come: in memory are the whole and one part, never all twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

SPARE = 8
"""An array that is full grows by one part in this of its length: what it may waste until all is there."""


def join(parts: Iterable[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Concatenates the arrays of each name along the first axis; an iterator's parts are taken one by one.

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
    """An array and room behind it. The system moves the pages of a large one instead of copying it."""

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
        # Without a check of references: no one else has seen the array.
        self._array.resize((length, *self._array.shape[1:]), refcheck=False)
