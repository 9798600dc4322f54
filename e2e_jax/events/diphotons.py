"""Collision events, the output of every source of collisions.

An event has a few scalars, the observables of its study, its reconstructed photons, and four lists of
different length: ECAL barrel hits, ECAL endcap hits, HCAL hits and tracks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from e2e_jax.detector import geometry
from e2e_jax.events.base import Ragged, Record

COLLECTIONS: dict[str, dict[str, type]] = {
    "eb": {"cell": np.uint16, "energy": np.float32},
    "ee": {"cell": np.uint16, "energy": np.float32},
    "hcal": {"cell": np.uint16, "energy": np.float32},
    "tracks": {"pt": np.float32, "eta": np.float32, "phi": np.float32},
}
"""Columns of the hits. `cell` is the index of `detector.geometry`; GeV and rad."""

PHOTONS = {"pt": np.float32, "eta": np.float32, "phi": np.float32}
"""Columns of the photons: GeV, rad."""

CELLS = {"eb": geometry.EB_CELLS, "ee": geometry.EE_CELLS, "hcal": geometry.HCAL_CELLS}


def cell_exists(collection: str, cells: np.ndarray) -> np.ndarray:
    """Which cells of "eb", "ee" or "hcal", below `CELLS`, are existing crystals or towers.

    The grids of the endcaps have corners and a beam hole without crystals, and above |ieta| 20 HCAL towers
    have odd iphi only. Images do not show hits of cells that do not exist.
    """
    if collection == "ee":
        return geometry.ee_exists()[cells]
    if collection == "hcal":
        return geometry.hcal_exists()[cells % geometry.HCAL_TOWERS]
    return np.ones(np.shape(cells), bool)


SCALARS = {"run": np.int64, "lumi": np.int64, "event": np.int64, "label": np.int32}
"""Columns with one number per event."""


def by_pt(photons: Ragged) -> Ragged:
    """The photons of each event in decreasing order of pt, with the columns of `PHOTONS`."""
    order = np.lexsort((-photons.pt, photons.event_index))
    columns = {name: photons.columns[name][order].astype(dtype) for name, dtype in PHOTONS.items()}
    return Ragged(photons.offsets, columns)


def from_leading(photons: np.ndarray) -> Ragged:
    """The photons of an array `[n, k, 3]` of (pt, eta, phi); entries with pt 0 are missing photons."""
    photons = np.asarray(photons, np.float32)
    there = photons[..., 0] != 0
    columns = {name: photons[..., i][there] for i, name in enumerate(PHOTONS)}
    return Ragged.from_counts(there.sum(axis=1), columns)


def leading(photons: Ragged, count: int = 2) -> np.ndarray:
    """The first photons of each event as (pt, eta, phi), float32 `[n, count, 3]`; zeros where missing."""
    out = np.zeros((len(photons), count, 3), np.float32)
    for rank in range(count):
        rows = photons.counts > rank
        entries = photons.offsets[:-1][rows] + rank
        for i, name in enumerate(PHOTONS):
            out[rows, rank, i] = photons.columns[name][entries]
    return out


@dataclasses.dataclass(frozen=True)
class Events(Record):
    """Collision events with their hits in the detector's native segmentation.

    Attributes:
      run, lumi, event: int64 `[n]`, the event's address.
      label: int32 `[n]`, index into the labels of the study; -1 where it is not known.
      photons: reconstructed photons with `pt` in GeV, `eta` and `phi`, leading first. A batch holds the two
        leading ones, see `leading`.
      eb, ee: rec hits with `cell` (`geometry.eb_cell`, `geometry.ee_cell`) and `energy` in GeV.
      hcal: rec hits with `cell` (`geometry.hcal_cell`, which keeps the depth) and `energy` in GeV.
      tracks: highPurity tracks with `pt` in GeV, `eta` and `phi` at the perigee.
      observables: name -> float32 `[n]`, computed by the study's selection, such as "mass" in GeV.
    """

    SCALARS: ClassVar = SCALARS
    OBJECTS: ClassVar = {"photons": PHOTONS}
    COLLECTIONS: ClassVar = COLLECTIONS
    CELLS: ClassVar = CELLS
    BATCHED: ClassVar = {"photons": ((2, 3), np.float32), "label": ((), np.int32)}

    run: np.ndarray
    lumi: np.ndarray
    event: np.ndarray
    label: np.ndarray
    photons: Ragged
    eb: Ragged
    ee: Ragged
    hcal: Ragged
    tracks: Ragged
    observables: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def batched(self) -> dict[str, np.ndarray]:
        """The observables, the label, and the two leading photons as float32 `[n, 2, 3]`."""
        return {**self.observables, "photons": leading(self.photons), "label": self.label}

    @classmethod
    def cell_exists(cls, collection: str, cells: np.ndarray) -> np.ndarray:
        """Which cells are existing crystals or towers, see `diphotons.cell_exists`."""
        return cell_exists(collection, cells)
