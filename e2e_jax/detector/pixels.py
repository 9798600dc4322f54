"""The entries of each image and channel: which pixels a hit contributes to, and how much.

The functions take the hits of one event or of several events in a row. Their argument `xp` is numpy or
jax.numpy, so the same code makes images on the device (`detector.images`) and when a dataset is decoded
(`features`). Hits with energy <= 0 (zero suppression), hits outside of the image and hits of cells that do
not exist are skipped: their pixel is the number of pixels of the image.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from e2e_jax.detector import geometry, projections

_BARREL_DROP = geometry.EB_CELLS
_ENDCAP_DROP = geometry.EE_CELLS
_FULL_DROP = projections.FULL_PIXELS
_TOWER = projections.TOWER_SIDE
_FULL_BARREL = projections.ENDCAP_ROWS * projections.FULL_COLUMNS
"""The first pixel of the barrel on the stitched image, which has the barrel's columns."""


class Entries(NamedTuple):
    """Contributions of the hits of one collection to a channel.

    Attributes:
      collection: name of the collection.
      pixel: int32 `[hits]`, or `[hits, m]` if a hit contributes to m pixels: row * columns + column.
      value: float32 `[hits]`, or `[hits, m]`.
    """

    collection: str
    pixel: Any
    value: Any


@dataclasses.dataclass(frozen=True, eq=False)
class Canvas:
    """A map from hits to pixels: one image, or several of the same shape, one above the other.

    It is hashed by identity, so that it can be a static argument of `jit`.

    Attributes:
      images: names of the images, from the top.
      shape: (rows, columns) of all images together.
      entries: channel -> function of (hits, xp, matches_authors) that returns a list of `Entries`.
      collections: channel -> the collections of hits that it reads.
      side: channel -> side of the square blocks of equal pixels in which the channel is drawn; 1 by default.
    """

    images: tuple[str, ...]
    shape: tuple[int, int]
    entries: Mapping[str, Callable]
    collections: Mapping[str, tuple[str, ...]]
    side: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def image_shape(self) -> tuple[int, int]:
        """Rows and columns of each image."""
        return self.shape[0] // len(self.images), self.shape[1]

    def shape_of(self, channel: str) -> tuple[int, int]:
        """Rows and columns in which a channel is drawn, before its pixels are repeated."""
        side = self.side.get(channel, 1)
        return self.shape[0] // side, self.shape[1] // side


def _barrel_tracks(hits: Mapping, xp, matches_authors: bool):
    tracks = hits["tracks"]
    cell = geometry.barrel_cell(tracks["eta"], tracks["phi"], xp)
    pixel = xp.where((tracks["pt"] > 0) & (cell >= 0), cell, _BARREL_DROP)
    return [Entries("tracks", pixel, tracks["pt"])]


def _barrel_ecal(hits: Mapping, xp, matches_authors: bool):
    hits = hits["eb"]
    pixel = xp.where(hits["energy"] > 0, hits["cell"].astype(np.int32), _BARREL_DROP)
    return [Entries("eb", pixel, hits["energy"])]


def _barrel_hcal(hits: Mapping, xp, matches_authors: bool):
    hits, rows, columns = hits["hcal"], 2 * projections.BARREL_RINGS, geometry.HCAL_COLUMNS
    tower = hits["cell"].astype(np.int32) % geometry.HCAL_TOWERS
    row = tower // columns - (geometry.HCAL_ROWS // 2 - projections.BARREL_RINGS)
    column = (tower + projections.PHI_SHIFT) % columns
    kept = (hits["energy"] > 0) & (row >= 0) & (row < rows)
    return [Entries("hcal", xp.where(kept, row * columns + column, rows * columns), hits["energy"])]


def _endcap_tracks(hits: Mapping, xp, matches_authors: bool):
    tracks = hits["tracks"]
    cell = projections.endcap_cell(tracks["eta"], tracks["phi"], xp)
    pixel = xp.where((tracks["pt"] > 0) & (cell >= 0), cell, _ENDCAP_DROP)
    return [Entries("tracks", pixel, tracks["pt"])]


def _endcap_ecal(hits: Mapping, xp, matches_authors: bool):
    hits = hits["ee"]
    exists = _look_up(geometry.ee_exists(), hits["cell"], xp)
    kept = exists & (hits["energy"] > 0)
    return [Entries("ee", xp.where(kept, hits["cell"].astype(np.int32), _ENDCAP_DROP), hits["energy"])]


