"""Hadrons and muons in the calorimeters: minimum ionizing or showering in the ECAL, then the HCAL.

A shower begins in the tracker, in the ECAL or behind it. The earlier it begins, the more energy it leaves in
the ECAL. Neutral pions of its first interaction make a compact part, which looks like a photon. The shares of
the parts are approximate. In total, a shower that begins in the barrel crystals leaves 0.4 of its energy
there.
"""

import numpy as np

from e2e_jax.sources.simulation import endcap
from e2e_jax.sources.simulation.barrel import CRYSTAL_PITCH, Entries, Spots
from e2e_jax.sources.simulation.material import radiation_lengths
from e2e_jax.sources.simulation.particles import MUON, Particles
from e2e_jax.sources.simulation.showers import CRYSTAL_LENGTH, ENDCAP_CRYSTAL_LENGTH

INTERACTION_LENGTH = 20.3
"""Nuclear interaction length of PbWO4, cm (PDG)."""
MINIMUM_IONISING = 0.25
"""Most probable energy a charged particle leaves in a crystal it crosses, GeV (CMS ECAL TDR)."""
INTERACTIONS_PER_X0 = 0.3
"""Interaction lengths per radiation length of the tracker (CMS tracker material budget: 0.12 to 0.55 against
0.4 to 1.85)."""
COMPACT_SHARE = (1.0, 4.0)
"""Beta distribution of the share of a shower in its first neutral pions."""
COMPACT_LENGTH = 10.0
"""cm of PbWO4 that contain this part."""
ECAL_SHARE = (2.0, 1.2)
"""Beta distribution of the measured share of the rest, if the ECAL contains it."""
COMPACT_SPOTS, COMPACT_WIDTH = 6, 0.4
"""Spots of the compact part of a shower in the ECAL, and their mean distance from its axis in crystals."""
ECAL_SPOTS, ECAL_WIDTH = 6, 1.0
"""Spots and mean distance of the rest."""
TRACKER_WIDTH = 2.0
"""A shower that began in the tracker is wider by this factor."""
HCAL_SPOTS, HCAL_WIDTH = 8, 1.5
"""Spots and mean distance behind the ECAL; a tower is 5 crystals wide."""
RESPONSE_ENERGY = (2.0, 5.0, 15.0, 30.0, 50.0, 100.0)
RESPONSE_MEAN = (1.3, 3.3, 11.5, 25.5, 43.6, 89.6)
RESPONSE_SIGMA = (0.76, 1.4, 2.6, 4.0, 5.5, 9.0)
"""Calorimeter response to hadrons of this energy, GeV (CMS fast simulation of the barrel HCAL)."""
HCAL_EXCESS, HCAL_EXCESS_ENERGY = 0.25, 20.0
"""The energy E behind the ECAL is higher by 0.25 / (1 + E / 20 GeV). The table covers all showers, and those
that begin behind the ECAL are measured better. Fitted to the HB hits over 2 GeV of the real file."""
MUON_IN_HCAL = 1.8
"""GeV a muon leaves in the barrel HCAL."""


def deposit(entries: Entries, rng: np.random.Generator) -> tuple[Spots, Spots]:
    """Deposit showers of hadrons and tracks of muons in the barrel.

    Returns:
      Spots in the crystals and in the HCAL, in GeV as measured by the calorimeters.
    """
    particles = entries.particles
    showers, in_hcal, trail = _showers(particles, CRYSTAL_LENGTH, rng)
    ecal = [Spots(particles.event, entries.row, entries.column, trail)[trail > 0]]
    for of, energy, spots, width in showers:
        ecal.append(_spread(entries[of], energy, spots, width, rng))
    return Spots.concatenate(ecal), _spread(entries, in_hcal, HCAL_SPOTS, HCAL_WIDTH, rng)


