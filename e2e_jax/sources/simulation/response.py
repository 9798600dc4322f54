"""The detector's response to generated particles: energy in crystals and towers, and tracks.

Either the barrel alone is simulated, which is faster, or the whole detector to |eta| = 3.
"""

import dataclasses

import numpy as np

from e2e_jax.events.base import Ragged
from e2e_jax.sources.simulation import barrel, endcap, hadrons, material, showers, tracks
from e2e_jax.sources.simulation.particles import ELECTRON, PHOTON, Particles
from e2e_jax.sources.simulation.propagation import ENDCAP_Z

LARGEST_ETA = 2.6
"""Particles beyond this leave no energy in the barrel, and no track."""
LARGEST_ETA_ENDCAPS = 3.2
"""Particles beyond this leave no energy in the endcaps."""
SOFTEST = 0.02
"""GeV; smaller energies do not reach a read-out threshold."""


@dataclasses.dataclass(frozen=True)
class Deposits:
    """Energy deposits and tracks of a batch of events, before read-out.

    Attributes:
      ecal: float64 `[events, 61200]`, GeV in each barrel crystal.
      hcal: float64 `[events, HCAL_TOWERS]`, GeV in each HCAL tower.
      tracks: `pt`, `eta`, `phi` of reconstructed tracks.
      vertex_z: float64 `[events]`, position of the collision along the beam, cm.
      sum_pt2: float64 `[events]`, sum of pT^2 of the tracks from the collision, GeV^2.
      ee: float64 `[events, EE_CELLS]`, GeV in each endcap crystal; None if only the barrel was simulated.
    """

    ecal: np.ndarray
    hcal: np.ndarray
    tracks: Ragged
    vertex_z: np.ndarray
    sum_pt2: np.ndarray
    ee: np.ndarray | None = None


def respond(
    record: Ragged, vertex_z: np.ndarray, rng: np.random.Generator, endcaps: bool = False
) -> Deposits:
    """Simulate a batch of generated events.

    Args:
      record: final particles of the generator (`generator.generate`).
      vertex_z: `[events]`, position of each collision along the beam, cm.
      rng: the only source of randomness.
      endcaps: simulate the whole detector.
    """
    events = len(record)
    particles = Particles.from_generator(record, vertex_z)
    largest_eta = LARGEST_ETA_ENDCAPS if endcaps else LARGEST_ETA
    particles = particles[(np.abs(particles.eta) < largest_eta) & (particles.energy > SOFTEST)]
    particles = material.decay_in_flight(particles, rng, ENDCAP_Z if endcaps else np.inf)

    photon = particles.is_a(PHOTON)
    photons, pairs = material.cross(material.convert, particles[photon], rng, endcaps)
    charged = Particles.concatenate([particles[particles.charge != 0], pairs])
    found, sum_pt2 = tracks.reconstruct(charged, events, rng)

    electron = particles.is_a(ELECTRON)
    electrons = Particles.concatenate([particles[electron], pairs])
    electrons, shed = material.cross(material.radiate, electrons, rng, endcaps)
    light = Particles.concatenate([photons, shed, electrons])
    heavy = particles[~photon & ~electron]
    in_barrel, past_barrel = zip(*map(barrel.to_face, (light, heavy)), strict=True)
    ecal, hcal = _both(barrel, showers.deposit, hadrons.deposit, in_barrel, rng)
    ecal, hcal, ee = ecal.in_crystals(events), hcal.in_towers(events), None
    if endcaps:
        forward = light[past_barrel[0]], heavy[past_barrel[1]]
        deposits = showers.deposit_in_endcaps, hadrons.deposit_in_endcaps
        ee, behind = _both(endcap, *deposits, forward, rng)
        ee, hcal = ee.in_crystals(events), hcal + behind.in_towers(events)
    return Deposits(ecal, hcal, found, np.asarray(vertex_z, np.float64), sum_pt2, ee)


def _both(part, deposit_light, deposit_heavy, particles: tuple[Particles, Particles], rng):
    """ECAL and HCAL spots in one part of the detector: photons and electrons, and all other particles."""
    light, heavy = (part.entries(some) for some in particles)
    spots = zip(deposit_light(light, rng), deposit_heavy(heavy, rng), strict=True)
    return tuple(part.Spots.concatenate(both) for both in spots)