def _endcap_hcal(hits: Mapping, xp, matches_authors: bool):
    hits, table = hits["hcal"], projections.tower_crystals(matches_authors)
    tower = hits["cell"].astype(np.int32) % geometry.HCAL_TOWERS
    value = (hits["energy"] * xp.asarray(table.share)[tower])[:, None]
    return [Entries("hcal", xp.where(value > 0, xp.asarray(table.cell)[tower], _ENDCAP_DROP), value)]


def _full_tracks(hits: Mapping, xp, matches_authors: bool):
    tracks = hits["tracks"]
    barrel = geometry.barrel_cell(tracks["eta"], tracks["phi"], xp)
    endcap = projections.endcap_cell(tracks["eta"], tracks["phi"], xp)
    stitched = xp.asarray(projections.stitched_pixels(matches_authors))[xp.maximum(endcap, 0)]
    pixel = xp.where(barrel >= 0, barrel + _FULL_BARREL, xp.where(endcap >= 0, stitched, _FULL_DROP))
    return [Entries("tracks", xp.where(tracks["pt"] > 0, pixel, _FULL_DROP), tracks["pt"])]


def _full_ecal(hits: Mapping, xp, matches_authors: bool):
    barrel, endcap, table = hits["eb"], hits["ee"], projections.smeared_pixels(matches_authors)
    cell = barrel["cell"].astype(np.int32)
    kept = (barrel["energy"] > 0) & (cell < geometry.EB_CELLS)
    middle = Entries("eb", xp.where(kept, cell + _FULL_BARREL, _FULL_DROP), barrel["energy"])
    kept = (endcap["energy"] > 0) & (endcap["cell"] < geometry.EE_CELLS)
    cell = xp.where(kept, endcap["cell"].astype(np.int32), 0)  # cell 0 holds no crystal
    value = endcap["energy"][:, None] * xp.asarray(table.share)[cell]
    return [middle, Entries("ee", xp.asarray(table.pixel)[cell], value)]


def _full_hcal(hits: Mapping, xp, matches_authors: bool):
    hits, table = hits["hcal"], projections.tower_blocks()
    tower = hits["cell"].astype(np.int32) % geometry.HCAL_TOWERS
    wide, block = xp.asarray(table.wide)[tower], xp.asarray(table.block)[tower]
    drop = FULL.shape_of("hcal")[0] * FULL.shape_of("hcal")[1]
    kept = (hits["energy"] > 0) & (block < drop)
    pixel = xp.stack([xp.where(kept, block, drop), xp.where(kept & wide, block + 1, drop)], axis=1)
    value = hits["energy"] * xp.where(wide, np.float32(0.5), np.float32(1))
    return [Entries("hcal", pixel, value[:, None])]


def _look_up(table: np.ndarray, cell, xp):
    """The table's entry of each cell, false for cells beyond it."""
    inside = cell < len(table)
    return xp.asarray(table)[xp.where(inside, cell.astype(np.int32), 0)] & inside


def table_canvas(
    image: str, shape: tuple[int, int], tables: Mapping[str, Mapping[str, np.ndarray]]
) -> Canvas:
    """One image from tables of pixels, for the collections that have cells.

    Args:
      image: name of the image.
      shape: (rows, columns).
      tables: channel -> collection ("eb", "ee" or "hcal") -> int `[cells]`, the pixel (row * columns +
        column) of each cell of `detector.geometry`; -1 where the image does not show the cell. For "hcal" the
        cells are towers, `[HCAL_TOWERS]`, and depths are summed.

    Raises:
      ValueError: a collection has no cells, or a table has another length or pixels outside of the image.
    """
    lengths = {"eb": geometry.EB_CELLS, "ee": geometry.EE_CELLS, "hcal": geometry.HCAL_TOWERS}
    checked = {}
    for channel, of in tables.items():
        for collection, table in of.items():
            if collection not in lengths:
                raise ValueError(
                    f"The image {image!r} has a table for {collection!r}; it may have tables for "
                    f"{', '.join(lengths)}."
                )
            table = np.asarray(table, np.int32)
            if table.shape != (lengths[collection],) or table.min() < -1 or table.max() >= math.prod(shape):
                raise ValueError(
                    f"The table of {collection!r} for the image {image!r} must have {lengths[collection]} "
                    f"entries, from -1 to {math.prod(shape) - 1}; it has the shape {table.shape} and entries "
                    f"from {table.min(initial=0)} to {table.max(initial=0)}."
                )
            checked[channel, collection] = np.where(table < 0, math.prod(shape), table).astype(np.int32)

    def entries(channel):
        def of_hits(hits: Mapping, xp, matches_authors: bool):
            return [_by_table(hits[c], c, checked[channel, c], math.prod(shape), xp) for c in tables[channel]]

        return of_hits

    return Canvas(
        (image,), shape, {name: entries(name) for name in tables}, {n: tuple(t) for n, t in tables.items()}
    )


