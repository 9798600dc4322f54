"""Electromagnetic showers in lead tungstate: GFlash, simulated as spots of energy.

Grindhammer and Peters, "The parameterized simulation of electromagnetic showers in homogeneous and
sampling calorimeters", hep-ex/0001020, section 3 and appendix A (homogeneous media). Lengths along
the shower are in radiation lengths, across it in Moliere radii; y = E / E_c.
"""

import numpy as np

from e2e_jax.sources.simulation import endcap
from e2e_jax.sources.simulation.barrel import CRYSTAL_PITCH, Entries, Spots
from e2e_jax.sources.simulation.particles import PHOTON, Particles

Z = 68.36
"""Effective atomic number of PbWO4."""
RADIATION_LENGTH = 0.89
"""cm."""
CRITICAL_ENERGY = 8.74e-3
"""GeV."""
MOLIERE_RADIUS = 2.19 * 1.096
"""cm; the factor corrects for gaps and tapering in the CMS barrel."""
CRYSTAL_LENGTH, ENDCAP_CRYSTAL_LENGTH = 23.0, 22.0
"""cm, in the barrel and in the endcaps."""
PRESHOWER = 3.0
"""Radiation lengths of the preshower's lead (CMS ECAL TDR)."""
PRESHOWER_ETA = (1.653, 2.6)
"""The abs(eta) that it covers."""
MOST_SPOTS = 2000
"""Maximum spots of one shower; with more, the lateral fluctuations only fall below 0.5 %."""
LOWEST_Y = 7.5
"""Showers below y = 7.5 (65 MeV) get the shape of that energy, because the fits are not valid below it."""
WIDEST = 6.0
"""Moliere radii at which the lateral profile is cut."""


def deposit(entries: Entries, rng: np.random.Generator) -> tuple[Spots, Spots]:
    """Deposit showers of photons and electrons in the barrel.

    Returns:
      Spots in the crystals, and spots behind the crystals' rear face, in the HCAL.
    """
    everything, depth = spots(entries, rng)
    leaks = depth > CRYSTAL_LENGTH
    behind = everything[leaks]
    everything.energy[leaks] = 0
    return everything, behind


def spots(entries: Entries, rng: np.random.Generator) -> tuple[Spots, np.ndarray]:
    """Spots of showers in the barrel, and the depth of each behind the crystals' front faces in cm."""
    particles = entries.particles
    owner, depth, radius, angle, energy = _draw(particles, rng)

    def spread(values: np.ndarray) -> np.ndarray:
        return values.astype(np.float32)[owner]

    radius *= np.float32(MOLIERE_RADIUS / CRYSTAL_PITCH)
    along = depth * np.float32(1 / CRYSTAL_PITCH)
    row = spread(entries.row) + along * spread(entries.slope_row) + radius * np.cos(angle)
    column = spread(entries.column) + along * spread(entries.slope_column) + radius * np.sin(angle)
    return Spots(particles.event[owner], row, column, energy), depth


def deposit_in_endcaps(
    entries: endcap.Entries, rng: np.random.Generator
) -> tuple[endcap.Spots, endcap.Spots]:
    """Deposit showers of photons and electrons in the endcaps.

    Behind the preshower, showers begin in its lead, three radiation lengths before the crystals. Their energy
    in the lead is lost; most photons shower there. The silicon of the preshower, and the space between lead
    and crystals, are not simulated.

    Returns:
      Spots in the crystals, and spots behind the crystals' rear face, in the HCAL.
    """
    particles = entries.particles
    owner, depth, radius, angle, energy = _draw(particles, rng)
    covered = (entries.eta > PRESHOWER_ETA[0]) & (entries.eta < PRESHOWER_ETA[1])
    depth -= np.where(covered, PRESHOWER * RADIATION_LENGTH, 0).astype(np.float32)[owner]
    radius *= np.float32(MOLIERE_RADIUS)
    everything = entries.spots(owner, depth, radius * np.cos(angle), radius * np.sin(angle), energy)
    leaks = depth > ENDCAP_CRYSTAL_LENGTH
    behind = everything[leaks]
    everything.energy[leaks | (depth < 0)] = 0
    return everything, behind


def _draw(particles: Particles, rng: np.random.Generator):
    """Spots: owner, depth in cm, radius in Moliere radii, angle, and energy in GeV."""
    log_y, peak, alpha = _longitudinal(particles.energy, rng)
    start = np.where(particles.is_a(PHOTON), rng.exponential(9 / 7, len(particles)), 0.0)
    count = np.clip(93 * np.log(Z) * particles.energy**0.876, 1, MOST_SPOTS).astype(np.int64)
    owner = np.repeat(np.arange(len(particles)), count)

    def spread(values: np.ndarray) -> np.ndarray:
        return values.astype(np.float32)[owner]

    tau = _gamma(spread(alpha), rng) / spread(np.maximum(alpha - 1, 0.05))
    depth = (spread(start) + tau * spread(peak)) * np.float32(RADIATION_LENGTH)
    radius = _radius(tau, spread(log_y + np.log(CRITICAL_ENERGY)), rng)
    angle = np.float32(2 * np.pi) * rng.random(len(owner), np.float32)
    return owner, depth, radius, angle, spread(particles.energy / count)


def _longitudinal(energy: np.ndarray, rng: np.random.Generator):
    """ln y, depth of the maximum T and shape alpha of each shower: correlated log-normals."""
    log_y = np.log(np.maximum(energy / CRITICAL_ENERGY, LOWEST_Y))
    sigma_t = 1 / (-1.4 + 1.26 * log_y)
    sigma_alpha = 1 / (-0.58 + 0.86 * log_y)
    correlation = 0.705 - 0.023 * log_y
    shared, opposed = rng.normal(size=(2, len(energy)))
    shared *= np.sqrt((1 + correlation) / 2)
    opposed *= np.sqrt((1 - correlation) / 2)
    peak = np.exp(np.log(log_y - 0.812) + sigma_t * (shared + opposed))
    alpha = np.exp(np.log(0.81 + (0.458 + 2.26 / Z) * log_y) + sigma_alpha * (shared - opposed))
    return log_y, peak, np.maximum(alpha, 1.1)


def _gamma(alpha: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gamma-distributed numbers by Wilson and Hilferty's cube of a normal (1931), to 1 % for alpha > 1."""
    normal = rng.standard_normal(len(alpha), np.float32)
    root = np.sqrt(alpha)
    return alpha * np.maximum(1 - 1 / (9 * alpha) + normal / (3 * root), 0) ** 3


def _radius(tau: np.ndarray, log_energy: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws the distance from the shower axis, in Moliere radii, at depth tau = t / T.

    f(r) = p 2 r Rc^2 / (r^2 + Rc^2)^2 + (1 - p) 2 r Rt^2 / (r^2 + Rt^2)^2: a core and a tail.
    """
    core = 0.0251 + 0.00319 * log_energy + (0.1162 - 0.000381 * Z) * tau
    late = tau - 0.645
    tail = (0.659 - 0.00309 * Z) * (np.exp(-2.59 * late) + np.exp((0.3585 + 0.0421 * log_energy) * late))
    a = (0.401 + 0.00187 * Z - tau) / (1.313 - 0.0686 * log_energy)
    in_core = rng.random(len(tau), np.float32) < (2.632 - 0.00094 * Z) * np.exp(a - np.exp(a))
    scale = np.where(in_core, np.maximum(core, 0.01), tail)
    u = rng.random(len(tau), np.float32)
    return np.minimum(scale * np.sqrt(u / (1 - u)), WIDEST)
