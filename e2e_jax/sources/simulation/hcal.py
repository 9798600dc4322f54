"""The read-out of the HCAL, and which of its hits reach the analysis format.

Known, from the public source of CMSSW: AODSIM keeps the HBHE hits that a quality flag marks
(`HcalHitSelection`). In simulated events nearly all of these have the flags that look for slow heavy
particles (`HBHETimeProfileStatusBitSetter`, `HSCP_...`; severity level 5). They are given to all channels
with |ieta| up to 15 whose ten samples hold more than 30 fC with their pedestals, whenever the pulse was. And
they are given to all of them or to none in an event: to none where the brightest channel and its neighbors in
phi have the profile of one pulse in time. The ten events of the real AODSIM file agree: 263 of 265 hits have
the flags, in |ieta| 1 to 15 and in every event, with energies down to below zero and with times of the
neighboring crossings.

So the collection does not follow the energy behind photons: it is a list of the channels that noise, pile-up
of three crossings and more, and jets lift over a threshold.

Assumed: the charge per energy and the shape of a pulse, which are rounded, and `WINDOW_THRESHOLD`, which is
fitted to the number of hits in the real file at its own pile-up (`benchmarks/real_file.py`). Two hits of that
file, in one tower of HE, carry another flag (`HBHEPulseShape`); hits like these are left out. The energy is
that of four samples, as in the file, which is of 2011.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from e2e_jax.detector import geometry
from e2e_jax.events.base import Ragged

HCAL_NOISE = 0.2
"""GeV, noise of the energy of an HCAL channel, which is that of four samples."""
HCAL_THRESHOLD = 0.5
"""GeV, an HCAL channel with less is not kept."""
HB_DEEP_SHARE = {15: 0.1, 16: 0.25}
"""Share of a tower's energy in depth 2, the last layers: the barrel towers with two depths are |ieta| 15
and 16 (CMS-TDR-002). The shares are rough: the layers' part of the absorber behind a shower's maximum."""
HE_SHARES = {
    **dict.fromkeys((*range(18, 27), 29), (0.6, 0.4)),
    **dict.fromkeys((27, 28), (0.5, 0.3, 0.2)),
}
"""Shares of a tower's energy in its depths, as rough; the towers and depths of HE in 2012 are those of
the CMS HCAL TDR (CMS-TDR-002), but for HE's third depth of |ieta| 16, which is counted with HB's."""
HB_TOWERS = 17
"""Largest |ieta| that is read; 17, the first tower of HE, still lies on the ECAL barrel's grid."""
HE_TOWERS = 29
"""The same with the endcaps."""

FLAGGED_TOWERS = 15
"""Largest |ieta| of the channels that can have the flags."""
WINDOW_THRESHOLD = 1.6
"""GeV; a channel that shows more in its ten samples has the flags."""
OTHER_SAMPLES_NOISE = 0.25
"""GeV, noise of the six samples that are no part of the energy."""
PEDESTAL = 4.1
"""GeV; what the pedestals of ten samples amount to: with `WINDOW_THRESHOLD`, 30 fC of 0.19 GeV each."""
LARGEST_OUTER_SHARE = 0.1
"""The profile is that of one pulse in time where less than this lies outside of four samples at its peak."""
OUTER_SAMPLES = 0.6
"""Share of the pedestal in the other six samples."""


@dataclasses.dataclass(frozen=True)
class Channels:
    """What the HCAL channels of a batch of events measure.

    Attributes:
      cell: uint16 `[channels]`, `geometry.hcal_cell`, in order.
      energy: float32 `[events, channels]`, GeV.
      window: float32 `[events, channels]`, GeV in all ten samples, with no pedestal.
      in_time: float32 `[events, channels]`, the part of it from the crossing of the event, without noise.
    """

    cell: np.ndarray
    energy: np.ndarray
    window: np.ndarray
    in_time: np.ndarray

    def hits(self) -> Ragged:
        """All hits above `HCAL_THRESHOLD`: `cell` (uint16) and `energy` (float32, GeV), in order."""
        return self._chosen(self.energy > HCAL_THRESHOLD)

    def flagged_hits(self) -> Ragged:
        """The hits that AODSIM keeps, same columns; some have a negative energy."""
        ieta, iphi, _ = geometry.hcal_coordinates(self.cell)
        over = (self.window > WINDOW_THRESHOLD) & (np.abs(ieta) <= FLAGGED_TOWERS)
        return self._chosen(over & ~_one_pulse(over, self.window, self.in_time, iphi)[:, None])

    def _chosen(self, keep: np.ndarray) -> Ragged:
        event, channel = np.nonzero(keep)
        columns = {"cell": self.cell[channel], "energy": self.energy[event, channel]}
        return Ragged.from_counts(np.bincount(event, minlength=len(keep)), columns)


