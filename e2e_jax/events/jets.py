"""The record of jets: what was measured around each, as the pixels of its image that are not zero."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from e2e_jax.detector import jet_pixels
from e2e_jax.events.base import Ragged, Record

HITS = {"cell": np.uint16, "channel": np.uint8, "value": np.float32}
"""Columns of the hits: the cell of `jet_pixels.CELLS`, the place in `jet_pixels.CHANNELS`, and the value."""


@dataclasses.dataclass(frozen=True)
class Jets(Record):
    """Jets with the hits around them, on a grid of crystals around an HCAL tower.

    Attributes:
      run, lumi, event: int64 `[n]`, the event's address.
      label: int32 `[n]`, index into the labels of the study; -1 where it is not known.
      pixels, towers: crystals and blocks of 5 x 5 crystals, see `jet_pixels`.
      observables: name -> float32 `[n]`, such as "pt" and "m0" in GeV.
    """

    SCALARS: ClassVar = {"run": np.int64, "lumi": np.int64, "event": np.int64, "label": np.int32}
    COLLECTIONS: ClassVar = {"pixels": HITS, "towers": HITS}
    CELLS: ClassVar = jet_pixels.CELLS
    BATCHED: ClassVar = {"label": ((), np.int32)}

    run: np.ndarray
    lumi: np.ndarray
    event: np.ndarray
    label: np.ndarray
    pixels: Ragged
    towers: Ragged
    observables: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_images(
        cls,
        images: np.ndarray,
        channels: Sequence[int],
        lumi: int,
        event: np.ndarray,
        label: np.ndarray,
        observables: Mapping[str, np.ndarray],
        last: bool = False,
    ) -> Jets:
        """Jets of dense images.

        Args:
          images, channels, last: as for `jet_pixels.sparse`.
          lumi: luminosity section of all of them.
          event, label, observables: `[n]` each.
        """
        n = len(event)
        hits = {}
        for name, columns in jet_pixels.sparse(images, channels, last).items():
            counts = np.bincount(columns.pop("event"), minlength=n)
            hits[name] = Ragged.from_counts(counts, columns)
        return cls(
            run=np.ones(n, np.int64),
            lumi=np.full(n, lumi, np.int64),
            event=np.asarray(event, np.int64),
            label=np.asarray(label, np.int32),
            observables={name: np.asarray(values, np.float32) for name, values in observables.items()},
            **hits,
        )

    def validate(self, labels: int | None = None) -> Jets:
        """Returns itself, or raises a ValueError that names the first bad jet and value.

        Args:
          labels: how many labels the dataset has; not checked by default.
        """
        super().validate(labels)
        for name in self.COLLECTIONS:
            ragged = getattr(self, name)
            unknown = ragged.channel >= len(jet_pixels.CHANNELS)
            why = f"is no channel (0 to {len(jet_pixels.CHANNELS) - 1})"
            self._refuse(f"{name}.channel", unknown, why, ragged)
        return self
