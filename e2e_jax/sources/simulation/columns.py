"""Arrays of one length, kept together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Self

import numpy as np


class Columns:
    """What a dataclass of equally long arrays can do: join and select."""

    @classmethod
    def concatenate(cls, parts: Iterable[Self]) -> Self:
        """The rows of all parts, in order."""
        parts = list(parts)
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def __getitem__(self, rows) -> Self:
        """Rows by slice, boolean mask or index array."""
        return type(self)(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))


class EnergySpots(Columns):
    """Points of energy: a dataclass of columns, `event` and `energy` (GeV) among them."""

    event: np.ndarray
    energy: np.ndarray

    def _binned(self, cell: np.ndarray, inside: np.ndarray, cells: int, events: int) -> np.ndarray:
        """Energy in each cell, float64 `[events, cells]`, of the spots that are `inside`."""
        index = self.event * cells + np.where(inside, cell, 0)
        return np.bincount(index, self.energy * inside, events * cells).reshape(events, cells)