def deposit_in_endcaps(
    entries: endcap.Entries, rng: np.random.Generator
) -> tuple[endcap.Spots, endcap.Spots]:
    """Like `deposit`, for the endcaps, with the barrel's response."""
    showers, in_hcal, trail = _showers(entries.particles, ENDCAP_CRYSTAL_LENGTH, rng)
    ionising = np.flatnonzero(trail > 0)
    axis = np.zeros(len(ionising), np.float32)

    def spread(chosen: np.ndarray, energy: np.ndarray, spots: int, width: float | np.ndarray) -> endcap.Spots:
        across, along, share = _around(energy, spots, width * CRYSTAL_PITCH, rng)
        depth = np.zeros(across.size, np.float32)
        return entries.spots(np.repeat(chosen, spots), depth, across.ravel(), along.ravel(), share.ravel())

    ecal = [entries.spots(ionising, axis, axis, axis, trail[ionising])]
    ecal += [spread(*part) for part in showers]
    everyone = np.arange(len(entries))
    return endcap.Spots.concatenate(ecal), spread(everyone, in_hcal, HCAL_SPOTS, HCAL_WIDTH)


def _showers(particles: Particles, length: float, rng: np.random.Generator):
    """Distribute the energy of hadrons and muons for crystals of this length, cm.

    Returns:
      The two parts of the showers in the ECAL, each (particles `[m]`, energy `[m]` in GeV, spots, width in
      crystals `[m, 1]`); the energy behind the ECAL `[n]`; the energy of minimum ionizing particles `[n]`.
    """
    size, muon, charged = len(particles), particles.is_a(MUON), particles.charge != 0
    response = _response(particles.energy, rng)
    in_tracker = rng.random(size) < -np.expm1(-INTERACTIONS_PER_X0 * radiation_lengths(particles.eta))
    start = np.where(in_tracker, 0, rng.exponential(INTERACTION_LENGTH, size))
    of = np.flatnonzero((start < length) & ~muon)
    left = length - start[of]
    compact = rng.beta(*COMPACT_SHARE, len(of))
    rest = (1 - compact) * -np.expm1(-left / INTERACTION_LENGTH) * rng.beta(*ECAL_SHARE, len(of))
    compact = response[of] * compact * np.minimum(left / COMPACT_LENGTH, 1)
    rest = response[of] * rest
    width = np.where(in_tracker[of], TRACKER_WIDTH, 1.0)[:, None]

    ionisation = MINIMUM_IONISING * rng.lognormal(0, 0.2, size)
    in_ecal = np.where(charged, np.minimum(ionisation, particles.energy), 0)
    in_ecal[of] = compact + rest
    in_hcal = np.maximum(response - in_ecal, 0)
    in_hcal *= 1 + HCAL_EXCESS / (1 + in_hcal / HCAL_EXCESS_ENERGY)
    in_hcal[muon] = np.minimum(MUON_IN_HCAL, particles.energy[muon])
    in_ecal[of] = 0
    parts = (
        (of, compact, COMPACT_SPOTS, width * COMPACT_WIDTH),
        (of, rest, ECAL_SPOTS, width * ECAL_WIDTH),
    )
    return parts, in_hcal, in_ecal


def _response(energy: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Measured energy of a shower, normally distributed around the table.

    Below the table the response falls with the square of the energy, because slow hadrons stop early.
    """
    low = np.minimum(energy / RESPONSE_ENERGY[0], 1) ** 2
    high = np.maximum(energy / RESPONSE_ENERGY[-1], 1)
    mean = np.interp(energy, RESPONSE_ENERGY, RESPONSE_MEAN) * low * high
    sigma = np.interp(energy, RESPONSE_ENERGY, RESPONSE_SIGMA) * np.sqrt(low * high)
    return np.maximum(rng.normal(mean, sigma), 0)


def _spread(
    entries: Entries,
    energy: np.ndarray,
    spots: int,
    width: float | np.ndarray,
    rng: np.random.Generator,
) -> Spots:
    """Distribute energy over spots around the axis; width in crystals, one for all or `[n, 1]`."""
    d_row, d_column, share = _around(energy, spots, width, rng)
    row, column = entries.row[:, None] + d_row, entries.column[:, None] + d_column
    return Spots(np.repeat(entries.particles.event, spots), row.ravel(), column.ravel(), share.ravel())


def _around(energy: np.ndarray, spots: int, width: float | np.ndarray, rng: np.random.Generator):
    """Two coordinates and the energy of spots `[n, spots]` with exponential distances from the axis."""
    size = (len(energy), spots)
    distance, angle = rng.exponential(width, size), rng.uniform(0, 2 * np.pi, size)
    return (
        distance * np.cos(angle),
        distance * np.sin(angle),
        np.broadcast_to((energy / spots)[:, None], size),
    )
