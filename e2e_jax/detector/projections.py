"""Tables from cells and directions to the pixels of the images with endcaps, computed once.

Every image is a fixed linear map of the hits (M. Andrews et al., arXiv:1807.11916, Section 4). The tables
hold the parts of the map that have no formula: endcap crystals on the stitched image, and towers on endcap
crystals. `matches_authors=True` uses the arithmetic of the paper's authors where it differs: the tower edge
2.322 instead of 2.332 (`AUTHORS_EDGE`), and half of the energy in the outermost row of the smeared endcap.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from e2e_jax.detector import geometry

FULL_ROWS, FULL_COLUMNS = 280, 360
"""The stitched image: rows 0-54 EE-, 55-224 the barrel, 225-279 EE+; columns as the barrel's."""
FULL_PIXELS = FULL_ROWS * FULL_COLUMNS
ENDCAP_ROWS = (FULL_ROWS - geometry.EB_ROWS) // 2
"""Rows of an endcap on the stitched image: 11 rings of towers, 5 rows each."""

BARREL_RINGS = 17
"""HCAL towers up to this |ieta| lie over the ECAL barrel: 5 x 5 crystals each. Those above lie over EE."""
LAST_RING = 28
"""Tower 29 overlaps tower 28 in eta and is read out with it; the images count it as 28."""
TOWER_SIDE = 5
"""Crystals, or rows and columns of the stitched image, along a side of a tower."""
PHI_SHIFT = 2
"""HCAL iphi = 1 lies in front of the EB crystals iphi 11 to 15, two towers on."""

MAX_TRACK_ETA = 3.0
AUTHORS_EDGE = 2.322
"""Edge between towers 25 and 26 in the authors' code; it is 2.332 in CMSSW's geometry."""

_ETA_STEPS, _PHI_STEPS = 500, 720
"""Grid of directions: steps per unit of |eta| and per quarter turn in phi; about a ninth of a crystal."""
_FIRST_ETA = int(geometry.EB_MAX_ETA * _ETA_STEPS)


class Smearing(NamedTuple):
    """The pixels of the stitched image that share the energy of each endcap cell.

    Attributes:
      pixel: int32 `[EE_CELLS, 4]`; `FULL_PIXELS` where there is no crystal or no further pixel.
      share: float32 `[EE_CELLS, 4]`, the part of the energy that the pixel gets.
    """

    pixel: np.ndarray
    share: np.ndarray


class TowerCrystals(NamedTuple):
    """The endcap crystals behind each HCAL tower.

    Attributes:
      cell: int32 `[HCAL_TOWERS, most]`, the endcap cells whose centers lie in the tower's box, padded with
        `EE_CELLS`.
      share: float32 `[HCAL_TOWERS]`, 1 / number of these cells; 0 if there are none.
    """

    cell: np.ndarray
    share: np.ndarray


class TowerBlocks(NamedTuple):
    """The blocks of 5 x 5 pixels that each HCAL tower covers on the stitched image.

    Attributes:
      block: int32 `[HCAL_TOWERS]`, the first of them, row * `HCAL_COLUMNS` + column, counted in blocks; the
        number of blocks where there is no such tower.
      wide: bool `[HCAL_TOWERS]`, whether it covers the next block of the row as well (|ieta| > 20).
    """

    block: np.ndarray
    wide: np.ndarray


def endcap_cell(eta, phi, xp=np):
    """The endcap crystal nearest to a direction, int32; -1 outside of 1.479 < |eta| <= 3 and for NaN.

    A direction just outside the outermost crystals gets the nearest of them, as in CMSSW's `getClosestCell`,
    so that no track in the acceptance is lost.

    Args:
      eta, phi: direction in rad, any phi convention; arrays of equal shape.
      xp: the array module, numpy or jax.numpy. Both work in float32 and agree.
    """
    eta, phi = xp.asarray(eta, np.float32), xp.asarray(phi, np.float32)
    known = (abs(eta) > np.float32(geometry.EB_MAX_ETA)) & (abs(eta) <= np.float32(MAX_TRACK_ETA))
    known &= xp.isfinite(phi)
    phi = xp.where(known, phi, np.float32(0))
    distance = xp.where(known, abs(eta), np.float32(MAX_TRACK_ETA))
    row = xp.floor(distance * np.float32(_ETA_STEPS)).astype(np.int32) - _FIRST_ETA
    turn = xp.floor(phi * np.float32(2 * _PHI_STEPS / np.pi)).astype(np.int32) % (4 * _PHI_STEPS)
    quarter, step = turn // _PHI_STEPS, turn % _PHI_STEPS
    step = xp.where(quarter % 2 == 1, _PHI_STEPS - 1 - step, step)
    crystal = xp.asarray(_quadrant())[row, step].astype(np.int32)
    half = geometry.EE_SIDE // 2
    x, y = crystal % half, crystal // half
    x = xp.where((quarter == 1) | (quarter == 2), half - 1 - x, half + x)
    y = xp.where(quarter >= 2, half - 1 - y, half + y)
    side = (eta > 0).astype(np.int32)
    cell = side * geometry.EE_SIDE**2 + y * geometry.EE_SIDE + x
    return xp.where(known, cell, np.int32(-1))


