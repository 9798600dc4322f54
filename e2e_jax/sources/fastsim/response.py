"""The barrel's response to generated particles: energy in crystals and towers, and tracks."""

import dataclasses

import numpy as np

from e2e_jax.sources.events import Ragged
from e2e_jax.sources.fastsim import hadrons, material, showers, tracks
from e2e_jax.sources.fastsim.barrel import Spots, enter
from e2e_jax.sources.fastsim.particles import ELECTRON, PHOTON, Particles

LARGEST_ETA = 2.6
"""Particles beyond leave nothing in the barrel, nor a track."""
SOFTEST = 0.02
"""GeV; less reaches no read-out threshold."""


@dataclasses.dataclass(frozen=True)
class Deposits:
    """What a batch of events leaves in the detector, before read-out.

    Attributes:
      ecal: float64 `[events, 61200]`, GeV in each barrel crystal.
      hcal: float64 `[events, HCAL_TOWERS]`, GeV in each HCAL tower.
      tracks: `pt`, `eta`, `phi` of reconstructed tracks.
    """

    ecal: np.ndarray
    hcal: np.ndarray
    tracks: Ragged


def respond(record: Ragged, vertex_z: np.ndarray, rng: np.random.Generator) -> Deposits:
    """Simulates a batch of generated events.

    Args:
      record: final particles of the generator (`generator.generate`).
      vertex_z: `[events]`, where along the beam each collision happened, cm.
      rng: the only source of randomness.
    """
    events = len(record)
    particles = Particles.from_generator(record, vertex_z)
    particles = particles[(np.abs(particles.eta) < LARGEST_ETA) & (particles.energy > SOFTEST)]
    particles = material.decay_in_flight(particles, rng)

    photon = particles.is_a(PHOTON)
    photons, pairs = material.convert(particles[photon], rng)
    charged = Particles.concatenate([particles[particles.charge != 0], pairs])
    found = tracks.reconstruct(charged, events, rng)

    electron = particles.is_a(ELECTRON)
    electrons, shed = material.radiate(Particles.concatenate([particles[electron], pairs]), rng)
    electromagnetic = showers.deposit(enter(Particles.concatenate([photons, shed, electrons])), rng)
    hadronic = hadrons.deposit(enter(particles[~photon & ~electron]), rng)
    ecal, hcal = (Spots.concatenate(parts) for parts in zip(electromagnetic, hadronic, strict=True))
    return Deposits(ecal.in_crystals(events), hcal.in_towers(events), found)
