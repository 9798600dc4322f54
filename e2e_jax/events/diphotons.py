"""The event record: what every source of collisions produces and everything downstream reads.

An event is a handful of scalars, two photons, and four lists of different length: ECAL barrel
hits, ECAL endcap hits, HCAL hits and tracks.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from e2e_jax.detector import geometry
from e2e_jax.events.base import Ragged, Record

CLASSES = ("gamma_gamma", "h", "gamma_jet")
"""Class names in label order, as in the authors' files: 0 Born gamma gamma, 1 H, 2 gamma+jet."""

COLLECTIONS: dict[str, dict[str, type]] = {
    "eb": {"cell": np.uint16, "energy": np.float32},
    "ee": {"cell": np.uint16, "energy": np.float32},
    "hcal": {"cell": np.uint16, "energy": np.float32},
    "tracks": {"pt": np.float32, "eta": np.float32, "phi": np.float32},
}
"""Columns of the ragged collections. `cell` is the index of `detector.geometry`; GeV and rad."""

CELLS = {"eb": geometry.EB_CELLS, "ee": geometry.EE_CELLS, "hcal": geometry.HCAL_CELLS}


def cell_exists(collection: str, cells: np.ndarray) -> np.ndarray:
    """Which cells of "eb", "ee" or "hcal", below `CELLS`, name a crystal or tower that there is.

    Not all numbers do: the endcaps' grids have corners and a beam hole, and above |ieta| 20 the HCAL's towers
    have odd iphi. No image would show such a hit.
    """
    if collection == "ee":
        return geometry.ee_exists()[cells]
    if collection == "hcal":
        return geometry.hcal_exists()[cells % geometry.HCAL_TOWERS]
    return np.ones(np.shape(cells), bool)


SCALARS = {
    "run": np.int64,
    "lumi": np.int64,
    "event": np.int64,
    "mass": np.float32,
    "label": np.int32,
}
"""Columns with one number an event; mass is the diphoton mass in GeV."""

TENSORS = {"photons": ((2, 3), np.float32)}
"""(pt, eta, phi) of the two photons, leading first; GeV, rad."""


@dataclasses.dataclass(frozen=True)
class Events(Record):
    """Collision events with their hits in the detector's native segmentation.

    Attributes:
      run, lumi, event: int64 `[n]`, the event's address.
      mass: float32 `[n]`, diphoton mass in GeV.
      photons: float32 `[n, 2, 3]`, (pt, eta, phi) of the two photons, leading first; GeV, rad.
      label: int32 `[n]`, index into `CLASSES`; -1 where it is not known.
      eb, ee: rec hits with `cell` (`geometry.eb_cell`, `geometry.ee_cell`) and `energy` in GeV.
      hcal: rec hits with `cell` (`geometry.hcal_cell`, which keeps the depth) and `energy` in GeV.
      tracks: highPurity tracks with `pt` in GeV, `eta` and `phi` at the perigee.
    """

    CLASSES: ClassVar = CLASSES
    SCALARS: ClassVar = SCALARS
    TENSORS: ClassVar = TENSORS
    COLLECTIONS: ClassVar = COLLECTIONS
    CELLS: ClassVar = CELLS
    BATCHED: ClassVar = ("mass", "photons", "label")

    run: np.ndarray
    lumi: np.ndarray
    event: np.ndarray
    mass: np.ndarray
    photons: np.ndarray
    label: np.ndarray
    eb: Ragged
    ee: Ragged
    hcal: Ragged
    tracks: Ragged

    @classmethod
    def cell_exists(cls, collection: str, cells: np.ndarray) -> np.ndarray:
        """Which cells name a crystal or tower that there is, as the function of this module."""
        return cell_exists(collection, cells)

    def validate(self) -> Events:
        """Returns itself, or raises a ValueError that names the first bad event and value."""
        super().validate()
        self._refuse("mass", self.mass <= 0, "is not a positive mass in GeV")
        return self
