"""Bunch crossings of 2012: numbers of collisions, and contributions of neighboring crossings.

Bunches crossed every 50 ns. A calorimeter's pulse is longer, so collisions of neighboring crossings change
the measured energy.

Known: the range of crossings is that of the CMS release that produced the samples (CMSSW 5_3,
`mix_2012AB_Profile_PoissonOOTPU_cfi`); the pulse of the ECAL is that of `digis`.
"""

from __future__ import annotations

import functools

import numpy as np

from e2e_jax.sources.simulation import digis
from e2e_jax.study.samples import Era

NEIGHBORS = (-200.0, -150.0, -100.0, -50.0, 50.0)
"""Times in ns of the simulated neighboring crossings. CMS simulated those from -300 to +50 ns; crossings
before these change an ECAL amplitude by less than 7 % of their energy."""


def draw_means(era: Era, events: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the mean number of collisions per crossing of each event, float64 `[events]`.

    Args:
      era: means are drawn from its profile; without a profile, all events have its mean.
      events: number of events.
      rng: random generator.
    """
    if not era.profile:
        return np.full(events, float(era.pileup))
    weights = np.array(era.profile, np.float64)
    return rng.choice(len(weights), size=events, p=weights / weights.sum()).astype(np.float64)


def neighbors(means: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw the number of collisions in each of `NEIGHBORS`, int64 `[len(NEIGHBORS), events]`."""
    return rng.poisson(means, (len(NEIGHBORS), len(means)))


@functools.cache
def ecal_shares() -> np.ndarray:
    """Change of a crystal's amplitude per GeV of each of `NEIGHBORS`, GeV; some are negative.

    A pulse of an earlier crossing raises the samples that measure the pedestal.
    """
    return np.array([digis.amplitude_weights() @ digis.pulse(time) for time in NEIGHBORS])
