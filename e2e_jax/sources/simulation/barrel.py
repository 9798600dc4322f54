"""The barrel in units of crystals: entry points of particles and positions of energy spots."""

from __future__ import annotations

import dataclasses

import numpy as np

from e2e_jax.detector import geometry
from e2e_jax.sources.simulation.columns import Columns, EnergySpots
from e2e_jax.sources.simulation.particles import Particles
from e2e_jax.sources.simulation.propagation import ECAL_RADIUS, to_radius

CRYSTAL_PITCH = 2.35
"""Crystal size in cm at the depth of the shower: 2.2 in front, 2.6 at the rear (CMS ECAL TDR)."""
OFF_POINTING = np.tan(np.radians(3.0))
"""Crystal axes miss the interaction point by 3 degrees, in eta and in phi (CMS ECAL TDR)."""
MODULE_ROWS = (0, 25, 45, 65)
"""abs(ieta) of the last crystal before each boundary between modules (CMS ECAL TDR)."""
MODULE_COLUMNS = 20
"""Crystals in phi of a supermodule."""
GAP = 0.6
"""cm between the crystals of two modules; the CMS ECAL TDR has 6 to 7 mm."""
GAP_LOSS = 0.3
"""Share of the energy in a gap that is lost; the rest continues into crystals. Assumed, so that a photon in
the middle of a gap loses a tenth of its energy."""


@dataclasses.dataclass(frozen=True)
class Entries(Columns):
    """Particles at the barrel's front face.

    Attributes:
      particles: `[n]`, at the front face.
      row, column: float64 `[n]`; crystal (r, c) covers `[r, r + 1) x [c, c + 1)`.
      slope_row, slope_column: float64 `[n]`, lateral shift per unit of depth, relative to the crystals.
    """

    particles: Particles
    row: np.ndarray
    column: np.ndarray
    slope_row: np.ndarray
    slope_column: np.ndarray

    def __len__(self) -> int:
        return len(self.row)


def to_face(particles: Particles) -> tuple[Particles, np.ndarray]:
    """Particles that reach the barrel, moved to its front face, and bool `[n]`, true for all others."""
    at_face, reached = to_radius(particles, ECAL_RADIUS)
    reached &= np.abs(np.arcsinh(at_face.position[:, 2] / ECAL_RADIUS)) < geometry.EB_MAX_ETA
    return at_face[reached], ~reached


def enter(particles: Particles) -> Entries:
    """Move particles to the barrel's front face; those that miss it are dropped."""
    return entries(to_face(particles)[0])


def entries(at_face: Particles) -> Entries:
    """Entry points and slopes of particles at the barrel's front face.

    The slope of a shower across crystals has two causes. The crystals point near the nominal interaction
    point, but particles come from their own vertex; and the crystal axes are tilted on purpose.
    """
    eta = np.arcsinh(at_face.position[:, 2] / ECAL_RADIUS)
    phi = np.arctan2(at_face.position[:, 1], at_face.position[:, 0])
    row = np.interp(eta, geometry.eb_eta_edges(), np.arange(geometry.EB_ROWS + 1))
    column = (np.degrees(phi) + 10) % 360  # iphi = 1 is centered at -9.5 degrees

    direction = at_face.momentum / np.linalg.norm(at_face.momentum, axis=1, keepdims=True)
    outward = at_face.position / np.linalg.norm(at_face.position, axis=1, keepdims=True)
    around = np.stack([-np.sin(phi), np.cos(phi), np.zeros_like(phi)], axis=1)
    forward = np.cross(outward, around)
    forward *= np.sign(forward[:, 2:])
    depth = np.maximum((direction * outward).sum(1), 0.2)
    slope_row = (direction * forward).sum(1) / depth - np.sign(eta) * OFF_POINTING
    slope_column = (direction * around).sum(1) / depth - OFF_POINTING
    return Entries(at_face, row, column, slope_row, slope_column)


@dataclasses.dataclass(frozen=True)
class Spots(EnergySpots):
    """Points of energy in a batch of events, in units of crystals.

    Attributes:
      event: `[n]`, index of the event.
      row, column: `[n]`; crystal (r, c) covers `[r, r + 1) x [c, c + 1)`; columns wrap around.
      energy: `[n]`, GeV.
    """

    event: np.ndarray
    row: np.ndarray
    column: np.ndarray
    energy: np.ndarray

    def in_crystals(self, events: int) -> np.ndarray:
        """Energy in each crystal, float64 `[events, 61200]`.

        Energy beyond the barrel's ends is lost, and so is a part of the energy between two modules.
        """
        row, column = np.floor(self.row), np.floor(self.column)
        seen = dataclasses.replace(self, energy=self.energy * (1 - GAP_LOSS * self._in_gap()))
        return seen._on_grid(row, column, geometry.EB_ROWS, geometry.EB_COLUMNS, events)

    def _in_gap(self) -> np.ndarray:
        """Mask of the spots between two modules, bool `[n]`."""
        half = GAP / CRYSTAL_PITCH / 2
        across = np.abs(self.row - geometry.EB_ROWS // 2)
        # `%` gives the same but takes several times as long.
        shifted = self.column + half
        shifted -= MODULE_COLUMNS * np.floor(shifted / MODULE_COLUMNS)
        gap = np.abs(shifted - half) < half
        for boundary in MODULE_ROWS:
            gap |= np.abs(across - boundary) < half
        return gap

    def in_towers(self, events: int) -> np.ndarray:
        """Energy in the HCAL towers behind 5x5 crystals each, float64 `[events, HCAL_TOWERS]`.

        Tower iphi = 1 is behind crystals iphi 11 to 15.
        """
        row = np.floor((self.row - geometry.EB_ROWS // 2) / 5) + geometry.HCAL_ROWS // 2
        column = np.floor(self.column / 5) - 2
        return self._on_grid(row, column, geometry.HCAL_ROWS, geometry.HCAL_COLUMNS, events)

    def _on_grid(self, row, column, rows: int, columns: int, events: int) -> np.ndarray:
        row, column = row.astype(np.int32), column.astype(np.int32)
        column = np.where(column < 0, column + columns, np.where(column >= columns, column - columns, column))
        inside = (row >= 0) & (row < rows)
        return self._binned(row * columns + column, inside, rows * columns, events)
