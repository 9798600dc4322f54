"""Sums of energy over the detector, for selections of events without photons."""

from __future__ import annotations

import functools

import numpy as np

from e2e_jax.detector import geometry
from e2e_jax.events.diphotons import Events


def sum_et(events: Events) -> np.ndarray:
    """Sum of the transverse energies of all ECAL and HCAL hits, float32 `[n]`, GeV.

    Directions are from the nominal interaction point to the centers of crystals and towers.
    """
    total = np.zeros(len(events))
    for name in ("eb", "ee", "hcal"):
        hits = getattr(events, name)
        cell = hits.cell.astype(np.int64) % len(_sine(name))
        total += np.bincount(hits.event_index, hits.energy * _sine(name)[cell], len(events))
    return total.astype(np.float32)


@functools.cache
def _sine(collection: str) -> np.ndarray:
    """Sine of the polar angle of each cell; of the HCAL, of each tower."""
    if collection == "eb":
        eta = np.repeat(geometry.eb_eta_centres(), geometry.EB_COLUMNS)
    elif collection == "ee":
        eta, crystals = np.full(geometry.EE_CELLS, np.inf), geometry.ee_crystals()
        eta[crystals.cell.astype(np.int64)] = crystals.eta
    else:
        edges = np.array(geometry.HCAL_ETA_EDGES)
        centres = (edges[1:] + edges[:-1]) / 2
        eta = np.repeat(np.concatenate([-centres[::-1], centres]), geometry.HCAL_COLUMNS)
    with np.errstate(over="ignore"):
        return 1 / np.cosh(eta)
