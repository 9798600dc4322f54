"""Non-uniformity of the ECAL: noise that grows with the pseudorapidity, and dead crystals.

Known: the mean noise of a crystal (CMS ECAL TDR); that the noise grows with the radiation, and therefore with
abs(eta); the shares of working crystals, 99.1 % of the barrel and 98.6 % of the endcaps (CMS in 2012).
Assumed: the form of the growth, and the choice of the dead crystals. Most of them form whole read-out units
of 5x5. They are the same in every event.
"""

from __future__ import annotations

import functools

import numpy as np

from e2e_jax.detector import geometry
from e2e_jax.events.base import Ragged

BARREL_NOISE = (0.037, 0.009)
"""GeV at eta 0, and the increase at the end of the barrel, quadratic in eta; 0.040 on average."""
ENDCAP_NOISE, ENDCAP_GROWTH = 0.120, 0.5
"""GeV at abs(eta) 1.5, and the exponent per unit of eta; 0.150 on average."""
DEAD_TOWERS, DEAD_CRYSTALS = 20, 50
"""Towers of 5x5 crystals and single crystals of the barrel that are dead: 0.9 %."""
DEAD_SUPERCRYSTALS, DEAD_ENDCAP_CRYSTALS = 5, 80
"""Supercrystals of 5x5 crystals and single crystals of the endcaps that are dead: 1.4 %."""
SEED = 2012
"""Seed of the choice of dead crystals."""


@functools.cache
def barrel_noise() -> np.ndarray:
    """Noise of each barrel crystal, float32 `[61200]`, GeV."""
    at_zero, added = BARREL_NOISE
    noise = at_zero + added * (geometry.eb_eta_centres() / geometry.EB_MAX_ETA) ** 2
    return np.repeat(noise, geometry.EB_COLUMNS).astype(np.float32)


@functools.cache
def endcap_noise() -> np.ndarray:
    """Noise of each endcap crystal by cell, float32 `[EE_CELLS]`, GeV; zero for cells without a crystal."""
    crystals = geometry.ee_crystals()
    noise = np.zeros(geometry.EE_CELLS, np.float32)
    noise[crystals.cell] = ENDCAP_NOISE * np.exp(ENDCAP_GROWTH * (np.abs(crystals.eta) - 1.5))
    return noise


@functools.cache
def dead_barrel() -> np.ndarray:
    """Mask of dead barrel crystals, bool `[61200]`."""
    rng = np.random.default_rng(SEED)
    dead = np.zeros((geometry.EB_ROWS, geometry.EB_COLUMNS), bool)
    towers = dead.reshape(geometry.EB_ROWS // 5, 5, geometry.EB_COLUMNS // 5, 5)
    row, column = np.divmod(
        rng.choice(towers.shape[0] * towers.shape[2], DEAD_TOWERS, False), towers.shape[2]
    )
    towers[row, :, column, :] = True
    dead.ravel()[rng.choice(dead.size, DEAD_CRYSTALS, False)] = True
    return dead.ravel()


@functools.cache
def dead_endcaps() -> np.ndarray:
    """Mask of dead endcap cells, bool `[EE_CELLS]`."""
    rng = np.random.default_rng(SEED)
    dead = np.zeros((2, geometry.EE_SIDE, geometry.EE_SIDE), bool)
    cells = geometry.ee_crystals().cell.astype(np.int64)
    chosen = rng.choice(cells, DEAD_SUPERCRYSTALS, False)
    side, crystal = np.divmod(chosen, geometry.EE_SIDE**2)
    for end, row, column in zip(
        side, crystal // geometry.EE_SIDE // 5 * 5, crystal % geometry.EE_SIDE // 5 * 5
    ):
        dead[end, row : row + 5, column : column + 5] = True
    dead.ravel()[rng.choice(cells, DEAD_ENDCAP_CRYSTALS, False)] = True
    return dead.ravel()


def alive(hits: Ragged, dead: np.ndarray) -> Ragged:
    """The hits of crystals that are not dead."""
    return hits.filter(~dead[hits.cell])
