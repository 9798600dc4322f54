"""The read-out of the HCAL, and which of its hits reach the analysis format.

Known, from the public source of CMSSW: AODSIM keeps the HBHE hits that a quality flag marks
(`HcalHitSelection`). In simulated events nearly all of these have the flags that look for slow heavy
particles (`HBHETimeProfileStatusBitSetter`, `HSCP_...`; severity level 5). They are given to all channels
with |ieta| up to 15 whose ten samples hold more than 30 fC with their pedestals, at whatever time. And they
are given to all of them or to none in an event: to none where the brightest channel and its neighbors in phi
have the profile of one pulse in time. The ten events of the real AODSIM file agree: 263 of 265 hits have
the flags, in |ieta| 1 to 15 and in every event, with energies down to below zero and with times of the
neighboring crossings.

So the collection does not follow the energy behind photons: it is a list of the channels that noise, pile-up
of three crossings and more, and jets lift over a threshold.

Assumed: the pulse, which is rounded; the least signal that is read out; the charge per energy; and how much
the pedestals of the channels differ, without which fewer of the file's hits would be in the same channels.
`WINDOW_THRESHOLD` is fitted to the number of hits in the real file at its own pile-up
(`benchmarks/real_file.py`). Two hits of that file, in one tower of HE, carry another flag (`HBHEPulseShape`);
hits like these are left out. The energy is that of four samples, as in the file, which is of 2011.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from e2e_jax.detector import geometry
from e2e_jax.events.base import Ragged
from e2e_jax.sources.simulation import crossings

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

SAMPLES = 10
"""Of 25 ns; a pulse in time begins in the fifth."""
FIRST = 4
"""Index of that sample; it and the next three make the energy of a hit."""
PULSE = (0.65, 0.24, 0.08, 0.03)
"""Shares of a pulse in successive samples."""
READ_FROM, READ_ABOVE = 3, 0.25
"""A channel is read out where two successive samples, from this index to the last of the energy, hold more
than this, GeV (CMSSW: `HcalRealisticZS`, 8 counts with the pedestals)."""

FLAGGED_TOWERS = 15
"""Largest |ieta| of the channels that can have the flags."""
WINDOW_THRESHOLD = 1.26
"""GeV; a channel that shows more in its ten samples has the flags."""
PEDESTAL = 30 * 0.19 - WINDOW_THRESHOLD
"""GeV; what the pedestals of ten samples amount to: with the threshold, 30 fC of 0.19 GeV each."""
PEDESTAL_SPREAD = 0.36
"""GeV; by how much these sums differ between channels."""
SEED = 2011
"""Fixes the pedestal of each channel."""
RATIOS = ((0.15, 1.0), (0.1, 0.5))
"""Ranges, for one pulse in time, of the first sample after the peak over the peak, and of the second over the
first (CMSSW, `hscpParameters`)."""
PEAK_SHARE, OUTER_SHARE = (0.4, 0.7), (0.0, 0.1)
"""The same of the share of the peak, and of what lies outside of four samples from one before it on."""


@dataclasses.dataclass(frozen=True)
class Channels:
    """What the HCAL channels of a batch of events measure.

    Attributes:
      cell: uint16 `[channels]`, `geometry.hcal_cell`, in order.
      samples: float32 `[SAMPLES, events, channels]`, GeV above the pedestal.
    """

    cell: np.ndarray
    samples: np.ndarray

    @functools.cached_property
    def energy(self) -> np.ndarray:
        """Energy of each channel, float32 `[events, channels]`, GeV."""
        return self.samples[FIRST : FIRST + len(PULSE)].sum(axis=0)

    def hits(self) -> Ragged:
        """All hits above `HCAL_THRESHOLD`: `cell` (uint16) and `energy` (float32, GeV), in order."""
        return self._chosen(self.energy > HCAL_THRESHOLD)

    def flagged_hits(self) -> Ragged:
        """The hits that AODSIM keeps, same columns; some have a negative energy."""
        ieta, iphi, _ = geometry.hcal_coordinates(self.cell)
        read = self.samples[READ_FROM : FIRST + len(PULSE)]
        over = self.samples.sum(axis=0) + _pedestal_offsets()[self.cell] > WINDOW_THRESHOLD
        over &= (read[1:] + read[:-1]).max(axis=0) > READ_ABOVE
        over &= np.abs(ieta) <= FLAGGED_TOWERS
        return self._chosen(over & ~_one_pulse(over, self.samples, iphi)[:, None])

    def _chosen(self, keep: np.ndarray) -> Ragged:
        event, channel = np.nonzero(keep)
        columns = {"cell": self.cell[channel], "energy": self.energy[event, channel]}
        return Ragged.from_counts(np.bincount(event, minlength=len(keep)), columns)


def measure(
    towers: np.ndarray,
    rng: np.random.Generator,
    *,
    late: np.ndarray | None = None,
    noise: float = HCAL_NOISE,
    endcaps: bool = False,
) -> Channels:
    """Measures the HCAL towers with |ieta| up to 17, which lie behind the ECAL barrel, or up to 29.

    Args:
      towers: `[events, HCAL_TOWERS]`, energies in GeV before noise, depths summed, at native (ieta, iphi).
      rng: source of the noise.
      late: `[crossings, events, HCAL_TOWERS]`, the same of each of `crossings.NEIGHBORS`; none by default.
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
    crossed = [towers] if late is None else [towers, *late]
    tower = cells % geometry.HCAL_TOWERS
    energy = np.stack([each.astype(np.float32)[:, tower] for each in crossed]) * share
    samples = np.tensordot(_pulses()[: len(energy)].T, energy, axes=1)
    of_one = noise / np.sqrt(len(PULSE))
    read = samples[READ_FROM : FIRST + len(PULSE)]
    read += np.float32(of_one) * rng.standard_normal(read.shape, np.float32)
    # Of the other samples only the sum is looked at: their noise is drawn at once.
    rest = np.float32(of_one * np.sqrt(SAMPLES - len(read)))
    samples[0] += rest * rng.standard_normal(samples[0].shape, np.float32)
    return Channels(cells, samples)


