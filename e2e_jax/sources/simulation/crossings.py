"""Bunch crossings of 2012: how many collisions each has, and what a measurement sees of the others.

Bunches crossed every 50 ns. A calorimeter's pulse is longer, so collisions of neighboring crossings change
the energy that is measured.

Known: the range of crossings is that of the CMS release that made the samples (CMSSW 5_3,
`mix_2012AB_Profile_PoissonOOTPU_cfi`); the pulse of the ECAL is that of `digis`.
"""

from __future__ import annotations

import functools

import numpy as np

from e2e_jax.sources.simulation import digis
from e2e_jax.study.samples import Era

NEIGHBORS = (-200.0, -150.0, -100.0, -50.0, 50.0)
"""ns; the simulated crossings next to the one of the event. CMS simulated those from -300 to +50 ns; earlier
ones than these change an ECAL amplitude by less than 7 % of their energy."""


def draw_means(era: Era, events: int, rng: np.random.Generator) -> np.ndarray:
    """The mean number of collisions per crossing of each event, float64 `[events]`.

    Args:
      era: its profile is drawn from; without one all events have its mean.
      events: number of events.
      rng: draws them.
    """
    if not era.profile:
        return np.full(events, float(era.pileup))
    weights = np.array(era.profile, np.float64)
    return rng.choice(len(weights), size=events, p=weights / weights.sum()).astype(np.float64)


def neighbors(means: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The number of collisions in each of `NEIGHBORS`, int64 `[len(NEIGHBORS), events]`."""
    return rng.poisson(means, (len(NEIGHBORS), len(means)))


@functools.cache
def ecal_shares() -> np.ndarray:
    """What one GeV of each of `NEIGHBORS` adds to the amplitude of a crystal, GeV; some are negative.

    A pulse from before raises the samples that the pedestal is taken from.
    """
    return np.array([digis.amplitude_weights() @ digis.pulse(time) for time in NEIGHBORS])
