"""The endcaps: entry points of particles, and positions of energy spots in the true crystals and towers.

The crystals of an endcap form a grid in x and y. Their axes, and the planes between them, meet at a focus
1.3 m beyond the interaction point (CMS ECAL TDR). In the projection from that focus the grid is regular and
the crystals do not taper, so the projection of a point gives its crystal. Lengths are in cm.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from e2e_jax.detector import geometry
from e2e_jax.sources.simulation.columns import EnergySpots
from e2e_jax.sources.simulation.particles import Particles
from e2e_jax.sources.simulation.propagation import ENDCAP_Z, to_plane

FOCUS = 130.0
"""The axes of the crystals of one endcap meet at this distance beyond the interaction point."""
LARGEST_RADIUS = 180.0
"""Particles farther from the beam at the endcap's face miss the crystals and the towers behind them."""
_STEP = 0.02
"""Step of the table of crystal columns; the crystals are 2.9 wide."""


def project(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Project points from the focus of their endcap's crystals to the front face; returns (x, y)."""
    scale = (ENDCAP_Z + FOCUS) / (np.abs(z) + FOCUS)
    return x * scale, y * scale


def crystal_at(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Cell of the crystal that contains each point, int64; -1 if there is none."""
    table = _columns()
    column, row = (table[_index(place, len(table))] for place in project(x, y, z))
    side = geometry.EE_SIDE
    inside = (column >= 0) & (row >= 0)
    cell = np.where(inside, ((z > 0) * side + row) * side + column, 0)
    return np.where(inside & geometry.ee_exists()[cell], cell, -1)


@functools.cache
def column_centres() -> np.ndarray:
    """Projected x of the columns of crystals, and equally y of the rows, float64 `[100]`."""
    crystals = geometry.ee_crystals()
    column = geometry.ee_coordinates(crystals.cell)[0] - 1
    x, _ = project(crystals.x, crystals.y, crystals.z)
    return np.bincount(column, x) / np.bincount(column)


@functools.cache
def _columns() -> np.ndarray:
    """Column of crystals, int64, at each `_STEP` of projected x, from one edge of the endcap to the other."""
    centres = column_centres()
    inner = (centres[1:] + centres[:-1]) / 2
    edges = np.concatenate([[2 * centres[0] - inner[0]], inner, [2 * centres[-1] - inner[-1]]])
    steps = int(np.ceil(edges[-1] / _STEP)) + 2
    place = (np.arange(2 * steps) + 0.5 - steps) * _STEP
    column = np.searchsorted(edges, place) - 1
    return np.where(column < geometry.EE_SIDE, column, -1)


def _index(place: np.ndarray, length: int) -> np.ndarray:
    """Row in `_columns`; positions outside map to its ends, which have no crystal."""
    return np.clip(np.floor(place * (1 / _STEP)).astype(np.int32) + length // 2, 0, length - 1)


@dataclasses.dataclass(frozen=True)
class Entries:
    """Particles at the endcaps' front faces, each at the front of the crystal that it enters.

    Attributes:
      particles: `[n]`.
      frame: float32 `[n, 12]`: the position and three unit vectors: along the particle's direction, and
        across it, away from the beam and around the beam.
    """

    particles: Particles
    frame: np.ndarray

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def eta(self) -> np.ndarray:
        """abs(eta) of the position as seen from the origin, `[n]`."""
        return np.abs(_direction(*self.frame[:, :3].T)[0])

    def spots(
        self, owner: np.ndarray, depth: np.ndarray, out: np.ndarray, around: np.ndarray, energy: np.ndarray
    ) -> Spots:
        """Spots of the entries `owner`, at a depth along their direction and two distances across it."""
        frame = self.frame[owner]
        x, y, z = (
            frame[:, axis]
            + depth * frame[:, 3 + axis]
            + out * frame[:, 6 + axis]
            + around * frame[:, 9 + axis]
            for axis in range(3)
        )
        return Spots(self.particles.event[owner], x, y, z, energy)


def entries(particles: Particles) -> Entries:
    """Move particles that miss the barrel to the endcaps' faces; those that miss both are dropped."""
    at_face, reached = to_plane(particles, ENDCAP_Z)
    at_face = at_face[reached & (at_face.radius < LARGEST_RADIUS)]
    direction = at_face.momentum / np.linalg.norm(at_face.momentum, axis=1, keepdims=True)
    # The fronts of crystals are up to 6 cm behind the foremost one.
    cell = crystal_at(*at_face.position.T)
    gap = np.where(cell >= 0, _fronts()[cell], ENDCAP_Z) - ENDCAP_Z
    place = at_face.position + (gap / np.abs(direction[:, 2]))[:, None] * direction
    sine = np.maximum(np.hypot(direction[:, 0], direction[:, 1]), 1e-6)
    zero = np.zeros(len(place))
    around = np.stack([-direction[:, 1] / sine, direction[:, 0] / sine, zero], axis=1)
    frame = np.concatenate([place, direction, np.cross(around, direction), around], axis=1)
    return Entries(at_face, frame.astype(np.float32))


@functools.cache
def _fronts() -> np.ndarray:
    """abs(z) of the front face of each crystal, float64 `[EE_CELLS]`."""
    fronts = np.full(geometry.EE_CELLS, ENDCAP_Z)
    crystals = geometry.ee_crystals()
    fronts[crystals.cell] = np.abs(crystals.z)
    return fronts


@dataclasses.dataclass(frozen=True)
class Spots(EnergySpots):
    """Points of energy in a batch of events.

    Attributes:
      event: `[n]`, index of the event.
      x, y, z: `[n]`, cm.
      energy: `[n]`, GeV.
    """

    event: np.ndarray
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    energy: np.ndarray

    def in_crystals(self, events: int) -> np.ndarray:
        """Energy in each crystal, float64 `[events, EE_CELLS]`; energy outside the crystals is lost."""
        cell = crystal_at(self.x, self.y, self.z)
        return self._binned(cell, cell >= 0, geometry.EE_CELLS, events)

    def in_towers(self, events: int) -> np.ndarray:
        """Energy in the HCAL towers in the directions of the spots, float64 `[events, HCAL_TOWERS]`.

        Energy beyond |eta| = 3 is lost.
        """
        ieta, iphi = geometry.hcal_tower(*_direction(self.x, self.y, self.z))
        inside = ieta != 0
        row = np.where(ieta > 0, ieta + 28, ieta + 29)
        tower = row * geometry.HCAL_COLUMNS + iphi - 1
        return self._binned(tower, inside, geometry.HCAL_TOWERS, events)


def _direction(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eta and phi of points as seen from the origin."""
    return np.arcsinh(z / np.maximum(np.hypot(x, y), 1e-3)), np.arctan2(y, x)
