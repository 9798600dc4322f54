"""Particle guns: single electrons and photons, and pairs of them, in the ECAL barrel.

No generator is needed: momenta are drawn, the tracker's material and field do the rest. Electrons radiate,
photons convert, and the field spreads what comes of it in phi: that is what tells the two apart (M. Andrews
et al., arXiv:1807.11916, Section 6).

A shower lights few crystals. In the view "crop" only a window around the hottest crystal is read out, in
"barrel" everything is; what is read where both look has the same distribution. Energies are those of the
events' read-out. The time of a crystal is that of the energy in it: when the collision took place, the
way from the vertex, and the depth of the spots, as light needs longer to the photodiode at the rear
than the shower does. What a straight flight from the centre of CMS takes is calibrated away.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from e2e_jax.detector import crops, geometry
from e2e_jax.events.base import Ragged
from e2e_jax.events.showers import CLASSES, Showers
from e2e_jax.execution.jobs import LUMI_BLOCK, SPLITS, Task, derive_seed
from e2e_jax.sources.simulation import barrel, digis, material, pileup, readout, showers
from e2e_jax.sources.simulation.particles import ELECTRON, PHOTON, Particles
from e2e_jax.sources.simulation.pool_files import Shards
from e2e_jax.sources.simulation.simulate import measured

KINDS = {"single": 1, "pair": 2}
"""Kind -> particles a shot. Pairs are gamma gamma or e+ e-, each with a direction of its own."""
RUN = 1
"""As in simulated samples of CMS."""
BATCH = 50
"""Shots simulated together."""
TASK_EVENTS = 2000
"""Most shots a task: some seconds of a core, ten times that with pile-up."""
ELECTRON_MASS = 0.000511
"""GeV."""

SLACK = 4
"""Crystals read around a crop, as noise may move the highest energy by one."""
WINDOW = crops.SIDE + 2 * SLACK

SPEED_OF_LIGHT = 29.979
"""cm/ns."""
REFRACTIVE_INDEX = 2.2
"""Of PbWO4 (PDG, atomic and nuclear properties of materials)."""
SHOWER_DEPTH = 7.0
"""cm under the front face; light from there comes at time 0."""
COLLISION_SPREAD = 0.19
"""ns; a luminous region of 5 cm of bunches that pass through each other."""
SYNCHRONISATION = 0.07
"""ns, of crystals among each other: a choice between 20 ps, of a test beam with one clock, and 500 ps, the
first synchronisation of the whole detector (CMS, arXiv:0911.4044)."""


@dataclasses.dataclass(frozen=True)
class GunTask(Task):
    """Some shots of one class.

    Attributes:
      label: index into `showers.CLASSES`.
      seed: 63-bit seed of everything random in the task.
      events: shots.
      kind: key of `KINDS`.
      pt: GeV, range of the transverse momentum, flat; twice the same for a fixed one.
      max_eta: abs(eta) of the particles is flat below it.
      pileup: mean number of minimum-bias collisions in each shot, Poisson.
      digis: make samples of the crystals that are read; their energy and time are then fitted to these.
      view: "crop" or "barrel", see `detector.crops`.
      lumi: luminosity section of the shots, unique in a dataset.
      split: the split they are for; no two splits share any pile-up.
    """

    label: int
    seed: int
    events: int
    kind: str = "single"
    pt: tuple[float, float] = (50.0, 50.0)
    max_eta: float = 1.4
    pileup: float = 0.0
    digis: bool = False
    view: str = "crop"
    lumi: int = 1
    split: str = "train"

    def __post_init__(self):
        object.__setattr__(self, "pt", tuple(map(float, self.pt)))
        if self.kind not in KINDS:
            self._refuse("kind", f"there are {', '.join(map(repr, KINDS))}")
        if self.view not in crops.SHAPES:
            self._refuse("view", f"there are {', '.join(map(repr, crops.SHAPES))}")
        if self.kind == "pair" and self.view == "crop":
            self._refuse("view", "a crop shows one shower; for pairs take view 'barrel'")
        if self.label not in range(len(CLASSES)):
            self._refuse("label", f"there are 0 to {len(CLASSES) - 1}, {' and '.join(CLASSES)}")
        if len(self.pt) != 2 or not 1 <= self.pt[0] <= self.pt[1] < np.inf:
            self._refuse("pt", "give two momenta in GeV, from 1 on and in order")
        if not 0 < self.max_eta <= geometry.EB_MAX_ETA:
            self._refuse("max_eta", f"it is above 0, and the barrel ends at {geometry.EB_MAX_ETA}")
        if not 0 <= self.pileup < np.inf:
            self._refuse("pileup", "give a mean number of collisions, 0 or more")

    def _refuse(self, field: str, why: str):
        raise ValueError(f"A particle gun cannot shoot with {field} = {getattr(self, field)!r}: {why}.")


def gun_tasks(
    per_class: int, seed: int, split: str = "train", *, task_events: int = TASK_EVENTS, **options
) -> list[GunTask]:
    """The tasks of a balanced sample of electrons and photons.

    Args:
      per_class: shots of each class.
      seed: seed of the dataset; each task derives its own from it, and splits never share one.
      split: "train" or "validation".
      task_events: most shots a task.
      options: `kind`, `pt`, `max_eta`, `pileup`, `digis`, `view` of `GunTask`.

    Raises:
      ValueError: the split or an option is not known.
    """
    if split not in SPLITS:
        raise ValueError(f"No split {split!r}; there are {', '.join(SPLITS)}.")
    tasks, pieces = [], -(-per_class // task_events)
    for piece in range(pieces):
        events = per_class * (piece + 1) // pieces - per_class * piece // pieces
        for label in range(len(CLASSES)):
            task_seed = derive_seed((seed, SPLITS.index(split), label, piece))
            lumi = SPLITS.index(split) * LUMI_BLOCK + len(tasks) + 1
            tasks.append(GunTask(label, task_seed, events, lumi=lumi, split=split, **options))
    return tasks


def produce(task: GunTask, pool: pileup.Pool | None = None) -> Showers:
    """Shoots and reads out `task.events` times; the same task gives the same showers, bit for bit.

    Args:
      task: what to make.
      pool: the pile-up; by default that of the task's split, from its files.
    """
    rng = np.random.default_rng(task.seed)
    if task.pileup and pool is None:
        pool = Shards(task.split).open(0)
    sizes = np.diff([*range(0, task.events, BATCH), task.events])
    made = Showers.concatenate([_shots(task, int(size), pool, rng) for size in sizes])
    made.event[:] = np.arange(1, len(made) + 1)
    return crops.crop(made) if task.view == "crop" else made


def _shots(task: GunTask, events: int, pool: pileup.Pool | None, rng: np.random.Generator) -> Showers:
    particles = shoot(task, events, rng)
    energy, lateness = deposit(particles, rng.normal(0, COLLISION_SPREAD, events), events, rng)
    if task.pileup:
        energy = energy + pool.barrel_energies(rng.poisson(task.pileup, events), rng)
    full = readout.full_readout(energy, readout.TOWER_ET)
    if task.view == "crop":
        cells = _windows(energy.argmax(axis=1))
        energy, lateness, full = (np.take_along_axis(of, cells, axis=1) for of in (energy, lateness, full))
    else:
        cells = np.broadcast_to(np.arange(geometry.EB_CELLS), energy.shape)
    crystals, samples = _read(energy, lateness, full, task.digis, rng)
    columns = {"cell": cells[crystals.event_index, crystals.cell].astype(np.uint16)}
    counts = crystals.counts if task.digis else np.zeros(events, np.int64)
    read = {"cell": columns["cell"][: len(samples)], "samples": samples}
    return Showers(
        run=np.full(events, RUN, np.int64),
        lumi=np.full(events, task.lumi, np.int64),
        event=np.zeros(events, np.int64),
        label=np.full(events, task.label, np.int32),
        particles=_generated(particles, KINDS[task.kind]),
        crystals=dataclasses.replace(crystals, columns={**crystals.columns, **columns}),
        digis=Ragged.from_counts(counts, read),
    )


def shoot(task: GunTask, events: int, rng: np.random.Generator) -> Particles:
    """The particles of a batch of shots, where they are made: `[events * KINDS[task.kind]]`."""
    per_shot = KINDS[task.kind]
    size = events * per_shot
    pt, phi = rng.uniform(*task.pt, size), rng.uniform(-np.pi, np.pi, size)
    eta = rng.uniform(-task.max_eta, task.max_eta, size)
    momentum = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=1)
    position = np.zeros((size, 3))
    position[:, 2] = np.repeat(rng.normal(0, pileup.VERTEX_SIGMA, events), per_shot)
    if CLASSES[task.label] == "photon":
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


def _generated(particles: Particles, per_shot: int) -> np.ndarray:
    """(pt, eta, phi), float32 `[events, 2, 3]`, the leading particle first; zeros for one that is not."""
    phi = np.arctan2(particles.momentum[:, 1], particles.momentum[:, 0])
    of_all = np.stack([particles.pt, particles.eta, phi], axis=1).reshape(-1, per_shot, 3)
    leading_first = np.argsort(-of_all[:, :, :1], axis=1, kind="stable")
    generated = np.zeros((len(of_all), 2, 3), np.float32)
    generated[:, :per_shot] = np.take_along_axis(of_all, leading_first, axis=1)
    return generated


def deposit(
    particles: Particles, collision_time: np.ndarray, events: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """What photons and electrons, and all that comes of them in the tracker, leave in the barrel.

    Args:
      particles: where they are made.
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
    """Barrel cells of the windows around the crops of cells `[n]`, int64 `[n, WINDOW**2]`, phi wrapping."""
    first_row, first_column = crops.window(cell)
    step = np.arange(WINDOW)
    row = np.clip(first_row - SLACK, 0, geometry.EB_ROWS - WINDOW)[:, None] + step
    column = (first_column[:, None] - SLACK + step) % geometry.EB_COLUMNS
    return (row[:, :, None] * geometry.EB_COLUMNS + column[:, None, :]).reshape(len(cell), -1)


def _read(
    deposits: np.ndarray, moment: np.ndarray, full: np.ndarray, with_digis: bool, rng: np.random.Generator
) -> tuple[Ragged, np.ndarray]:
    """Reads out crystals: hits with `cell`, `energy`, `time`, and the samples of each, `[hits, SAMPLES]`.

    Args:
      deposits: `[events, crystals]`, GeV.
      moment: `[events, crystals]`, energy times lateness, GeV ns.
      full: bool `[events, crystals]`, which to read whatever they show.
      with_digis: whether to make samples; there are none if not.
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
