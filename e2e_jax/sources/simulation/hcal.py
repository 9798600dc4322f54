"""The read-out of the HCAL, and the choice of hits for the analysis format.

Known, from the public source of CMSSW: AODSIM keeps the HBHE hits with a quality flag (`HcalHitSelection`).
In simulated events nearly all of these have the flags that look for slow heavy particles
(`HBHETimeProfileStatusBitSetter`, `HSCP_...`; severity level 5). The flags are set for channels with |ieta|
up to 15 whose ten samples, including pedestals, contain more than 30 fC at any time. In an event, either all
these channels or none get the flags: none, if the brightest channel and its neighbors in phi have the profile
of one in-time pulse. The ten events of the real AODSIM file agree: 263 of 265 hits have the flags, in |ieta|
1 to 15 and in every event. Some have negative energies, and some have times of the neighboring crossings.

So the collection does not follow the energy behind photons. It lists the channels that noise, pile-up of
three or more crossings, and jets raise above a threshold.

Assumed: the pulse, which is rounded; the smallest signal that is read out; the charge per energy; the spread
of the channels' pedestals, without which fewer of the file's hits would be in the same channels.
`WINDOW_THRESHOLD` is fitted to the number of hits in the real file at its own pile-up
(`benchmarks/real_file.py`). Two hits of that file, in one tower of HE, have another flag (`HBHEPulseShape`);
such hits are not simulated. The energy is that of four samples, as in the file, which is from 2011.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from e2e_jax.detector import geometry
from e2e_jax.events.base import Ragged
from e2e_jax.sources.simulation import crossings

HCAL_NOISE = 0.2
"""GeV, noise of the energy of an HCAL channel, from four samples."""
HCAL_THRESHOLD = 0.5
"""GeV; an HCAL channel with less energy is dropped."""
HB_DEEP_SHARE = {15: 0.1, 16: 0.25}
"""Share of a tower's energy in depth 2, the last layers: the barrel towers with two depths are |ieta| 15
and 16 (CMS-TDR-002). The shares are rough: the layers' part of the absorber behind a shower's maximum."""
HE_SHARES = {
    **dict.fromkeys((*range(18, 27), 29), (0.6, 0.4)),
    **dict.fromkeys((27, 28), (0.5, 0.3, 0.2)),
}
"""Approximate shares of a tower's energy in its depths; the towers and depths of HE in 2012 are those of the
CMS HCAL TDR (CMS-TDR-002), except for HE's third depth of |ieta| 16, which is counted with HB's."""
HB_TOWERS = 17
"""Largest |ieta| that is read; 17, the first tower of HE, is still on the ECAL barrel's grid."""
HE_TOWERS = 29
"""Largest |ieta| that is read with the endcaps."""

SAMPLES = 10
"""Samples of 25 ns; an in-time pulse begins in the fifth."""
FIRST = 4
"""Index of that sample; the energy of a hit is the sum of this and the next three samples."""
PULSE = (0.65, 0.24, 0.08, 0.03)
"""Shares of a pulse in successive samples."""
READ_FROM, READ_ABOVE = 3, 0.25
"""A channel is read out if two successive samples, from this index to the last of the energy, exceed this
energy, GeV (CMSSW: `HcalRealisticZS`, 8 counts with the pedestals)."""

FLAGGED_TOWERS = 15
"""Largest |ieta| of the channels that can have the flags."""
WINDOW_THRESHOLD = 1.26
"""GeV; a channel with more energy in its ten samples has the flags."""
PEDESTAL = 30 * 0.19 - WINDOW_THRESHOLD
"""GeV; sum of the pedestals of ten samples. With the threshold it is 30 fC of 0.19 GeV each."""
PEDESTAL_SPREAD = 0.36
"""GeV; spread of these sums between channels."""
SEED = 2011
"""Seed of the pedestals."""
RATIOS = ((0.15, 1.0), (0.1, 0.5))
"""Ranges for one in-time pulse: the ratio of the first sample after the peak to the peak, and of the second
to the first (CMSSW, `hscpParameters`)."""
PEAK_SHARE, OUTER_SHARE = (0.4, 0.7), (0.0, 0.1)
"""Ranges of the share of the peak, and of the share outside four samples that start one before the peak."""


@dataclasses.dataclass(frozen=True)
class Channels:
    """Measurements of the HCAL channels for a batch of events.

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
        """The hits that AODSIM keeps, with the columns of `hits`; some have a negative energy."""
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
    """Measure the HCAL towers with |ieta| up to 17, which are behind the ECAL barrel, or up to 29.

    Args:
      towers: `[events, HCAL_TOWERS]`, energies in GeV before noise, depths summed, at native (ieta, iphi).
      rng: source of the noise.
      late: `[crossings, events, HCAL_TOWERS]`, energies of each of `crossings.NEIGHBORS`; none by default.
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
    # Only the sum of the other samples is used, so their noise is drawn as one number.
    rest = np.float32(of_one * np.sqrt(SAMPLES - len(read)))
    samples[0] += rest * rng.standard_normal(samples[0].shape, np.float32)
    return Channels(cells, samples)


@functools.cache
def _pulses() -> np.ndarray:
    """Samples of 1 GeV from this crossing and from each neighbor, float32 `[crossings, SAMPLES]`."""
    pulses = np.zeros((1 + len(crossings.NEIGHBORS), SAMPLES), np.float32)
    for row, time in zip(pulses, (0.0, *crossings.NEIGHBORS), strict=True):
        for step, share in enumerate(PULSE):
            sample = FIRST + round(time / 25) + step
            if 0 <= sample < SAMPLES:
                row[sample] = share
    return pulses


@functools.cache
def _pedestal_offsets() -> np.ndarray:
    """Difference of each cell's pedestal from the mean, float32 `[HCAL_CELLS]`, GeV."""
    offsets = np.random.default_rng(SEED).normal(0, PEDESTAL_SPREAD, geometry.HCAL_CELLS)
    return offsets.astype(np.float32)


def _one_pulse(over: np.ndarray, samples: np.ndarray, iphi: np.ndarray) -> np.ndarray:
    """Mask of events whose profile is that of one in-time pulse, `[events]`.

    The profile is the sum of the channels above threshold in the iphi of the brightest one and its neighbors.

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
    """The cells up to |ieta| `last` and their shares of the tower's energy, in order of depth."""
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
    """Shares of energy in the depths of a tower with this |ieta|."""
    if ring in HE_SHARES:
        return HE_SHARES[ring]
    deep = np.float32(HB_DEEP_SHARE.get(ring, 0.0))
    return (1 - deep, deep) if deep else (np.float32(1),)
