"""Hadrons and muons in the calorimeters: minimum ionising or showering in the ECAL, then the HCAL."""

import numpy as np

from e2e_jax.sources.simulation import endcap
from e2e_jax.sources.simulation.barrel import CRYSTAL_PITCH, Entries, Spots
from e2e_jax.sources.simulation.particles import MUON, Particles
from e2e_jax.sources.simulation.showers import CRYSTAL_LENGTH, ENDCAP_CRYSTAL_LENGTH

INTERACTION_LENGTH = 20.3
"""Nuclear interaction length of PbWO4, cm (PDG)."""
MINIMUM_IONISING = 0.25
"""Most probable energy a charged particle leaves in a crystal it crosses, GeV (CMS ECAL TDR)."""
ECAL_SHARE = (1.2, 1.8)
"""Beta distribution of the share of its response that a hadron showering in the ECAL leaves there."""
ECAL_SPOTS, ECAL_WIDTH = 12, 1.0
"""Spots of a hadronic shower in the ECAL, and their mean distance from its axis in crystals."""
HCAL_SPOTS, HCAL_WIDTH = 8, 1.5
"""The same behind it; a tower is 5 crystals wide."""
RESPONSE_ENERGY = (2.0, 5.0, 15.0, 30.0, 50.0, 100.0)
RESPONSE_MEAN = (1.3, 3.3, 11.5, 25.5, 43.6, 89.6)
RESPONSE_SIGMA = (0.76, 1.4, 2.6, 4.0, 5.5, 9.0)
"""Calorimeter response to hadrons of this energy, GeV (CMS fast simulation of the barrel HCAL)."""
MUON_IN_HCAL = 1.8
"""GeV a muon leaves in the barrel HCAL."""


def deposit(entries: Entries, rng: np.random.Generator) -> tuple[Spots, Spots]:
    """Showers of hadrons, and the trails of muons, in the barrel.

    Returns:
      Spots in the crystals and in the HCAL, in GeV as the calorimeters measure them.
    """
    particles = entries.particles
    showers, in_ecal, in_hcal = _share(particles, CRYSTAL_LENGTH, rng)
    trails = Spots(particles.event, entries.row, entries.column, in_ecal)[~showers]
    ecal = Spots.concatenate(
        [trails, _spread(entries[showers], in_ecal[showers], ECAL_SPOTS, ECAL_WIDTH, rng)]
    )
    return ecal, _spread(entries, in_hcal, HCAL_SPOTS, HCAL_WIDTH, rng)


def deposit_in_endcaps(
    entries: endcap.Entries, rng: np.random.Generator
) -> tuple[endcap.Spots, endcap.Spots]:
    """The same in the endcaps, with the barrel's response."""
    particles = entries.particles
    showers, in_ecal, in_hcal = _share(particles, ENDCAP_CRYSTAL_LENGTH, rng)
    one_spot = np.flatnonzero(~showers)
    axis = np.zeros(len(one_spot), np.float32)
    trails = entries.spots(one_spot, axis, axis, axis, in_ecal[one_spot])

    def spread(chosen: np.ndarray, energy: np.ndarray, spots: int, width: float) -> endcap.Spots:
        across, along, share = _around(energy, spots, width * CRYSTAL_PITCH, rng)
        depth = np.zeros(across.size, np.float32)
        return entries.spots(np.repeat(chosen, spots), depth, across.ravel(), along.ravel(), share.ravel())

    showering = np.flatnonzero(showers)
    ecal = spread(showering, in_ecal[showering], ECAL_SPOTS, ECAL_WIDTH)
    everyone = np.arange(len(entries))
    return endcap.Spots.concatenate([trails, ecal]), spread(everyone, in_hcal, HCAL_SPOTS, HCAL_WIDTH)


def _share(particles: Particles, length: float, rng: np.random.Generator):
    """Which showers begin in crystals of this length (cm), and the energy in ECAL and HCAL, GeV."""
    muon, charged = particles.is_a(MUON), particles.charge != 0
    response = _response(particles.energy, rng)
    showers = (rng.random(len(particles)) < -np.expm1(-length / INTERACTION_LENGTH)) & ~muon
    ionisation = MINIMUM_IONISING * rng.lognormal(0, 0.2, len(particles))
    trail = np.where(charged, np.minimum(ionisation, particles.energy), 0)
    in_ecal = np.where(showers, response * rng.beta(*ECAL_SHARE, len(particles)), trail)
    in_hcal = np.where(muon, np.minimum(MUON_IN_HCAL, particles.energy), np.maximum(response - in_ecal, 0))
    return showers, in_ecal, in_hcal


def _response(energy: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Measured energy of a shower, a normal about the table.

    Below the table the response falls with the square of the energy: slow hadrons stop on the way.
    """
    low = np.minimum(energy / RESPONSE_ENERGY[0], 1) ** 2
    high = np.maximum(energy / RESPONSE_ENERGY[-1], 1)
    mean = np.interp(energy, RESPONSE_ENERGY, RESPONSE_MEAN) * low * high
    sigma = np.interp(energy, RESPONSE_ENERGY, RESPONSE_SIGMA) * np.sqrt(low * high)
    return np.maximum(rng.normal(mean, sigma), 0)


def _spread(
    entries: Entries, energy: np.ndarray, spots: int, width: float, rng: np.random.Generator
) -> Spots:
    """Shares energy over spots around the axis, width in crystals."""
    d_row, d_column, share = _around(energy, spots, width, rng)
    row, column = entries.row[:, None] + d_row, entries.column[:, None] + d_column
    return Spots(np.repeat(entries.particles.event, spots), row.ravel(), column.ravel(), share.ravel())


def _around(energy: np.ndarray, spots: int, width: float, rng: np.random.Generator):
    """Two coordinates and the energy of `[n, spots]` whose distances from the axis are exponential."""
    size = (len(energy), spots)
    distance, angle = rng.exponential(width, size), rng.uniform(0, 2 * np.pi, size)
    return (
        distance * np.cos(angle),
        distance * np.sin(angle),
        np.broadcast_to((energy / spots)[:, None], size),
    )
