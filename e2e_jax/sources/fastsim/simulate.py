"""The embedded source of events: from a task to selected, reconstructed collisions.

Everything made here is fast simulation: honest physics in a simplified detector, never a stand-in
for a result on CMS Open Data.
"""

from __future__ import annotations

import numpy as np

from e2e_jax.sources.events import CLASSES, Events, Ragged
from e2e_jax.sources.fastsim import generator, photons, pileup, readout
from e2e_jax.sources.fastsim.response import Deposits, respond
from e2e_jax.sources.selection import ERAS, select
from e2e_jax.sources.tasks import SimulationTask

VERSION = "1"
"""Version of the simulation: the same task and the same version give the same events."""
BATCH = 50
"""Events simulated together; their crystals are dense, half a megabyte each."""
EXTRA_PILEUP_IN_FAST_MODE = 2
"""Overlays in place of the multi-parton interactions that the fast mode leaves out."""

PHOTOELECTRONS = 1500
"""Per GeV (CMS ECAL TDR: stochastic term with the photodiodes' excess noise)."""
UNIFORMITY, MISCALIBRATION = 0.003, 0.004
"""Relative spread of a crystal's response along its length, and of its calibration (CMS ECAL TDR)."""


def produce(task: SimulationTask) -> Events:
    """Simulates collisions until `task.events` of them pass the selection.

    Args:
      task: what to make; the same task always gives the same events, bit for bit.

    Returns:
      `task.events` events with hits in the detector's native segmentation.
    """
    rng = np.random.default_rng(task.seed)
    pool = pileup.minimum_bias_pool()
    seed = task.seed % generator.MAX_SEED
    chunks = generator.generate(
        CLASSES[task.label], seed, fast=task.fast, category=task.category, chunk=2 * BATCH
    )
    parts, made = [], 0
    for record in batches(chunks, BATCH):
        events = _simulate(record, task, pool, rng)
        parts.append(events[: task.events - made])
        made += len(parts[-1])
        if made == task.events:
            break
    events = Events.concatenate(parts)
    events.event[:] = np.arange(1, len(events) + 1)
    return events


def batches(chunks, size: int):
    """Groups the generator's chunks, whose sizes vary, into batches of `size` events."""
    waiting = None
    for chunk in chunks:
        waiting = chunk if waiting is None else Ragged.concatenate([waiting, chunk])
        while len(waiting) >= size:
            yield waiting[:size]
            waiting = waiting[size:]


def _simulate(record: Ragged, task: SimulationTask, pool: pileup.Pool, rng: np.random.Generator) -> Events:
    """One batch from generated particles to the selected events."""
    era = ERAS[task.era]
    vertex_z = rng.normal(0, pileup.VERTEX_SIGMA, len(record))
    extra = EXTRA_PILEUP_IN_FAST_MODE if task.fast else 0
    collisions = rng.poisson(era.pileup, len(record)) + extra
    deposits = pool.overlay(respond(record, vertex_z, rng), collisions, rng)
    ecal_hits = readout.ecal_barrel_readout(measured(deposits, rng), rng)
    hcal_hits = readout.hcal_readout(deposits.hcal, rng)
    clusters = photons.superclusters(ecal_hits)
    found = photons.reconstruct_photons(ecal_hits, hcal_hits, clusters, photons.choose_vertex(vertex_z, rng))
    selection = select(found, task.category)
    count = len(record)
    events = Events(
        run=np.full(count, era.run, np.int64),
        lumi=np.full(count, task.lumi, np.int64),
        event=np.zeros(count, np.int64),
        mass=selection.mass,
        photons=selection.photons,
        label=np.full(count, task.label, np.int32),
        eb=readout.reduce_hits(ecal_hits, clusters, found, task.reduction),
        ee=Ragged.from_counts(
            np.zeros(count, np.int64), {"cell": np.zeros(0, np.uint16), "energy": np.zeros(0, np.float32)}
        ),
        hcal=hcal_hits,
        tracks=deposits.tracks,
    )
    return events[selection.selected]


def measured(deposits: Deposits, rng: np.random.Generator) -> np.ndarray:
    """Crystal energies after photo-statistics, non-uniformity and miscalibration, `[events, 61200]`."""
    energy = deposits.ecal.astype(np.float32)
    flat = energy.reshape(-1)
    lit = np.flatnonzero(flat > readout.NEGLIGIBLE)
    true = flat[lit]
    spread = np.sqrt(true / PHOTOELECTRONS + (UNIFORMITY**2 + MISCALIBRATION**2) * true**2)
    flat[lit] = np.maximum(true + spread * rng.standard_normal(len(true), np.float32), 0)
    return energy
