"""Reconstructed tracks: efficiency and resolution of the CMS tracker, without pattern recognition."""

import numpy as np

from e2e_jax.events.base import Ragged
from e2e_jax.sources.simulation.particles import Particles

LOWEST_PT = 0.3
"""GeV; gives the 14 tracks of a minimum-bias collision that CMS finds on average."""
LARGEST_ETA = 2.5
BARREL_ETA = 1.5
EFFICIENCY_BARREL, EFFICIENCY_FORWARD = (0.70, 0.95), (0.60, 0.85)
"""Efficiency of highPurity tracks below and above 1 GeV."""
DISPLACED = 15.0
"""cm; the efficiency falls as exp(-radius / DISPLACED) with the radius where a track begins."""


PROMPT = 0.1
"""cm; a track that begins within this distance of the beam axis belongs to the vertex of its collision.
Tracks of K0S, Lambda and conversions do not."""


def reconstruct(charged: Particles, events: int, rng: np.random.Generator) -> tuple[Ragged, np.ndarray]:
    """HighPurity tracks of charged particles, with `pt` (GeV), `eta` and `phi` at the perigee.

    The relative pT resolution is 1 % (+) 1.5e-4 pT / GeV, 1.6 times worse beyond abs(eta) 1.2 (CMS
    tracker performance, JINST 9 (2014) P10009).

    Returns:
      The tracks, and the sum of pT^2 of the prompt tracks per event, float64 `[events]`, GeV^2.
    """
    charged = charged[(charged.pt > LOWEST_PT) & (np.abs(charged.eta) < LARGEST_ETA)]
    pt, eta = charged.pt, charged.eta
    barrel = np.abs(eta) < BARREL_ETA
    low, high = (np.where(barrel, b, f) for b, f in zip(EFFICIENCY_BARREL, EFFICIENCY_FORWARD, strict=True))
    efficiency = np.where(pt < 1, low, high) * np.exp(-charged.radius / DISPLACED)
    found = rng.random(len(pt)) < efficiency
    charged, pt, eta = charged[found], pt[found], eta[found]
    resolution = np.hypot(0.01, 1.5e-4 * pt) * np.where(np.abs(eta) < 1.2, 1, 1.6)
    measured = pt * np.maximum(1 + resolution * rng.normal(size=len(pt)), 0.1)
    phi = np.arctan2(charged.momentum[:, 1], charged.momentum[:, 0])
    order = np.argsort(charged.event, kind="stable")
    columns = {"pt": measured, "eta": eta, "phi": phi}
    reconstructed = Ragged.from_counts(
        np.bincount(charged.event, minlength=events),
        {name: column[order].astype(np.float32) for name, column in columns.items()},
    )
    prompt = charged.radius < PROMPT
    return reconstructed, np.bincount(charged.event[prompt], measured[prompt] ** 2, events)
