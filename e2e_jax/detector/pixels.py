"""Which pixels the hits of one event light, and with how much: the entries of each image and channel.

The functions take `xp`, numpy or jax.numpy: the same recipe makes images on the device (`detector.images`)
and where a dataset is decoded (`features`). Hits with energy <= 0 are skipped (zero suppression), and so are
those whose place the image does not have, or that no cell has: their pixel is the image's number of pixels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from e2e_jax.detector import geometry, projections

_BARREL_DROP = geometry.EB_CELLS
_ENDCAP_DROP = geometry.EE_CELLS
_FULL_DROP = projections.FULL_PIXELS
_FULL_BARREL = projections.ENDCAP_ROWS * projections.FULL_COLUMNS
"""The first pixel of the barrel on the stitched image, which has the barrel's columns."""


@dataclasses.dataclass(frozen=True, eq=False)
class Canvas:
    """An image that is drawn in one piece; as a static argument of `jit` it is itself.

    Attributes:
      shape: (rows, columns).
      entries: channel -> function of (hits of one event, xp, matches_authors) that returns pixel int32 `[m]`
        (row * columns + column) and value float32 `[m]`.
      collections: channel -> the collections of hits that it reads.
    """

    shape: tuple[int, int]
    entries: Mapping[str, Callable]
    collections: Mapping[str, tuple[str, ...]]


def _barrel_tracks(hits: Mapping, xp, matches_authors: bool):
    tracks = hits["tracks"]
    cell = geometry.barrel_cell(tracks["eta"], tracks["phi"], xp)
    return xp.where((tracks["pt"] > 0) & (cell >= 0), cell, _BARREL_DROP), tracks["pt"]


def _barrel_ecal(hits: Mapping, xp, matches_authors: bool):
    hits = hits["eb"]
    return xp.where(hits["energy"] > 0, hits["cell"].astype(np.int32), _BARREL_DROP), hits["energy"]


def _barrel_hcal(hits: Mapping, xp, matches_authors: bool):
    hits, side = hits["hcal"], projections.TOWER_SIDE
    tower = hits["cell"].astype(np.int32) % geometry.HCAL_TOWERS
    row = tower // geometry.HCAL_COLUMNS - (geometry.HCAL_ROWS // 2 - projections.BARREL_RINGS)
    column = (tower + projections.PHI_SHIFT) % geometry.HCAL_COLUMNS
    kept = (hits["energy"] > 0) & (row >= 0) & (row < 2 * projections.BARREL_RINGS)
    corner = side * (row * geometry.EB_COLUMNS + column)
    pixel = xp.where(kept[:, None], corner[:, None] + _block(side, geometry.EB_COLUMNS, xp), _BARREL_DROP)
    return pixel.reshape(-1), xp.repeat(hits["energy"], side**2)


def _endcap_tracks(hits: Mapping, xp, matches_authors: bool):
    tracks = hits["tracks"]
    cell = projections.endcap_cell(tracks["eta"], tracks["phi"], xp)
    return xp.where((tracks["pt"] > 0) & (cell >= 0), cell, _ENDCAP_DROP), tracks["pt"]


def _endcap_ecal(hits: Mapping, xp, matches_authors: bool):
    hits = hits["ee"]
    exists = _look_up(geometry.ee_exists(), hits["cell"], xp)
    kept = exists & (hits["energy"] > 0)
    return xp.where(kept, hits["cell"].astype(np.int32), _ENDCAP_DROP), hits["energy"]


def _endcap_hcal(hits: Mapping, xp, matches_authors: bool):
    hits, table = hits["hcal"], projections.tower_crystals(matches_authors)
    tower = hits["cell"].astype(np.int32) % geometry.HCAL_TOWERS
    value = hits["energy"] * xp.asarray(table.share)[tower]
    pixel = xp.where((value > 0)[:, None], xp.asarray(table.cell)[tower], _ENDCAP_DROP)
    return pixel.reshape(-1), xp.repeat(value, table.cell.shape[1])


