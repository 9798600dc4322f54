"""Bunch crossings of 2012: how many collisions each has, and what a measurement sees of the others.

Bunches crossed every 50 ns. A calorimeter's pulse is longer, so collisions of neighboring crossings change
the energy that is measured.

Known: the profiles and the range of crossings are those of the CMS release that made the samples (CMSSW 5_3,
`mix_2012AB_Profile_PoissonOOTPU_cfi` and those of 2012C and 2012D); the pulse of the ECAL is that of `digis`.
Assumed: that the run-dependent samples of the paper used these profiles, whose eras are theirs.
"""

from __future__ import annotations

import functools

import numpy as np

from e2e_jax.sources.simulation import digis

PROFILES: dict[str, str] = {
    "2012AB": """0 0 0 2 3 33 229 604 1238 2088 3023 4019 4862 5455 5914 6246 6281 6092 5833 5583 5407 5326
        5296 5232 5016 4561 3865 3009 2120 1332 738 358 152 57 19 6 1""",
    "2012C": """0 0 0 1 4 19 69 198 458 964 2307 5009 7337 8159 8284 8106 7556 6873 6315 5832 5402 5023 4659
        4270 3799 3200 2475 1711 1035 543 246 97 33 10 3 1""",
    "2012D": """0 0 0 1 1 6 34 89 237 686 1450 2601 3604 4202 4579 4823 5032 5257 5463 5612 5689 5709 5666
        5537 5319 5015 4631 4175 3648 3064 2454 1863 1334 900 572 343 194 105 54 27 13 6 3 1""",
}
"""Era -> weights of 0, 1, 2, ... collisions per crossing on average; their means are 18.4, 17.4 and 20.7."""

NEIGHBORS = (-200.0, -150.0, -100.0, -50.0, 50.0)
"""ns; the simulated crossings beside the one of the event. CMS simulated those from -300 to +50 ns; earlier
ones than these change an ECAL amplitude by less than 7 % of their energy."""


def draw_means(era: str, events: int, rng: np.random.Generator, otherwise: float = 0.0) -> np.ndarray:
    """The mean number of collisions per crossing of each event, float64 `[events]`.

    Args:
      era: its name; a key of `PROFILES`, or any other.
      events: number of events.
      rng: draws them.
      otherwise: the mean of an era without a profile.
    """
    if era not in PROFILES:
        return np.full(events, float(otherwise))
    weights = np.array(PROFILES[era].split(), np.float64)
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
