"""Showers of single particles and pairs in the ECAL barrel."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from e2e_jax.detector import crops
from e2e_jax.events.base import Ragged, Record

COLLECTIONS = {
    "crystals": {"cell": np.uint16, "energy": np.float32, "time": np.float32},
    "digis": {"cell": np.uint16, "samples": (np.uint16, (crops.SAMPLES,))},
}
"""Columns of the ragged collections: GeV, ns, ADC counts (`crops.PEDESTAL`, `crops.GEV_PER_COUNT`)."""


@dataclasses.dataclass(frozen=True)
class Showers(Record):
    """Particles of a gun, or crops of their showers, with the crystals that were read out.

    `cell` is an index in the view of the dataset, a key of `crops.SHAPES`: "barrel" (`geometry.eb_cell`) or
    "crop", row * 32 + column of the window around the shower.

    Attributes:
      run, lumi, event: int64 `[n]`, the event's address.
      label: int32 `[n]`, index into the labels of the study; -1 where it is not known.
      particles: float32 `[n, 2, 3]`, generated (pt, eta, phi) in GeV and rad; the second row is 0 for a
        single particle, and all is 0 where it is not known.
      crystals: rec hits with `cell`, `energy` in GeV and `time` in ns.
      digis: `cell` and `samples`, ten ADC counts 25 ns apart; none where a dataset has none.
      observables: name -> float32 `[n]`.
    """

    SCALARS: ClassVar = {"run": np.int64, "lumi": np.int64, "event": np.int64, "label": np.int32}
    TENSORS: ClassVar = {"particles": ((2, 3), np.float32)}
    COLLECTIONS: ClassVar = COLLECTIONS
    CELLS: ClassVar = dict.fromkeys(COLLECTIONS, crops.CELLS["barrel"])
    BATCHED: ClassVar = {"label": ((), np.int32)}

    run: np.ndarray
    lumi: np.ndarray
    event: np.ndarray
    label: np.ndarray
    particles: np.ndarray
    crystals: Ragged
    digis: Ragged
    observables: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def validate(self, labels: int | None = None, view: str = "barrel") -> Showers:
        """Returns itself, or raises a ValueError that names the first bad shower and value.

        Args:
          labels: how many labels the dataset has; not checked by default.
          view: the view of `cell`, "barrel" or "crop".
        """
        super().validate(labels)
        for name in COLLECTIONS:
            ragged, cells = getattr(self, name), crops.CELLS[view]
            why = f"is outside the {view} (cells 0 to {cells - 1})"
            self._refuse(f"{name}.cell", ragged.cell >= cells, why, ragged)
        if (empty := np.flatnonzero(self.crystals.counts == 0)).size:
            raise ValueError(
                f"{crops.address(self, empty[0])} has no hit, so it has no shower; {empty.size} such events "
                f"in these {len(self)}. Drop these events, or repair their source."
            )
        return self

    @classmethod
    def cells(cls, inputs) -> dict[str, int]:
        """Number of cells in the view of a network with these `config.inputs`."""
        return dict.fromkeys(COLLECTIONS, crops.CELLS[inputs.geometry])

    @classmethod
    def unread(cls, inputs) -> tuple[str, ...]:
        """The digis, unless the network reads them: they are most of the bytes."""
        return () if "digis" in inputs.channels else ("digis",)
