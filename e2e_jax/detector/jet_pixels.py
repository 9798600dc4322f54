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


_ROW, _COLUMN = np.divmod(np.arange(SIDE * SIDE), SIDE)
_TOWER = _ROW // projections.TOWER_SIDE * TOWERS + _COLUMN // projections.TOWER_SIDE
"""The tower of each pixel."""
_FIRST = first_pixel(_TOWER)
"""The first pixel of the tower of each pixel."""


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


def sparse(
    images: np.ndarray, numbers: Sequence[int], last: bool = False
) -> dict[str, dict[str, np.ndarray]]:
    """The pixels of images that are not zero; nothing is lost.

    A channel of an event that is made of blocks of 5 x 5 equal pixels, as the HCAL's, becomes towers.

    Args:
      images: `[n, channels, 125, 125]`.
      numbers: the channels, places in `CHANNELS`.
      last: whether the channels are the last axis, `[n, 125, 125, channels]`.

    Returns:
      "pixels" and "towers" -> `event` int64, ascending, `cell` uint16, `channel` uint8 and `value` float32.
    """
    channels, pixels, size = len(numbers), SIDE * SIDE, projections.TOWER_SIDE**2
    layers = len(images) * channels
    flat = np.ascontiguousarray(images).reshape(-1)
    # Finding what is true is ten times faster than finding what is not zero.
    lit = np.flatnonzero(flat != 0)
    if last:
        event, place = np.divmod(lit, channels * pixels)
        cell, channel = np.divmod(place, channels)
        layer, step = event * channels + channel, channels
        counts = np.bincount(layer, minlength=layers)
    else:
        counts = np.diff(np.searchsorted(lit, np.arange(layers + 1) * pixels))
        layer, step = np.repeat(np.arange(layers), counts), 1
        cell = lit - layer * pixels
    # Only channels of events with a multiple of 25 pixels may be made of blocks.
    blocks = counts % size == 0
    entry = np.flatnonzero(blocks[layer])
    first = _FIRST[cell[entry]]
    corner = cell[entry] == first
    differs = flat[lit[entry] + (first - cell[entry]) * step] != flat[lit[entry]]
    blocks &= np.bincount(layer[entry[corner]], minlength=layers) * size == counts
    blocks[layer[entry[differs]]] = False
    rows = {"pixels": np.flatnonzero(~blocks[layer]), "towers": entry[corner & blocks[layer[entry]]]}
    found = {}
    for name, of in rows.items():
        event, channel = np.divmod(layer[of], channels)
        found[name] = {
            "event": event,
            "cell": (_TOWER[cell[of]] if name == "towers" else cell[of]).astype(np.uint16),
            "channel": np.asarray(numbers, np.uint8)[channel],
            "value": flat[lit[of]].astype(np.float32),
        }
    return found
