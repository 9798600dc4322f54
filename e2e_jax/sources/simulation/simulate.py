"""The embedded source of events: from a job to selected, reconstructed collisions.

A job says how much of the detector is simulated: the barrel, or all of it to |eta| = 3. What both have in
common, the barrel of an event, is made by the same code.

Everything made here is fast simulation: honest physics in a simplified detector, never a stand-in
for a result on CMS Open Data.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator

import filelock
import numpy as np

from e2e_jax.errors import StudyError
from e2e_jax.events.base import Ragged
from e2e_jax.events.diphotons import Events, by_pt
from e2e_jax.selection import CutCounts, kept
from e2e_jax.sources.simulation import endcap_photons, endcap_readout, generator, photons, pileup, readout
from e2e_jax.sources.simulation.jobs import SimulationJob
from e2e_jax.sources.simulation.response import Deposits, respond

BATCH = 50
"""Events simulated together; their crystals are dense, half a megabyte each."""
MOST_IN_VAIN = 1000
"""Simulated events after which a selection that keeps none is an error."""
EXTRA_PILEUP_IN_FAST_MODE = 2
"""Overlays in place of the multi-parton interactions that the fast mode leaves out."""

PHOTOELECTRONS = 1500
"""Per GeV (CMS ECAL TDR: stochastic term with the photodiodes' excess noise)."""
UNIFORMITY, MISCALIBRATION = 0.003, 0.004
"""Relative spread of a crystal's response along its length, and of its calibration (CMS ECAL TDR)."""


def produce(job: SimulationJob) -> Events:
    """Simulates collisions until `job.events` of them pass the selection.

    Args:
      job: what to make; the same job always gives the same events, bit for bit.

    Returns:
      `job.events` events with hits in the detector's native segmentation.

    Raises:
      StudyError: the selection keeps no event, or cannot be applied; or see `generator`.
    """
    rng = np.random.default_rng(job.seed)
    seed = job.seed % generator.MAX_SEED
    chunks = generator.generate(job.sample, seed, fast=job.fast, chunk=2 * BATCH)
    pool, chunks = pool_and_collisions(
        lambda: pileup.minimum_bias_pool(endcaps=job.endcaps), chunks, 2 * job.events, pool_lock(job.endcaps)
    )
    parts, made, counts = [], 0, CutCounts()
    for record in batches(chunks, BATCH):
        events, selected = kept(simulate(record, job, pool, rng), job.select)
        counts.add(selected)
        parts.append(events[: job.events - made])
        made += len(parts[-1])
        if made == job.events:
            break
        if not made and counts.seen >= MOST_IN_VAIN:
            raise StudyError(
                f"The selection keeps none of the first {counts.seen} simulated events of "
                f"{job.sample.label}. Events left after each cut: {counts}. Loosen the selection, or "
                "generate events that pass it."
            )
    events = Events.concatenate(parts)
    events.event[:] = np.arange(1, len(events) + 1)
    return events


def pool_lock(endcaps: bool) -> filelock.FileLock:
    """The lock of the process that makes the pile-up, beside the file of the pile-up."""
    path = pileup.pool_path(endcaps=endcaps).with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    return filelock.FileLock(path)


def pool_and_collisions(
    make_pool: Callable[[], pileup.Pool],
    collisions: Iterator[Ragged],
    enough: int,
    lock: filelock.BaseFileLock,
) -> tuple[pileup.Pool, Iterator[Ragged]]:
    """Gets the pile-up, and generates collisions as long as another process makes it.

    Args:
      make_pool: reads or makes the pile-up; called while `lock` is held.
      collisions: chunks of the job's collisions.
      enough: collisions after which this process only waits.
      lock: held by the process that makes the pile-up.

    Returns:
      The pile-up, and the same chunks as `collisions`.
    """
    ahead: list[Ragged] = []
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(lock.acquire(blocking=False))
                break
            except filelock.Timeout:
                if sum(map(len, ahead)) < enough:
                    ahead.append(next(collisions))
                else:
                    time.sleep(0.1)
            except (OSError, NotImplementedError):
                # A file system without locks: every process makes the pile-up.
                break
        return make_pool(), itertools.chain(ahead, collisions)


def batches(chunks, size: int):
    """Groups the generator's chunks, whose sizes vary, into batches of `size` events."""
    waiting = None
    for chunk in chunks:
        waiting = chunk if waiting is None else Ragged.concatenate([waiting, chunk])
        while len(waiting) >= size:
            yield waiting[:size]
            waiting = waiting[size:]


def simulate(record: Ragged, job: SimulationJob, pool: pileup.Pool, rng: np.random.Generator) -> Events:
    """One batch, from generated particles to events with all their photons, before the selection."""
    vertex_z = rng.normal(0, pileup.VERTEX_SIGMA, len(record))
    extra = EXTRA_PILEUP_IN_FAST_MODE if job.fast else 0
    collisions = rng.poisson(job.era.pileup, len(record)) + extra
    deposits = pool.overlay(respond(record, vertex_z, rng, job.endcaps), collisions, rng)
    ecal_hits = readout.ecal_barrel_readout(measured(deposits.ecal, rng), rng)
    hcal_hits = readout.hcal_readout(deposits.hcal, rng, endcaps=job.endcaps)
    clusters = photons.superclusters(ecal_hits)
    vertex_z = photons.choose_vertex(vertex_z, rng)
    found = photons.reconstruct_photons(ecal_hits, hcal_hits, clusters, vertex_z)
    if job.endcaps:
        ee, forward, everywhere = _endcaps(deposits, hcal_hits, vertex_z, found, job, rng)
    else:
        ee, forward, everywhere = _no_hits(len(record)), None, found
    count = len(record)
    return Events(
        run=np.full(count, job.era.run, np.int64),
        lumi=np.full(count, job.lumi, np.int64),
        event=np.zeros(count, np.int64),
        label=np.full(count, job.label, np.int32),
        photons=by_pt(everywhere),
        eb=readout.reduce_hits(ecal_hits, clusters, found, job.reduction, forward),
        ee=ee,
        hcal=hcal_hits,
        tracks=deposits.tracks,
    )


def _no_hits(events: int) -> Ragged:
    columns = {"cell": np.zeros(0, np.uint16), "energy": np.zeros(0, np.float32)}
    return Ragged.from_counts(np.zeros(events, np.int64), columns)


def _endcaps(deposits: Deposits, hcal_hits: Ragged, vertex_z, barrel_photons: Ragged, job, rng):
    """The endcaps of one batch: hits that are kept, their photons, and the photons of the whole detector."""
    hits = endcap_readout.ecal_endcap_readout(measured(deposits.ee, rng), rng)
    clusters = endcap_photons.clusters(hits)
    found = endcap_photons.reconstruct_endcap_photons(hits, hcal_hits, clusters, vertex_z)
    everywhere = _joined(barrel_photons, found)
    return endcap_readout.reduce_endcap_hits(hits, clusters, everywhere, job.reduction), found, everywhere


def _joined(first: Ragged, second: Ragged) -> Ragged:
    """Photons of both, event by event."""
    event = np.concatenate([first.event_index, second.event_index])
    order = np.argsort(event, kind="stable")
    names = ("pt", "eta", "phi", "detector_eta")
    columns = {name: np.concatenate([first.columns[name], second.columns[name]])[order] for name in names}
    return Ragged.from_counts(np.bincount(event, minlength=len(first)), columns)


def measured(deposits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Crystal energies after photo-statistics, non-uniformity and miscalibration.

    Args:
      deposits: `[events, crystals]`, GeV.
      rng: source of the fluctuations.
    """
    energy = deposits.astype(np.float32)
    flat = energy.reshape(-1)
    lit = np.flatnonzero(flat > readout.NEGLIGIBLE)
    true = flat[lit]
    spread = np.sqrt(true / PHOTOELECTRONS + (UNIFORMITY**2 + MISCALIBRATION**2) * true**2)
    flat[lit] = np.maximum(true + spread * rng.standard_normal(len(true), np.float32), 0)
    return energy
