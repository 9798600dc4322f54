"""Interactions before the calorimeter: decays in flight, conversions and bremsstrahlung.

The tracker's material is on 17 layers of equal thickness: cylinders for particles that fly into the barrel,
discs for particles that fly into the endcaps. A photon converts with the probability
1 - exp(-7/9 X) after X radiation lengths; an electron radiates layer by layer with
the complete-screening spectrum dN/dy = (X / y) (4/3 - 4/3 y + y^2), y = k / E (Rossi; PDG review,
"Passage of particles through matter"). Photons of bremsstrahlung do not convert again.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from e2e_jax.detector import geometry
from e2e_jax.sources.simulation.particles import ELECTRON, K_SHORT, LAMBDA, PHOTON, Particles
from e2e_jax.sources.simulation.propagation import ECAL_RADIUS, to_plane, to_radius

MATERIAL_ETA = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.5, 1.6, 1.8, 2.0, 2.2, 2.5, 3.0)
MATERIAL_X0 = (0.40, 0.42, 0.46, 0.55, 0.75, 1.0, 1.3, 1.75, 1.85, 1.8, 1.6, 1.45, 1.4, 1.3, 1.2)
"""Radiation lengths in front of the ECAL against abs(eta) (CMS tracker material budget)."""
SOFTEST_PHOTON = 0.01
"""Bremsstrahlung below this fraction of the electron's energy is not simulated."""


@dataclasses.dataclass(frozen=True)
class Layers:
    """Layers of material in the order in which particles cross them, with equal thickness for each particle.

    Attributes:
      depth: `[layers]`, positions of the layers, cm.
      depth_of: function that returns the positions of particles in the same coordinate.
      move_to: function that moves particles to given depths; also returns which particles reach them.
      softest_electron: GeV of transverse momentum below which an electron is lost.
      parts: parts of a layer; in each part an electron radiates at most one photon.
    """

    depth: np.ndarray
    depth_of: Callable[[Particles], np.ndarray]
    move_to: Callable[[Particles, float | np.ndarray], tuple[Particles, np.ndarray]]
    softest_electron: float
    parts: int

    def __len__(self) -> int:
        return len(self.depth)


CYLINDERS = Layers(
    np.array([4.4, 7.3, 10.2, 14, 20, 25.5, 33.9, 41.9, 49.8, 54, 60.8, 69.2, 78, 86.8, 96.5, 108, 116]),
    lambda particles: particles.radius,
    to_radius,
    softest_electron=0.3,  # softer electrons curl in the tracker
    parts=2,
)
"""Radii: pixel and strip layers of the CMS barrel tracker and their supports."""
DISCS = Layers(
    np.array([15, 25, 34.5, 46.5, 77, 90, 103, 131, 145, 159, 173, 188, 205, 224, 245, 267, 290.0]),
    lambda particles: particles.position[:, 2] * np.sign(particles.momentum[:, 2]),
    to_plane,
    softest_electron=0.05,
    parts=4,
)
"""Distances along the beam: where forward particles cross the pixel barrel, the forward pixel discs,
the inner discs and endcap wheels of the strip tracker, and the material behind it."""


@dataclasses.dataclass(frozen=True)
class Decay:
    """Two-body decays in flight: lifetime (cm), mass (GeV), channels (probability, daughters)."""

    lifetime: float
    mass: float
    channels: tuple[tuple[float, tuple[tuple[int, int, float], tuple[int, int, float]]], ...]


PION, NEUTRAL_PION, PROTON, NEUTRON = 0.13957, 0.13498, 0.93827, 0.93957
DECAYS = {
    K_SHORT: Decay(
        2.684,
        0.49761,
        ((0.693, ((211, 1, PION), (-211, -1, PION))), (0.307, ((111, 0, NEUTRAL_PION),) * 2)),
    ),
    LAMBDA: Decay(
        7.89,
        1.11568,
        (
            (0.641, ((2212, 1, PROTON), (-211, -1, PION))),
            (0.359, ((2112, 0, NEUTRON), (111, 0, NEUTRAL_PION))),
        ),
    ),
}
"""PDG 2022 lifetimes and branching fractions; (pdg, charge, mass) of each daughter."""


def decay_in_flight(particles: Particles, rng: np.random.Generator, endcap_z: float = np.inf) -> Particles:
    """Let K0S and Lambda decay before the ECAL, isotropically in their rest frame.

    Args:
      particles: `[n]`.
      rng: source of lengths, channels and directions.
      endcap_z: distance of the ECAL along the beam, cm; infinite for the barrel alone.
    """
    parts = []
    for pdg, decay in DECAYS.items():
        mother = particles.is_a(pdg)
        if not mother.any():
            continue
        rest, particles = particles[mother], particles[~mother]
        length = rng.exponential(decay.lifetime, len(rest))[:, None] * rest.momentum / decay.mass
        rest = rest.moved(rest.position + length, rest.momentum)
        decayed = (rest.radius < ECAL_RADIUS) & (np.abs(rest.position[:, 2]) < endcap_z)
        parts.append(rest[~decayed].moved((rest.position - length)[~decayed], rest.momentum[~decayed]))
        rest = rest[decayed]
        channel = rng.random(len(rest)) < decay.channels[0][0]
        for chosen, (_, daughters) in zip((channel, ~channel), decay.channels, strict=True):
            parts += _two_body(rest[chosen], decay.mass, daughters, rng)
    everything = Particles.concatenate([particles, *parts])
    neutral_pion = everything.is_a(111)
    photons = ((PHOTON, 0, 0.0), (PHOTON, 0, 0.0))
    gammas = _two_body(everything[neutral_pion], NEUTRAL_PION, photons, rng)
    return Particles.concatenate([everything[~neutral_pion], *gammas])


