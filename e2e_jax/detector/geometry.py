"""The cells of the CMS calorimeters: their numbers and positions.

A cell is a uint16 that identifies a crystal or an HCAL readout. `eb_cell`, `ee_cell` and `hcal_cell` compute
it from CMS's own coordinates. Directions are (eta, phi) from the nominal interaction point, angles are in
rad, lengths in cm.
"""

from __future__ import annotations

import functools
import pathlib
from typing import NamedTuple

import numpy as np

EB_ROWS, EB_COLUMNS = 170, 360
"""ECAL barrel: row = ieta - 1 + 85 for ieta > 0, ieta + 85 for ieta < 0; column = iphi - 1."""
EB_CELLS = EB_ROWS * EB_COLUMNS
"""cell = row * 360 + column."""
EB_MAX_ETA = 1.479
"""Outer edge of the last ring of barrel crystals."""

EE_SIDE = 100
EE_CELLS = 2 * EE_SIDE * EE_SIDE
"""ECAL endcaps: cell = side * 10000 + (iy - 1) * 100 + (ix - 1), side 0 is EE-, 1 is EE+."""

EB_CRYSTAL_SIZE, EE_CRYSTAL_SIZE = 0.01745, 0.0447
"""Crystal sizes that give the widths of showers their scale (CMSSW, `EcalClusterTools`)."""
SHAPE_WEIGHT = 4.7
"""Crystals below exp(-4.7) of the energy of 5x5 do not count in the widths of showers."""

HCAL_ROWS, HCAL_COLUMNS = 58, 72
"""HCAL barrel and endcap: row = ieta + 29 for ieta < 0, ieta + 28 for ieta > 0; column = iphi - 1."""
HCAL_TOWERS = HCAL_ROWS * HCAL_COLUMNS
HCAL_DEPTHS = 7
HCAL_CELLS = HCAL_DEPTHS * HCAL_TOWERS
"""cell = (depth - 1) * HCAL_TOWERS + row * 72 + column; `cell % HCAL_TOWERS` is the tower."""
HCAL_LAST_NARROW = 20
"""Towers with |ieta| above this are 10 degrees wide in phi and have odd iphi only."""

HCAL_ETA_EDGES = (
    *(0.087 * n for n in range(20)),
    *(1.740, 1.830, 1.930, 2.043, 2.172, 2.332, 2.500, 2.650, 2.868, 3.000),
)
"""The ring of towers |ieta| = n spans `HCAL_ETA_EDGES[n - 1]` to `HCAL_ETA_EDGES[n]` (CMSSW 5_3)."""

_DATA = pathlib.Path(__file__).parent / "data"


def eb_cell(ieta, iphi) -> np.ndarray:
    """Cell of a barrel crystal, uint16.

    Args:
      ieta: -85 to 85 without 0, any shape.
      iphi: 1 to 360.

    Raises:
      ValueError: there is no such crystal.
    """
    ieta, iphi = _integers(ieta, iphi)
    _check("EB |ieta|", abs(ieta), 1, 85)
    _check("EB iphi", iphi, 1, EB_COLUMNS)
    return (_row(ieta, 85) * EB_COLUMNS + iphi - 1).astype(np.uint16)


def eb_coordinates(cell) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of `eb_cell`: (ieta, iphi)."""
    (cell,) = _integers(cell)
    _check("EB cell", cell, 0, EB_CELLS - 1)
    return _from_row(cell // EB_COLUMNS, 85), cell % EB_COLUMNS + 1


def ee_cell(ix, iy, zside) -> np.ndarray:
    """Cell of an endcap crystal, uint16.

    Args:
      ix, iy: 1 to 100, along CMS x and y on both sides; any shape.
      zside: -1 or 1.

    Raises:
      ValueError: there is no such crystal.
    """
    ix, iy, zside = _integers(ix, iy, zside)
    _check("EE ix", ix, 1, EE_SIDE)
    _check("EE iy", iy, 1, EE_SIDE)
    _check("EE |zside|", abs(zside), 1, 1)
    cell = (zside > 0) * EE_SIDE**2 + (iy - 1) * EE_SIDE + ix - 1
    hole = ~ee_exists()[cell]
    if hole.any():
        raise ValueError(
            f"There is no EE crystal at ix = {ix[hole][0]}, iy = {iy[hole][0]}: "
            "the position is in the beam hole or outside the disc."
        )
    return cell.astype(np.uint16)


def ee_coordinates(cell) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The inverse of `ee_cell`: (ix, iy, zside)."""
    (cell,) = _integers(cell)
    _check("EE cell", cell, 0, EE_CELLS - 1)
    side, crystal = np.divmod(cell, EE_SIDE**2)
    return crystal % EE_SIDE + 1, crystal // EE_SIDE + 1, 2 * side - 1


