"""Images of jets: 125 x 125 pixels of the stitched image around an HCAL tower, as those that are not zero.

The window is that of M. Andrews et al., arXiv:1902.08276: 12 towers on each side of the most energetic tower
of the jet, with 5 x 5 pixels per tower. Pixels count from low eta and low phi; phi wraps.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np

from e2e_jax.detector import projections
from e2e_jax.detector.pixels import Canvas, Entries

TOWERS = 25
"""Towers along a side of the window."""

SIDE = TOWERS * projections.TOWER_SIDE
"""Pixels along a side."""

CELLS = {"pixels": SIDE * SIDE, "towers": TOWERS * TOWERS}
"""Collection -> its cells: pixels, and blocks of 5 x 5 pixels of one value; cell = row * side + column."""

CHANNELS = ("tracks", "ecal", "hcal", "d0", "dz", "pixel_1", "pixel_2", "pixel_3")
"""Channels in the order of their numbers: pT, energies in GeV; impact parameters of the tracks; hits in the
layers of the pixel detector."""

_STEP = np.arange(projections.TOWER_SIDE)
_BLOCK = (_STEP[:, None] * SIDE + _STEP).ravel().astype(np.int32)
"""The pixels of a tower, from its first."""


def first_pixel(tower, xp=np):
    """The pixel of lowest row and column of each tower of the window, int32."""
    row, column = tower // TOWERS, tower % TOWERS
    return ((row * SIDE + column) * projections.TOWER_SIDE).astype(xp.int32)


def _entries(number: int, hits: Mapping, xp, matches_authors: bool):
    made = []
    for name, cells in CELLS.items():
        of = hits[name]
        cell = of["cell"].astype(np.int32)
        own = (of["channel"] == number) & (cell < cells)
        if name == "pixels":
            made.append(Entries(name, xp.where(own, cell, SIDE * SIDE), of["value"]))
        else:
            block = first_pixel(cell, xp)[:, None] + xp.asarray(_BLOCK)[None, :]
            made.append(Entries(name, xp.where(own[:, None], block, SIDE * SIDE), of["value"][:, None]))
    return made


JET = Canvas(
    ("jet",),
    (SIDE, SIDE),
    {name: functools.partial(_entries, number) for number, name in enumerate(CHANNELS)},
    dict.fromkeys(CHANNELS, tuple(CELLS)),
)
"""The window around a jet. Each value is added to its pixel, or to each of the 25 pixels of its tower."""


def sparse(images: Sequence[np.ndarray], numbers: Sequence[int]) -> dict[str, dict[str, np.ndarray]]:
    """The pixels of images that are not zero; nothing is lost.

    A channel of an event that is made of blocks of 5 x 5 equal pixels, as the HCAL's, becomes towers.

    Args:
      images: those of each channel, `[n, 125, 125]`.
      numbers: the channels, places in `CHANNELS`.

    Returns:
      "pixels" and "towers" -> `event` int64, ascending, `cell` uint16, `channel` uint8 and `value` float32.
    """
    parts = {name: [] for name in CELLS}
    for number, image in zip(numbers, images, strict=True):
        flat = image.reshape(len(image), -1)
        lit = np.flatnonzero(flat)
        event, cell = lit // (SIDE * SIDE), lit % (SIDE * SIDE)
        value = flat.ravel()[lit].astype(np.float32)
        towers, corner = _in_blocks(event, cell, value, flat)
        parts["pixels"].append((event[~towers], cell[~towers], number, value[~towers]))
        tower = cell // SIDE // projections.TOWER_SIDE * TOWERS + cell % SIDE // projections.TOWER_SIDE
        parts["towers"].append((event[corner], tower[corner], number, value[corner]))
    return {name: _sorted(of) for name, of in parts.items()}


def _in_blocks(event, cell, value, flat) -> tuple[np.ndarray, np.ndarray]:
    """Which entries belong to events of a channel that are made of blocks, and which of these begin one."""
    size = projections.TOWER_SIDE
    counts = np.bincount(event, minlength=len(flat))
    candidate = (counts % size**2 == 0)[event]
    if not candidate.any():
        return candidate, candidate
    row, column = cell // SIDE, cell % SIDE
    first = row // size * size * SIDE + column // size * size
    differs = value != flat[event, first].astype(np.float32)
    corner = cell == first
    begun = np.bincount(event[corner], minlength=len(flat))
    blocks = (np.bincount(event[differs], minlength=len(flat)) == 0) & (begun * size**2 == counts)
    towers = blocks[event]
    return towers, towers & corner


def _sorted(parts) -> dict[str, np.ndarray]:
    event = np.concatenate([part[0] for part in parts])
    order = np.argsort(event, kind="stable")
    return {
        "event": event[order],
        "cell": np.concatenate([part[1] for part in parts])[order].astype(np.uint16),
        "channel": np.concatenate([np.full(len(part[0]), part[2], np.uint8) for part in parts])[order],
        "value": np.concatenate([part[3] for part in parts])[order],
    }