@functools.cache
def _pulses() -> np.ndarray:
    """Samples of 1 GeV of this crossing and of each neighbor, float32 `[crossings, SAMPLES]`."""
    pulses = np.zeros((1 + len(crossings.NEIGHBORS), SAMPLES), np.float32)
    for row, time in zip(pulses, (0.0, *crossings.NEIGHBORS), strict=True):
        for step, share in enumerate(PULSE):
            sample = FIRST + round(time / 25) + step
            if 0 <= sample < SAMPLES:
                row[sample] = share
    return pulses


@functools.cache
def _pedestal_offsets() -> np.ndarray:
    """By how much the pedestal of each cell differs from the mean, float32 `[HCAL_CELLS]`, GeV."""
    offsets = np.random.default_rng(SEED).normal(0, PEDESTAL_SPREAD, geometry.HCAL_CELLS)
    return offsets.astype(np.float32)


def _one_pulse(over: np.ndarray, samples: np.ndarray, iphi: np.ndarray) -> np.ndarray:
    """Whether the profile of an event `[events]` is that of one pulse in time.

    It is summed over the channels over threshold in the iphi of the brightest one and the next to both sides.

    Args:
      over: bool `[events, channels]`, channels over threshold.
      samples: as in `Channels`.
      iphi: `[channels]`.
    """
    bright = np.where(over, samples.sum(axis=0), -np.inf).argmax(axis=1)
    beside = over & (np.abs(iphi - iphi[bright][:, None]) < 2)
    profile = (samples * beside).sum(axis=2).T + PEDESTAL / SAMPLES * beside.sum(axis=1)[:, None]
    row, peak = np.arange(len(profile)), profile.argmax(axis=1)
    inside = (peak > 0) & (peak < SAMPLES - 2)
    peak = np.where(inside, peak, 1)
    before, top, after, later = (profile[row, peak + step] for step in (-1, 0, 1, 2))
    total = np.maximum(profile.sum(axis=1), 1e-6)
    values = (
        (after / np.maximum(top, 1e-6), RATIOS[0]),
        (later / np.maximum(after, 1e-6), RATIOS[1]),
        (top / total, PEAK_SHARE),
        (1 - (before + top + after + later) / total, OUTER_SHARE),
    )
    return np.logical_and.reduce(
        [inside, *((low <= value) & (value <= high) for value, (low, high) in values)]
    )


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