@functools.cache
def stitched_pixels(matches_authors: bool = False) -> np.ndarray:
    """Pixel of each endcap cell on the stitched image before any smearing, int32 `[EE_CELLS]`.

    The center of a crystal decides: its column is that of the barrel crystal at the same phi, its row one of
    the 5 into which each ring of towers is divided in eta. `FULL_PIXELS` where there is no crystal.
    """
    crystals = geometry.ee_crystals()
    edges = _ring_edges(matches_authors)
    steps = np.arange(ENDCAP_ROWS + 1) / TOWER_SIDE
    rows = np.interp(steps, np.arange(len(edges)), edges)
    depth = np.searchsorted(rows, abs(crystals.eta), side="right") - 1
    first_plus = ENDCAP_ROWS + geometry.EB_ROWS
    row = np.where(crystals.z > 0, first_plus + depth, ENDCAP_ROWS - 1 - depth)
    # Columns are one degree wide and are those of the barrel: iphi = 11 spans 0 to 1 degree.
    column = (np.floor(np.rad2deg(crystals.phi)).astype(int) + PHI_SHIFT * TOWER_SIDE) % FULL_COLUMNS
    pixels = np.full(geometry.EE_CELLS, FULL_PIXELS, np.int32)
    pixels[crystals.cell] = row * FULL_COLUMNS + column
    return _frozen(pixels)


@functools.cache
def smeared_pixels(matches_authors: bool = False) -> Smearing:
    """The smeared endcaps of the stitched image: each block of 2 x 2 pixels shares its energy evenly.

    Blocks are counted from the barrel outwards. An endcap has 55 rows, so the blocks of the outermost row
    have 1 x 2 pixels, each with half of the energy. The authors pad that row to two, share over four pixels
    and remove the padding again, which loses half of the row's energy.
    """
    pixel = stitched_pixels(matches_authors).astype(np.int64)
    row, column = pixel // FULL_COLUMNS, pixel % FULL_COLUMNS
    plus = row >= ENDCAP_ROWS + geometry.EB_ROWS
    depth = np.where(plus, row - ENDCAP_ROWS - geometry.EB_ROWS, ENDCAP_ROWS - 1 - row)
    depths = (depth - depth % 2)[:, None] + np.array([0, 0, 1, 1])
    columns = (column - column % 2)[:, None] + np.array([0, 1, 0, 1])
    rows = np.where(plus[:, None], depths + ENDCAP_ROWS + geometry.EB_ROWS, ENDCAP_ROWS - 1 - depths)
    inside = (depths < ENDCAP_ROWS) & (pixel < FULL_PIXELS)[:, None]
    places = 4 if matches_authors else np.maximum(inside.sum(1, keepdims=True), 1)
    share = np.where(inside, 1 / places, 0)
    pixels = np.where(inside, rows * FULL_COLUMNS + columns, FULL_PIXELS)
    return Smearing(_frozen(pixels.astype(np.int32)), _frozen(share.astype(np.float32)))