def measure(
    towers: np.ndarray,
    rng: np.random.Generator,
    *,
    late_energy: np.ndarray | float = 0.0,
    late_window: np.ndarray | float = 0.0,
    noise: float = HCAL_NOISE,
    endcaps: bool = False,
) -> Channels:
    """Measures the HCAL towers with |ieta| up to 17, which lie behind the ECAL barrel, or up to 29.

    Args:
      towers: `[events, HCAL_TOWERS]`, energies in GeV before noise, depths summed, at native (ieta, iphi).
      rng: source of the noise.
      late_energy, late_window: what other crossings add to the energy and to all ten samples, as `towers`.
      noise: standard deviation of the noise of the energy of a channel (one depth of a tower), GeV.
      endcaps: read the towers up to |ieta| 29.

    Raises:
      ValueError: `towers` has another shape.
    """
    if towers.ndim != 2 or towers.shape[1] != geometry.HCAL_TOWERS:
        raise ValueError(
            f"HCAL towers have shape {towers.shape}, expected [events, {geometry.HCAL_TOWERS}]: "
            "one row an event, one column a tower, numbered as geometry.hcal_cell numbers depth 1."
        )
    cells, share = _channels(HE_TOWERS if endcaps else HB_TOWERS)
    tower = cells % geometry.HCAL_TOWERS

    def shared(energy: np.ndarray | float) -> np.ndarray:
        return (np.broadcast_to(energy, towers.shape)[:, tower] * share).astype(np.float32)

    in_time = shared(towers)
    fluctuation = np.float32(noise) * rng.standard_normal(in_time.shape, np.float32)
    other = np.float32(noise / HCAL_NOISE * OTHER_SAMPLES_NOISE)
    window = (
        in_time + shared(late_window) + fluctuation + other * rng.standard_normal(in_time.shape, np.float32)
    )
    return Channels(cells, in_time + shared(late_energy) + fluctuation, window, in_time)


def _one_pulse(over: np.ndarray, window: np.ndarray, in_time: np.ndarray, iphi: np.ndarray) -> np.ndarray:
    """Whether the profile of an event `[events]` is that of one pulse in time.

    It is summed over the channels over threshold in the iphi of the brightest one and the next to both sides.

    Args:
      over: bool `[events, channels]`, channels over threshold.
      window, in_time: as in `Channels`.
      iphi: `[channels]`.
    """
    bright = np.where(over, window, -np.inf).argmax(axis=1)
    beside = over & (np.abs(iphi - iphi[bright][:, None]) < 2)
    pedestal = PEDESTAL * beside.sum(axis=1)
    total = pedestal + (window * beside).sum(axis=1)
    outer = OUTER_SAMPLES * pedestal + ((window - in_time) * beside).sum(axis=1)
    return outer < LARGEST_OUTER_SHARE * total


@functools.cache
def _channels(last: int) -> tuple[np.ndarray, np.ndarray]:
    """The cells up to |ieta| `last` and the share of its tower's energy that each sees, in order of depth."""
    cells, shares = [], []
    for depth in (1, 2, 3):
        for ieta in (*range(-last, 0), *range(1, last + 1)):
            share = _depth_shares(abs(ieta))
            if depth <= len(share):
                step = 2 if abs(ieta) > geometry.HCAL_LAST_NARROW else 1
                cells.append(geometry.hcal_cell(ieta, np.arange(1, geometry.HCAL_COLUMNS + 1, step), depth))
                shares.append(np.full(len(cells[-1]), share[depth - 1], np.float32))
    return np.concatenate(cells), np.concatenate(shares)


def _depth_shares(ring: int) -> tuple[np.float32, ...]:
    """Shares of the energy of a tower with this |ieta| in its depths."""
    if ring in HE_SHARES:
        return HE_SHARES[ring]
    deep = np.float32(HB_DEEP_SHARE.get(ring, 0.0))
    return (1 - deep, deep) if deep else (np.float32(1),)