def _by_table(hits: Mapping, collection: str, table: np.ndarray, drop: int, xp) -> Entries:
    cell = hits["cell"].astype(np.int32)
    if collection == "hcal":
        cell = cell % geometry.HCAL_TOWERS
    kept = (hits["energy"] > 0) & (cell < len(table))
    return Entries(
        collection, xp.where(kept, xp.asarray(table)[xp.where(kept, cell, 0)], drop), hits["energy"]
    )


BARREL = Canvas(
    ("barrel",),
    (geometry.EB_ROWS, geometry.EB_COLUMNS),
    {"tracks": _barrel_tracks, "ecal": _barrel_ecal, "hcal": _barrel_hcal},
    {"tracks": ("tracks",), "ecal": ("eb",), "hcal": ("hcal",)},
    {"hcal": _TOWER},
)
"""The ECAL barrel, one pixel per crystal; row and column as in `geometry.EB_ROWS`.

* tracks: pT in GeV at the crystal in the track's direction, |eta| <= 1.479.
* ecal: energy of the barrel hits in GeV.
* hcal: energy in GeV of the tower behind the crystal, depths summed, |ieta| <= 17. Each of the tower's 5 x 5
  crystals shows the whole energy, so the channel sums to 25 times its hits.
"""
ENDCAPS = Canvas(
    ("endcap_minus", "endcap_plus"),
    (2 * geometry.EE_SIDE, geometry.EE_SIDE),
    {"tracks": _endcap_tracks, "ecal": _endcap_ecal, "hcal": _endcap_hcal},
    {"tracks": ("tracks",), "ecal": ("ee",), "hcal": ("hcal",)},
)
"""The two ECAL endcaps, one pixel per crystal: EE- above EE+; row = iy - 1, column = ix - 1.

* tracks: pT in GeV at the crystal in the track's direction, 1.479 < |eta| <= 3.
* ecal: energy of the endcap hits in GeV.
* hcal: energy in GeV of the towers with |ieta| > 17, depths summed and 29 read as part of 28, shared evenly
  by the crystals whose centers lie in the tower's box. Each tower has 6 to 25.
"""
FULL = Canvas(
    ("full",),
    (projections.FULL_ROWS, projections.FULL_COLUMNS),
    {"tracks": _full_tracks, "ecal": _full_ecal, "hcal": _full_hcal},
    {"tracks": ("tracks",), "ecal": ("eb", "ee"), "hcal": ("hcal",)},
    {"hcal": _TOWER},
)
"""The whole detector on the grid of the HCAL, 5 x 5 pixels per tower.

Rows 0-54 are EE-, 55-224 the barrel, 225-279 EE+.

* tracks: pT in GeV at the crystal in the track's direction, |eta| <= 3.
* ecal: energy in GeV. Barrel crystals are pixels; endcap crystals are binned by their centers and smeared
  over blocks of 2 x 2 pixels (`projections.smeared_pixels`).
* hcal: energy in GeV of the towers, depths summed and 29 added to 28. Each of the 5 x 5 pixels shows the
  whole energy, so the channel sums to 25 times its hits. The wide towers with |ieta| > 20 show one half in
  each of their two blocks.
"""


def draw_event(hits: Mapping, canvas: Canvas, channels: Sequence[str]) -> np.ndarray:
    """What `detector.images` draws, with numpy, for one event: float32 `[rows, columns, channels]`."""
    drawn = []
    for channel in channels:
        shape, side = canvas.shape_of(channel), canvas.side.get(channel, 1)
        sums = np.zeros(math.prod(shape))
        for part in canvas.entries[channel](hits, np, False):
            value, kept = np.broadcast_to(part.value, part.pixel.shape), part.pixel < len(sums)
            sums += np.bincount(part.pixel[kept], value[kept], minlength=len(sums))
        image = sums.astype(np.float32).reshape(shape)
        drawn.append(image.repeat(side, axis=0).repeat(side, axis=1))
    return np.stack(drawn, axis=-1)