def _full_tracks(hits: Mapping, xp, matches_authors: bool):
    tracks = hits["tracks"]
    barrel = geometry.barrel_cell(tracks["eta"], tracks["phi"], xp)
    endcap = projections.endcap_cell(tracks["eta"], tracks["phi"], xp)
    stitched = xp.asarray(projections.stitched_pixels(matches_authors))[xp.maximum(endcap, 0)]
    pixel = xp.where(barrel >= 0, barrel + _FULL_BARREL, xp.where(endcap >= 0, stitched, _FULL_DROP))
    return xp.where(tracks["pt"] > 0, pixel, _FULL_DROP), tracks["pt"]


def _full_ecal(hits: Mapping, xp, matches_authors: bool):
    barrel, endcap, table = hits["eb"], hits["ee"], projections.smeared_pixels(matches_authors)
    cell = barrel["cell"].astype(np.int32)
    kept = (barrel["energy"] > 0) & (cell < geometry.EB_CELLS)
    middle = xp.where(kept, cell + _FULL_BARREL, _FULL_DROP)
    kept = (endcap["energy"] > 0) & (endcap["cell"] < geometry.EE_CELLS)
    cell = xp.where(kept, endcap["cell"].astype(np.int32), 0)  # cell 0 holds no crystal
    value = endcap["energy"][:, None] * xp.asarray(table.share)[cell]
    pixel = xp.asarray(table.pixel)[cell].reshape(-1)
    return xp.concatenate([middle, pixel]), xp.concatenate([barrel["energy"], value.reshape(-1)])


def _full_hcal(hits: Mapping, xp, matches_authors: bool):
    hits, table, side = hits["hcal"], projections.tower_blocks(), projections.TOWER_SIDE
    tower = hits["cell"].astype(np.int32) % geometry.HCAL_TOWERS
    wide, corner = xp.asarray(table.wide)[tower], xp.asarray(table.corner)[tower]
    kept = (hits["energy"] > 0) & (corner < _FULL_DROP)
    block = _block(side, projections.FULL_COLUMNS, xp)
    first = xp.where(kept[:, None], corner[:, None] + block, _FULL_DROP)
    second = xp.where((kept & wide)[:, None], corner[:, None] + side + block, _FULL_DROP)
    value = xp.repeat(hits["energy"] * xp.where(wide, np.float32(0.5), np.float32(1)), side**2)
    return xp.concatenate([first.reshape(-1), second.reshape(-1)]), xp.concatenate([value, value])


def _block(side: int, columns: int, xp):
    """Pixels of a square block, counted from its corner, `[1, side * side]`."""
    step = xp.arange(side, dtype=np.int32)
    return (step[:, None] * columns + step[None, :]).reshape(1, -1)


def _look_up(table: np.ndarray, cell, xp):
    """The table's entry of each cell, false for cells beyond it."""
    inside = cell < len(table)
    return xp.asarray(table)[xp.where(inside, cell.astype(np.int32), 0)] & inside


BARREL = Canvas(
    (geometry.EB_ROWS, geometry.EB_COLUMNS),
    {"tracks": _barrel_tracks, "ecal": _barrel_ecal, "hcal": _barrel_hcal},
    {"tracks": ("tracks",), "ecal": ("eb",), "hcal": ("hcal",)},
)
ENDCAPS = Canvas(
    (2 * geometry.EE_SIDE, geometry.EE_SIDE),
    {"tracks": _endcap_tracks, "ecal": _endcap_ecal, "hcal": _endcap_hcal},
    {"tracks": ("tracks",), "ecal": ("ee",), "hcal": ("hcal",)},
)
"""Both endcaps, EE- above EE+, pixel by pixel the cells of `geometry.ee_cell`."""
FULL = Canvas(
    (projections.FULL_ROWS, projections.FULL_COLUMNS),
    {"tracks": _full_tracks, "ecal": _full_ecal, "hcal": _full_hcal},
    {"tracks": ("tracks",), "ecal": ("eb", "ee"), "hcal": ("hcal",)},
)
