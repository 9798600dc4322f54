"""Particle guns: single electrons and photons, pairs of them, and decays to photons, in the ECAL barrel.

No generator is needed: momenta are drawn, and the tracker's material and field are simulated. Electrons
radiate, photons convert, and the field spreads the products in phi. This distinguishes the two (M. Andrews
et al., arXiv:1807.11916, Section 6).

A shower covers few crystals. The view "crop" reads out only a window around the hottest crystal; "barrel"
reads out everything. Crystals in both views have the same distribution. Energies are read out as for
collision events. The time of a crystal is that of its energy. It depends on the time of the collision, the
path from the vertex, and the depth of the spots, because light is slower than the shower on the way to the
photodiode at the rear. The time of a straight flight from the center of CMS is subtracted.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from e2e_jax.detector import crops, geometry
from e2e_jax.events.base import Ragged
from e2e_jax.events.showers import Showers
from e2e_jax.sources.simulation import barrel, digis, material, pileup, readout, showers
from e2e_jax.sources.simulation.jobs import GunJob
from e2e_jax.sources.simulation.particles import ELECTRON, PHOTON, Particles
from e2e_jax.sources.simulation.pool_files import Shards
from e2e_jax.sources.simulation.simulate import measured
from e2e_jax.study.samples import MASS_A, PT_A, Decay, Gun

RUN = 1
"""Same value as in simulated samples of CMS."""
BATCH = 50
"""Shots simulated together."""
PILEUP_SHARDS = 2
"""Number of pile-up files, see `pool_files`."""
ELECTRON_MASS = 0.000511
"""GeV."""

SLACK = 4
"""Crystals read around a crop, because noise may move the highest energy by one crystal."""
WINDOW = crops.SIDE + 2 * SLACK

SPEED_OF_LIGHT = 29.979
"""cm/ns."""
REFRACTIVE_INDEX = 2.2
"""Refractive index of PbWO4 (PDG, atomic and nuclear properties of materials)."""
SHOWER_DEPTH = 7.0
"""cm behind the front face; light from this depth has time 0."""
COLLISION_SPREAD = 0.19
"""ns; spread of collision times, for crossing bunches with a luminous region of 5 cm."""
SYNCHRONISATION = 0.07
"""ns, spread between crystals: a choice between 20 ps, from a test beam with one clock, and 500 ps, the first
synchronization of the whole detector (CMS, arXiv:0911.4044)."""


def produce(job: GunJob, pool: pileup.Pool | None = None) -> Showers:
    """Simulate and read out `job.events` shots; the same job gives the same showers, bit for bit.

    Args:
      job: the job.
      pool: the pile-up; by default that of the job's split, from its files.
    """
    rng = np.random.default_rng(job.seed)
    gun = job.sample.source
    shards, parts = Shards(job.split, PILEUP_SHARDS), []
    for size in np.diff([*range(0, job.events, BATCH), job.events]):
        drawn = shards.draw(rng) if gun.pileup and pool is None else pool
        parts.append(_shots(job, int(size), drawn, rng))
    made = Showers.concatenate(parts)
    made.event[:] = np.arange(1, len(made) + 1)
    return crops.crop(made) if gun.view == "crop" else made


def _shots(job: GunJob, events: int, pool: pileup.Pool | None, rng: np.random.Generator) -> Showers:
    gun = job.sample.source
    particles = shoot(gun, events, rng)
    energy, lateness = deposit(particles, rng.normal(0, COLLISION_SPREAD, events), events, rng)
    if gun.pileup:
        energy = energy + pool.barrel_energies(rng.poisson(gun.pileup, events), rng)
    full = readout.full_readout(energy, readout.TOWER_ET)
    if gun.view == "crop":
        cells = _windows(energy.argmax(axis=1))
        energy, lateness, full = (np.take_along_axis(of, cells, axis=1) for of in (energy, lateness, full))
    else:
        cells = np.broadcast_to(np.arange(geometry.EB_CELLS), energy.shape)
    crystals, samples = _read(energy, lateness, full, gun.digis, rng)
    columns = {"cell": cells[crystals.event_index, crystals.cell].astype(np.uint16)}
    counts = crystals.counts if gun.digis else np.zeros(events, np.int64)
    read = {"cell": columns["cell"][: len(samples)], "samples": samples}
    return Showers(
        run=np.full(events, RUN, np.int64),
        lumi=np.full(events, job.lumi, np.int64),
        event=np.zeros(events, np.int64),
        label=np.full(events, job.label, np.int32),
        particles=_generated(particles, gun.shots),
        crystals=dataclasses.replace(crystals, columns={**crystals.columns, **columns}),
        digis=Ragged.from_counts(counts, read),
        observables=_of_decays(particles) if isinstance(gun, Decay) else {},
    )


def shoot(gun: Gun, events: int, rng: np.random.Generator) -> Particles:
    """The particles of a batch of shots at their origin, `[events * gun.shots]`."""
    per_shot = gun.shots
    if isinstance(gun, Decay):
        return decays(gun, events, rng)
    size = events * per_shot
    pt, phi = rng.uniform(*gun.pt, size), rng.uniform(-np.pi, np.pi, size)
    eta = rng.uniform(-gun.max_eta, gun.max_eta, size)
    momentum = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=1)
    position = np.zeros((size, 3))
    position[:, 2] = np.repeat(rng.normal(0, pileup.VERTEX_SIGMA, events), per_shot)
    if gun.particle == "photon":
        pdg, charge, mass = PHOTON, np.zeros(size, np.int8), 0.0
    else:
        first = rng.choice(np.array([-1, 1], np.int8), events)
        charge = np.stack([first, -first], axis=1)[:, :per_shot].ravel()
        pdg, mass = -charge.astype(np.int32) * ELECTRON, ELECTRON_MASS
    return Particles(
        event=np.repeat(np.arange(events), per_shot),
        pdg=np.broadcast_to(np.int32(pdg), size),
        charge=charge,
        position=position,
        momentum=momentum,
        energy=np.hypot(np.linalg.norm(momentum, axis=1), mass),
    )


def decays(gun: Decay, events: int, rng: np.random.Generator) -> Particles:
    """Photons of a batch of decays, isotropic in the rest frame of the decaying particle, `[2 events]`."""
    pt, phi = rng.uniform(*gun.pt, events), rng.uniform(-np.pi, np.pi, events)
    eta, mass = rng.uniform(-gun.max_eta, gun.max_eta, events), rng.uniform(*gun.mass, events)
    momentum = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=1)
    size = np.linalg.norm(momentum, axis=1)
    energy, axis = np.hypot(size, mass), momentum / size[:, None]
    # Two directions at right angles to the flight; below the largest eta, the flight is never along z.
    across = np.stack([-axis[:, 1], axis[:, 0], np.zeros(events)], axis=1)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    around = np.cross(axis, across)
    cosine, angle = rng.uniform(-1, 1, events), rng.uniform(-np.pi, np.pi, events)
    # Computed without the boost, which is infinite for a mass of 0.
    transverse = mass / 2 * np.sqrt(1 - cosine**2)
    sideways = transverse[:, None] * (np.cos(angle)[:, None] * across + np.sin(angle)[:, None] * around)
    first = (size + energy * cosine)[:, None] / 2 * axis + sideways
    photons = np.stack([first, momentum - first], axis=1).reshape(-1, 3)
    position = np.zeros((2 * events, 3))
    position[:, 2] = np.repeat(rng.normal(0, pileup.VERTEX_SIGMA, events), 2)
    return Particles(
        event=np.repeat(np.arange(events), 2),
        pdg=np.full(2 * events, PHOTON, np.int32),
        charge=np.zeros(2 * events, np.int8),
        position=position,
        momentum=photons,
        energy=np.linalg.norm(photons, axis=1),
    )


def _of_decays(photons: Particles) -> dict[str, np.ndarray]:
    """Observables of the particles that decayed to pairs of photons."""
    momentum = photons.momentum.reshape(-1, 2, 3).sum(axis=1)
    energy = photons.energy.reshape(-1, 2).sum(axis=1)
    mass = np.sqrt(np.maximum(energy**2 - np.sum(momentum**2, axis=1), 0))
    found = {MASS_A.name: mass, PT_A.name: np.hypot(momentum[:, 0], momentum[:, 1])}
    return {name: values.astype(np.float32) for name, values in found.items()}


def _generated(particles: Particles, per_shot: int) -> np.ndarray:
    """(pt, eta, phi), float32 `[events, 2, 3]`, leading particle first; zeros for a missing particle."""
    phi = np.arctan2(particles.momentum[:, 1], particles.momentum[:, 0])
    of_all = np.stack([particles.pt, particles.eta, phi], axis=1).reshape(-1, per_shot, 3)
    leading_first = np.argsort(-of_all[:, :, :1], axis=1, kind="stable")
    generated = np.zeros((len(of_all), 2, 3), np.float32)
    generated[:, :per_shot] = np.take_along_axis(of_all, leading_first, axis=1)
    return generated


def deposit(
    particles: Particles, collision_time: np.ndarray, events: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Energy deposits in the barrel of photons and electrons and their products in the tracker.

    Args:
      particles: at their origin.
      collision_time: `[events]`, ns.
      events: number of events of the batch.
      rng: source of interactions and showers.

    Returns:
      Energy in GeV and energy times lateness in GeV ns, float64 `[events, 61200]`.
    """
    photon = particles.is_a(PHOTON)
    photons, pairs = material.convert(particles[photon], rng)
    electrons, shed = material.radiate(Particles.concatenate([particles[~photon], pairs]), rng)
    at_face, _ = barrel.to_face(Particles.concatenate([photons, shed, electrons]))
    own = dataclasses.replace(at_face, event=np.arange(len(at_face)))
    spots, depth = showers.spots(barrel.entries(own), rng)
    spots.energy[depth > showers.CRYSTAL_LENGTH] = 0

    vertex = np.zeros((events, 3))
    vertex[particles.event] = particles.position
    flight = np.linalg.norm(at_face.position - vertex[at_face.event], axis=1)
    nominal = np.linalg.norm(at_face.position, axis=1)
    late = collision_time[at_face.event] + (flight - nominal) / SPEED_OF_LIGHT
    per_depth = np.float32((1 - REFRACTIVE_INDEX) / SPEED_OF_LIGHT)
    lateness = late.astype(np.float32)[spots.event] + per_depth * (depth - np.float32(SHOWER_DEPTH))
    spots = dataclasses.replace(spots, event=at_face.event[spots.event])
    moment = dataclasses.replace(spots, energy=spots.energy * lateness)
    return spots.in_crystals(events), moment.in_crystals(events)


