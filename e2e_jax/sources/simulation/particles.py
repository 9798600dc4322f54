"""Particles in the detector: flat columns, one row per particle."""

from __future__ import annotations

import dataclasses

import numpy as np

from e2e_jax.events.base import Ragged
from e2e_jax.sources.simulation.columns import Columns

PHOTON, ELECTRON, MUON = 22, 11, 13
K_SHORT, LAMBDA = 310, 3122


@dataclasses.dataclass(frozen=True)
class Particles(Columns):
    """Particles of a batch of events.

    Attributes:
      event: int64 `[n]`, index of the event.
      pdg: int32 `[n]`, PDG Monte Carlo number.
      charge: int8 `[n]`, in units of e.
      position: float64 `[n, 3]`, origin or current position, in cm.
      momentum: float64 `[n, 3]`, in GeV.
      energy: float64 `[n]`, in GeV.
    """

    event: np.ndarray
    pdg: np.ndarray
    charge: np.ndarray
    position: np.ndarray
    momentum: np.ndarray
    energy: np.ndarray

    @classmethod
    def from_generator(cls, record: Ragged, vertex_z: np.ndarray) -> Particles:
        """Convert a generator record, and move each event's vertex to `vertex_z` `[events]`, in cm."""
        event = record.event_index
        position = np.stack([record.x, record.y, record.z + vertex_z[event]], axis=1).astype(np.float64)
        momentum = np.stack([record.px, record.py, record.pz], axis=1).astype(np.float64)
        return cls(event, record.pdg, record.charge, position, momentum, record.e.astype(np.float64))

    @property
    def pt(self) -> np.ndarray:
        """Transverse momentum in GeV, `[n]`."""
        return np.hypot(self.momentum[:, 0], self.momentum[:, 1])

    @property
    def eta(self) -> np.ndarray:
        """Pseudorapidity of the momentum, `[n]`."""
        return np.arcsinh(self.momentum[:, 2] / np.maximum(self.pt, 1e-9))

    @property
    def radius(self) -> np.ndarray:
        """Distance from the beam axis in cm, `[n]`."""
        return np.hypot(self.position[:, 0], self.position[:, 1])

    def is_a(self, *pdg: int) -> np.ndarray:
        """Mask of these particles and their antiparticles, bool `[n]`."""
        return np.isin(np.abs(self.pdg), pdg)

    def __len__(self) -> int:
        return len(self.event)

    def moved(self, position: np.ndarray, momentum: np.ndarray) -> Particles:
        """The same particles with another position and momentum; the energy does not change."""
        return dataclasses.replace(self, position=position, momentum=momentum)