def _two_body(mother: Particles, mass: float, daughters, rng: np.random.Generator) -> list[Particles]:
    """Daughters back to back in the rest frame, boosted by the mother's momentum."""
    (_, _, mass1), (_, _, mass2) = daughters
    energy1 = (mass**2 + mass1**2 - mass2**2) / (2 * mass)
    momentum = np.sqrt(max(energy1**2 - mass1**2, 0.0))
    direction = rng.normal(size=(len(mother), 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    mother_energy = np.sqrt((mother.momentum**2).sum(1) + mass**2)
    anti = np.where(mother.pdg < 0, -1, 1)
    out = []
    for sign, rest_energy, (pdg, charge, _) in zip(
        (1, -1), (energy1, mass - energy1), daughters, strict=True
    ):
        rest_momentum = sign * momentum * direction
        along = (rest_momentum * mother.momentum).sum(1)
        boost = along / (mass * (mother_energy + mass)) + rest_energy / mass
        boosted = rest_momentum + boost[:, None] * mother.momentum
        energy = (rest_energy * mother_energy + along) / mass
        flip = anti if pdg not in (PHOTON, 111) else 1
        out.append(
            Particles(
                mother.event,
                np.full(len(mother), pdg, np.int32) * flip,
                (np.full(len(mother), charge) * anti).astype(np.int8),
                mother.position,
                boosted,
                energy,
            )
        )
    return out


def radiation_lengths(eta: np.ndarray) -> np.ndarray:
    """Material in front of the ECAL at these pseudorapidities, in X0."""
    return np.interp(np.abs(eta), MATERIAL_ETA, MATERIAL_X0)


def cross(
    interact: Callable, particles: Particles, rng: np.random.Generator, endcaps: bool
) -> tuple[Particles, Particles]:
    """Move particles through the tracker with `convert` or `radiate`.

    Args:
      interact: `convert` or `radiate`.
      particles: photons or electrons.
      rng: source of randomness.
      endcaps: whether particles that fly into the endcaps cross discs; otherwise all cross cylinders.
    """
    if not endcaps:
        return interact(particles, rng)
    forward = np.abs(particles.eta) > geometry.EB_MAX_ETA
    parts = interact(particles[~forward], rng), interact(particles[forward], rng, DISCS)
    return tuple(Particles.concatenate(both) for both in zip(*parts, strict=True))


def convert(
    photons: Particles, rng: np.random.Generator, layers: Layers = CYLINDERS
) -> tuple[Particles, Particles]:
    """Convert photons; returns those that reach the ECAL, and the electrons of the others.

    The energy is shared as 1 - 4/3 x (1 - x) (Bethe-Heitler, complete screening).
    """
    layer_x0 = radiation_lengths(photons.eta) / len(layers)
    passed = np.searchsorted(layers.depth, layers.depth_of(photons))
    layer = passed + (rng.exponential(9 / 7, len(photons)) / layer_x0).astype(np.int64)
    converts = layer < len(layers)
    at, hits = layers.move_to(photons[converts], layers.depth[layer[converts]])
    at = at[hits]
    share = _bethe_heitler_share(len(at), rng)
    pairs = [
        dataclasses.replace(
            at,
            pdg=np.full(len(at), -charge * ELECTRON, np.int32),
            charge=np.full(len(at), charge, np.int8),
            momentum=at.momentum * fraction[:, None],
            energy=at.energy * fraction,
        )
        for charge, fraction in ((1, share), (-1, 1 - share))
    ]
    return photons[~converts], Particles.concatenate(pairs)


def _bethe_heitler_share(size: int, rng: np.random.Generator) -> np.ndarray:
    """Draws x with density proportional to 1 - 4/3 x (1 - x): inverse of its cubic integral."""
    grid = np.linspace(0, 1, 201)
    integral = (grid - 2 / 3 * grid**2 + 4 / 9 * grid**3) * 9 / 7
    return np.interp(rng.random(size), integral, grid)


def radiate(
    electrons: Particles, rng: np.random.Generator, layers: Layers = CYLINDERS
) -> tuple[Particles, Particles]:
    """Move electrons through the tracker; returns those that leave it and the photons they radiate."""
    shed = []
    ln_range = np.log(1 / SOFTEST_PHOTON)
    for depth in layers.depth:
        ahead = layers.depth_of(electrons) < depth - 1e-6
        moved, reached = layers.move_to(electrons[ahead], depth)
        kept = moved[reached & (moved.pt > layers.softest_electron)]
        electrons = Particles.concatenate([electrons[~ahead], kept])
        on_layer = np.abs(layers.depth_of(electrons) - depth) < 1e-3
        for _ in range(layers.parts):
            rate = radiation_lengths(electrons.eta) / len(layers) / layers.parts * 4 / 3 * ln_range
            fraction = SOFTEST_PHOTON ** rng.random(len(electrons))
            weight = 1 - fraction + 0.75 * fraction**2
            emits = on_layer & (rng.random(len(electrons)) < (1 - np.exp(-rate)) * weight)
            lost = np.where(emits, fraction, 0.0)
            shed.append(_photons(electrons[emits], fraction[emits]))
            electrons = dataclasses.replace(
                electrons,
                momentum=electrons.momentum * (1 - lost)[:, None],
                energy=electrons.energy * (1 - lost),
            )
    return electrons, Particles.concatenate(shed)


def _photons(electrons: Particles, fraction: np.ndarray) -> Particles:
    return dataclasses.replace(
        electrons,
        pdg=np.full(len(electrons), PHOTON, np.int32),
        charge=np.zeros(len(electrons), np.int8),
        momentum=electrons.momentum * fraction[:, None],
        energy=electrons.energy * fraction,
    )
