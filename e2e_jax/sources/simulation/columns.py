"""Dataclasses of arrays with equal lengths."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Self

import numpy as np


class Columns:
    """Base of dataclasses of equally long arrays: concatenation and selection."""

    @classmethod
    def concatenate(cls, parts: Iterable[Self]) -> Self:
        """The rows of all parts, in order."""
        parts = list(parts)
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def __getitem__(self, rows) -> Self:
        """Select rows by slice, boolean mask or index array."""
        return type(self)(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))


class EnergySpots(Columns):
    """Base of points of energy: dataclasses of columns with `event` and `energy` (GeV)."""

    event: np.ndarray
    energy: np.ndarray

    def _binned(self, cell: np.ndarray, inside: np.ndarray, cells: int, events: int) -> np.ndarray:
        """Energy in each cell from the spots that are `inside`, float64 `[events, cells]`."""
        index = self.event * cells + np.where(inside, cell, 0)
        return np.bincount(index, self.energy * inside, events * cells).reshape(events, cells)