def hcal_cell(ieta, iphi, depth) -> np.ndarray:
    """Cell of an HB or HE readout, uint16.

    Args:
      ieta: -29 to 29 without 0, any shape.
      iphi: 1 to 72; odd where |ieta| > 20.
      depth: 1 to 7 (1 to 3 in 2011 and 2012).

    Raises:
      ValueError: there is no such readout.
    """
    ieta, iphi, depth = _integers(ieta, iphi, depth)
    _check("HCAL |ieta|", abs(ieta), 1, 29)
    _check("HCAL iphi", iphi, 1, HCAL_COLUMNS)
    _check("HCAL depth", depth, 1, HCAL_DEPTHS)
    absent = (abs(ieta) > HCAL_LAST_NARROW) & (iphi % 2 == 0)
    if absent.any():
        raise ValueError(
            f"HCAL ieta = {ieta[absent][0]} has no iphi = {iphi[absent][0]}: "
            f"above |ieta| {HCAL_LAST_NARROW} iphi is odd."
        )
    tower = _row(ieta, 29) * HCAL_COLUMNS + iphi - 1
    return ((depth - 1) * HCAL_TOWERS + tower).astype(np.uint16)


def hcal_coordinates(cell) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The inverse of `hcal_cell`: (ieta, iphi, depth)."""
    (cell,) = _integers(cell)
    _check("HCAL cell", cell, 0, HCAL_CELLS - 1)
    depth, tower = np.divmod(cell, HCAL_TOWERS)
    return _from_row(tower // HCAL_COLUMNS, 29), tower % HCAL_COLUMNS + 1, depth + 1


@functools.cache
def eb_eta_centres() -> np.ndarray:
    """Eta of the front-face centres of the barrel crystals by row, float64 `[170]`."""
    with np.load(_DATA / "eb_crystals.npz") as table:
        return _frozen(np.concatenate([-table["eta"][::-1], table["eta"]]))


@functools.cache
def eb_eta_edges() -> np.ndarray:
    """Eta edges of the rows of the barrel, float64 `[171]`: midpoints of the centres, +-1.479 outside."""
    centres = eb_eta_centres()
    return _frozen(np.concatenate([[-EB_MAX_ETA], (centres[1:] + centres[:-1]) / 2, [EB_MAX_ETA]]))


@functools.cache
def eb_phi_centres() -> np.ndarray:
    """Phi of the barrel columns in [-pi, pi), float64 `[360]`: iphi - 10.5 degrees."""
    degrees = np.arange(EB_COLUMNS) - 9.5
    return _frozen(np.deg2rad((degrees + 180) % 360 - 180))


def barrel_cell(eta, phi, xp=np):
    """The barrel crystal that a direction points to, int32; -1 for |eta| > 1.479 and for NaN.

    Args:
      eta, phi: direction in rad, any phi convention; arrays of equal shape.
      xp: the array module, numpy or jax.numpy. Both work in float32 and agree.
    """
    eta, phi = xp.asarray(eta, np.float32), xp.asarray(phi, np.float32)
    inner = xp.asarray(eb_eta_edges()[1:-1], np.float32)
    row = xp.searchsorted(inner, eta, side="right").astype(np.int32)
    known = (abs(eta) <= np.float32(EB_MAX_ETA)) & xp.isfinite(phi)
    degrees = xp.where(known, phi, np.float32(0)) * np.float32(180 / np.pi)
    column = (xp.floor(degrees).astype(np.int32) + 10) % EB_COLUMNS
    return xp.where(known, row * EB_COLUMNS + column, np.int32(-1))


def delta_phi(first, second):
    """The angle from the second to the first phi, in [-pi, pi); arrays of numpy or of jax.numpy, in rad."""
    return (first - second + np.pi) % (2 * np.pi) - np.pi


def hcal_tower(eta, phi) -> tuple[np.ndarray, np.ndarray]:
    """The HCAL tower (ieta, iphi) that a direction points to; (0, 0) for |eta| >= 3.

    The lower phi edge of iphi is 5 (iphi - 1) degrees; towers with |ieta| > 20 span iphi and iphi + 1.
    """
    eta, phi = np.asarray(eta, np.float64), np.asarray(phi, np.float64)
    ring = np.searchsorted(HCAL_ETA_EDGES, abs(eta), side="right")
    inside = abs(eta) < HCAL_ETA_EDGES[-1]
    column = np.floor(np.rad2deg(phi) / 5).astype(np.int64) % HCAL_COLUMNS
    column = np.where(ring > HCAL_LAST_NARROW, column - column % 2, column)
    return np.where(inside, np.where(eta < 0, -ring, ring), 0), np.where(inside, column + 1, 0)


class EndcapCrystals(NamedTuple):
    """The crystals of both endcaps in the order of their cells, each column `[14648]`.

    cell uint16; front-face centre x, y, z float64 in cm; its direction eta, phi.
    """

    cell: np.ndarray
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray

    @property
    def eta(self) -> np.ndarray:
        return np.arcsinh(self.z / np.hypot(self.x, self.y))

    @property
    def phi(self) -> np.ndarray:
        return np.arctan2(self.y, self.x)


@functools.cache
def ee_crystals() -> EndcapCrystals:
    """Positions of the endcap crystals. The table holds one quadrant of EE+; the rest follows by symmetry."""
    with np.load(_DATA / "ee_crystals.npz") as table:
        ix, iy, x, y, z = (table[name].astype(np.float64) for name in ("ix", "iy", "x", "y", "z"))
    signs = np.array([(sx, sy, sz) for sx in (1, -1) for sy in (1, -1) for sz in (1, -1)])[:, :, None]
    sx, sy, sz = signs[:, 0], signs[:, 1], signs[:, 2]
    column = np.where(sx > 0, ix - 1, EE_SIDE - ix)
    row = np.where(sy > 0, iy - 1, EE_SIDE - iy)
    cell = ((sz > 0) * EE_SIDE**2 + row * EE_SIDE + column).astype(np.uint16).ravel()
    order = np.argsort(cell)
    # The table is in units of 0.01 mm.
    positions = [(1e-3 * sign * value).ravel()[order] for sign, value in ((sx, x), (sy, y), (sz, z))]
    return EndcapCrystals(*(_frozen(column) for column in (cell[order], *positions)))


@functools.cache
def ee_exists() -> np.ndarray:
    """Which endcap cells hold a crystal, bool `[EE_CELLS]`."""
    exists = np.zeros(EE_CELLS, bool)
    exists[ee_crystals().cell] = True
    return _frozen(exists)


@functools.cache
def hcal_exists() -> np.ndarray:
    """Which HCAL towers exist, bool `[HCAL_TOWERS]`: above |ieta| 20 iphi is odd."""
    row, column = np.divmod(np.arange(HCAL_TOWERS), HCAL_COLUMNS)
    narrow = abs(_from_row(row, HCAL_ROWS // 2)) <= HCAL_LAST_NARROW
    return _frozen(narrow | (column % 2 == 0))


def _row(ieta: np.ndarray, rings: int) -> np.ndarray:
    return np.where(ieta > 0, ieta + rings - 1, ieta + rings)


def _from_row(row: np.ndarray, rings: int) -> np.ndarray:
    return np.where(row < rings, row - rings, row - rings + 1)


def _integers(*values) -> list[np.ndarray]:
    return np.broadcast_arrays(*(np.asarray(value).astype(np.int64, casting="same_kind") for value in values))


def _check(name: str, values: np.ndarray, low: int, high: int) -> None:
    outside = (values < low) | (values > high)
    if outside.any():
        raise ValueError(f"{name} = {values[outside][0]} does not exist; the range is {low} to {high}.")


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