@functools.cache
def tower_crystals(matches_authors: bool = False) -> TowerCrystals:
    """The endcap crystals over which a tower's energy is shared evenly: |ieta| > 17, 28 and 29 as one.

    A tower's box has its true width in phi, 10 degrees for |ieta| > 20.
    """
    crystals = geometry.ee_crystals()
    ring = BARREL_RINGS + np.searchsorted(_ring_edges(matches_authors), abs(crystals.eta), side="right")
    column = np.floor(np.rad2deg(crystals.phi) / 5).astype(int) % geometry.HCAL_COLUMNS
    column = np.where(ring > geometry.HCAL_LAST_NARROW, column - column % 2, column)
    tower = _hcal_row(np.where(crystals.z > 0, ring, -ring)) * geometry.HCAL_COLUMNS + column
    counts = np.bincount(tower, minlength=geometry.HCAL_TOWERS)
    order = np.argsort(tower, kind="stable")
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    cell = np.full((geometry.HCAL_TOWERS, counts.max()), geometry.EE_CELLS, np.int32)
    cell[tower[order], place] = crystals.cell[order]
    # Tower 29 has the crystals of tower 28.
    source = _hcal_row(np.clip(_HCAL_IETA, -LAST_RING, LAST_RING)) * geometry.HCAL_COLUMNS + _HCAL_COLUMN
    share = (counts > 0) / np.maximum(counts, 1)
    return TowerCrystals(_frozen(cell[source]), _frozen(share[source].astype(np.float32)))


@functools.cache
def tower_blocks() -> TowerBlocks:
    """The pixels of each tower on the stitched image; a wide tower's block spans two columns of towers."""
    ring = np.minimum(abs(_HCAL_IETA), LAST_RING)
    row = np.where(_HCAL_IETA > 0, LAST_RING - 1 + ring, LAST_RING - ring)
    column = (_HCAL_COLUMN + PHI_SHIFT) % geometry.HCAL_COLUMNS
    wide = abs(_HCAL_IETA) > geometry.HCAL_LAST_NARROW
    block = np.where(
        geometry.hcal_exists(), row * geometry.HCAL_COLUMNS + column, FULL_PIXELS // TOWER_SIDE**2
    )
    return TowerBlocks(_frozen(block.astype(np.int32)), _frozen(wide))


_HCAL_ROW, _HCAL_COLUMN = np.divmod(np.arange(geometry.HCAL_TOWERS), geometry.HCAL_COLUMNS)
_HCAL_IETA = np.where(_HCAL_ROW < geometry.HCAL_ROWS // 2, _HCAL_ROW - 29, _HCAL_ROW - 28)
"""Row, column (iphi - 1) and ieta of each place on the towers' grid, including places without a tower."""


def _hcal_row(ieta: np.ndarray) -> np.ndarray:
    return np.where(ieta > 0, ieta + 28, ieta + 29)


def _ring_edges(matches_authors: bool) -> np.ndarray:
    """Eta edges of the rings of towers over an endcap, 18 to 28, float64 `[12]`; 29 is part of 28."""
    edges = np.array([*geometry.HCAL_ETA_EDGES[BARREL_RINGS:LAST_RING], geometry.HCAL_ETA_EDGES[-1]])
    if matches_authors:
        edges[25 - BARREL_RINGS] = AUTHORS_EDGE
    return edges


@functools.cache
def _quadrant() -> np.ndarray:
    """The crystal nearest to each direction of the grid with x, y > 0, int16 `[eta steps, phi steps]`.

    A crystal is row * 50 + column, counted from the corner of the quadrant at the beam. The distance is
    measured between the lines of sight in a plane of constant z.
    """
    crystals = geometry.ee_crystals()
    ix, iy, zside = geometry.ee_coordinates(crystals.cell)
    half = geometry.EE_SIDE // 2
    ours = (ix > half) & (iy > half) & (zside > 0)
    number = ((iy - 1 - half) * half + ix - 1 - half)[ours]
    x, y = (np.float32(side[ours] / crystals.z[ours]) for side in (crystals.x, crystals.y))
    eta = (np.arange(_FIRST_ETA, int(MAX_TRACK_ETA * _ETA_STEPS) + 1) + 0.5) / _ETA_STEPS
    phi = (np.arange(_PHI_STEPS) + 0.5) * (np.pi / 2 / _PHI_STEPS)
    nearest = np.empty((len(eta), len(phi)), np.int16)
    for i, radius in enumerate(1 / np.sinh(eta)):
        # Only the crystals in the ring can be the nearest.
        ring = np.flatnonzero(abs(np.hypot(x, y) - np.clip(radius, 0.108, 0.462)) < 0.016)
        distance = (x[ring] - (radius * np.cos(phi))[:, None]) ** 2
        distance += (y[ring] - (radius * np.sin(phi))[:, None]) ** 2
        nearest[i] = number[ring[distance.argmin(1)]]
    return _frozen(nearest)


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
