"""The views of a shower: a crop of 32 x 32 crystals around its maximum, or the whole barrel.

Crops have the size of those of M. Andrews et al., arXiv:1807.11916, Section 6. The crystal with the highest
energy is at row and column `SEED`. Crops wrap around in phi. At the ends of the barrel the window is shifted
inside, so the crystal is then at another row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from e2e_jax.detector import geometry

SIDE = 32
"""Rows and columns of a crop."""

SEED = 15
"""Row and column of the highest-energy crystal in its crop, unless the window was shifted."""

SHAPES = {"crop": (SIDE, SIDE), "barrel": (geometry.EB_ROWS, geometry.EB_COLUMNS)}
"""View -> (rows, columns); cell = row * columns + column."""

CELLS = {view: rows * columns for view, (rows, columns) in SHAPES.items()}

CHANNELS = ("energy", "time")
"""Channels of the images of rec hits: GeV, ns."""

SAMPLES = 10
"""ADC samples of a crystal's digi, 25 ns apart."""

PEDESTAL = 200.0
"""ADC counts of a crystal without signal, as in CMSSW's simulation at gain 12."""

GEV_PER_COUNT = 0.039
"""Energy of a barrel crystal per ADC count of the pulse's maximum, at gain 12 (CMSSW `EcalADCToGeVConstant`).

All samples are in counts of gain 12. Samples that the electronics read at gain 6 or 1, above 152 GeV, are
scaled to it.
"""


def crop(showers):
    """The showers in the view "crop", cut out around the crystal of the highest energy.

    Args:
      showers: `Showers` in the view "barrel".

    Raises:
      ValueError: a shower has no hit, or a cell is no crystal of the barrel.
    """
    return cut(showers, *window(seeds(showers)))


def seeds(showers) -> np.ndarray:
    """Cell of the highest-energy crystal of each shower (the first if several are equal), int64 `[n]`.

    Raises:
      ValueError: a shower has no hit.
    """
    crystals = showers.crystals
    if not len(showers):
        return np.zeros(0, np.int64)
    if (empty := np.flatnonzero(crystals.counts == 0)).size:
        raise ValueError(
            f"{address(showers, empty[0])} has no hit, so there is nothing to crop around; {empty.size} such "
            f"showers in these {len(showers)}. Drop them (showers[showers.crystals.counts > 0])."
        )
    owner = crystals.event_index
    highest = np.maximum.reduceat(crystals.energy, crystals.offsets[:-1])
    entries = np.flatnonzero(crystals.energy == highest[owner])
    _, first = np.unique(owner[entries], return_index=True)
    return crystals.cell[entries[first]].astype(np.int64)


def window(cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First row and column of the crop around barrel cells, int64, shifted inside near the barrel's ends."""
    row, column = np.divmod(np.asarray(cell, np.int64), geometry.EB_COLUMNS)
    return np.clip(row - SEED, 0, geometry.EB_ROWS - SIDE), (column - SEED) % geometry.EB_COLUMNS


def cut(showers, first_row: np.ndarray, first_column: np.ndarray):
    """The showers in the view "crop": the hits in a window of 32 x 32 crystals of the barrel.

    Args:
      showers: `Showers` in the view "barrel".
      first_row: lowest row of each window, 0 to 138, integers `[n]`.
      first_column: its first column, integers `[n]`; columns wrap around in phi.

    Raises:
      ValueError: a window leaves the barrel, or a cell is no crystal of it.
    """
    first_row, first_column = np.asarray(first_row, np.int64), np.asarray(first_column, np.int64)
    outside = np.flatnonzero((first_row < 0) | (first_row > geometry.EB_ROWS - SIDE))
    if outside.size:
        first = first_row[outside[0]]
        raise ValueError(
            f"The crop of {address(showers, outside[0])} leaves the barrel: its rows are {first} to "
            f"{first + SIDE - 1}, of 0 to {geometry.EB_ROWS - 1}. crops.window shifts it inside."
        )
    cut_out = {}
    for name in ("crystals", "digis"):
        ragged = getattr(showers, name)
        owner, cell = ragged.event_index, ragged.cell.astype(np.int64)
        if (bad := np.flatnonzero(cell >= CELLS["barrel"])).size:
            raise ValueError(
                f"{address(showers, owner[bad[0]])}: {name}.cell = {cell[bad[0]]} is no crystal of the "
                f"barrel (0 to {CELLS['barrel'] - 1})."
            )
        row, column = np.divmod(cell, geometry.EB_COLUMNS)
        row = row - first_row[owner]
        column = (column - first_column[owner]) % geometry.EB_COLUMNS
        inside = (row >= 0) & (row < SIDE) & (column < SIDE)
        place = {"cell": (row * SIDE + column).astype(np.uint16)}
        cut_out[name] = dataclasses.replace(ragged, columns={**ragged.columns, **place}).filter(inside)
    return dataclasses.replace(showers, **cut_out)


def address(showers, row: int) -> str:
    """How errors name an event."""
    return f"Event {row} (run {showers.run[row]}, lumi {showers.lumi[row]}, event {showers.event[row]})"


def check_view(view: str, channels: Sequence[str]) -> tuple[str, ...]:
    """The channels as a tuple; raises a ValueError where there is no such view or channel."""
    if view not in SHAPES:
        raise ValueError(f"No view {view!r} of showers; there are {', '.join(map(repr, SHAPES))}.")
    names = (channels,) if isinstance(channels, str) else tuple(channels)
    if not names or len(set(names)) < len(names) or not set(names) <= set(CHANNELS):
        raise ValueError(f"Channels {names} of showers: name at least one of {CHANNELS}, each once.")
    return names