def _windows(cell: np.ndarray) -> np.ndarray:
    """Barrel cells of the windows around the crops of cells `[n]`, int64 `[n, WINDOW**2]`; phi wraps."""
    first_row, first_column = crops.window(cell)
    step = np.arange(WINDOW)
    row = np.clip(first_row - SLACK, 0, geometry.EB_ROWS - WINDOW)[:, None] + step
    column = (first_column[:, None] - SLACK + step) % geometry.EB_COLUMNS
    return (row[:, :, None] * geometry.EB_COLUMNS + column[:, None, :]).reshape(len(cell), -1)


def _read(
    deposits: np.ndarray, moment: np.ndarray, full: np.ndarray, with_digis: bool, rng: np.random.Generator
) -> tuple[Ragged, np.ndarray]:
    """Read out crystals: hits with `cell`, `energy`, `time`, and the samples of each, `[hits, SAMPLES]`.

    Args:
      deposits: `[events, crystals]`, GeV.
      moment: `[events, crystals]`, energy times lateness, GeV ns.
      full: bool `[events, crystals]`, crystals to read with any energy.
      with_digis: whether to make samples.
      rng: source of all fluctuations.
    """
    signal = measured(deposits, rng)
    hits = readout.read_out(signal, full, rng, readout.EB_NOISE, readout.EB_THRESHOLD)
    where = hits.event_index, hits.cell
    late = moment[where] / np.maximum(deposits[where], readout.NEGLIGIBLE)
    late += SYNCHRONISATION * rng.standard_normal(len(late))
    if with_digis:
        true = signal[where]
        samples = digis.digitise(true, late, rng, hits.energy - true)
        energy, time = digis.reconstruct(samples)
    else:
        samples = np.zeros((0, crops.SAMPLES), np.uint16)
        energy, time = hits.energy, digis.smeared_time(hits.energy, late, rng)
    return Ragged(hits.offsets, {"cell": hits.cell, "energy": energy, "time": time}), samples
