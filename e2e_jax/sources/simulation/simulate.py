"""The embedded source of events: from a task to selected, reconstructed collisions.

The category of a task says how much of the detector is simulated: the barrel for "central", all of it
to |eta| = 3 for the others. What both have in common, the barrel of an event, is made by the same code.

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

from e2e_jax.events.base import Ragged
from e2e_jax.events.diphotons import CLASSES, Events
from e2e_jax.execution.jobs import SimulationTask
from e2e_jax.sources.selection import ERAS, select
from e2e_jax.sources.simulation import endcap_photons, endcap_readout, generator, photons, pileup, readout
from e2e_jax.sources.simulation.response import Deposits, respond

VERSION = "2"
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
    seed = task.seed % generator.MAX_SEED
    chunks = generator.generate(
        CLASSES[task.label], seed, fast=task.fast, category=task.category, chunk=2 * BATCH
    )
    endcaps = with_endcaps(task.category)
    pool, chunks = pool_and_collisions(
        lambda: pileup.minimum_bias_pool(endcaps=endcaps), chunks, 2 * task.events, pool_lock(endcaps)
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
      collisions: chunks of the task's collisions.
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


def with_endcaps(category: str) -> bool:
    """Whether the events of a category need more than the barrel."""
    return category != "central"


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
    endcaps = with_endcaps(task.category)
    deposits = pool.overlay(respond(record, vertex_z, rng, endcaps), collisions, rng)
    ecal_hits = readout.ecal_barrel_readout(measured(deposits.ecal, rng), rng)
    hcal_hits = readout.hcal_readout(deposits.hcal, rng, endcaps=endcaps)
    clusters = photons.superclusters(ecal_hits)
    vertex_z = photons.choose_vertex(vertex_z, rng)
    found = photons.reconstruct_photons(ecal_hits, hcal_hits, clusters, vertex_z)
    if endcaps:
        ee, forward, found_everywhere = _endcaps(deposits, hcal_hits, vertex_z, found, task, rng)
    else:
        ee, forward, found_everywhere = _no_hits(len(record)), None, found
    selection = select(found_everywhere, task.category)
    count = len(record)
    events = Events(
        run=np.full(count, era.run, np.int64),
        lumi=np.full(count, task.lumi, np.int64),
        event=np.zeros(count, np.int64),
        mass=selection.mass,
        photons=selection.photons,
        label=np.full(count, task.label, np.int32),
        eb=readout.reduce_hits(ecal_hits, clusters, found, task.reduction, forward),
        ee=ee,
        hcal=hcal_hits,
        tracks=deposits.tracks,
    )
    return events[selection.selected]


def _no_hits(events: int) -> Ragged:
    columns = {"cell": np.zeros(0, np.uint16), "energy": np.zeros(0, np.float32)}
    return Ragged.from_counts(np.zeros(events, np.int64), columns)


def _endcaps(deposits: Deposits, hcal_hits: Ragged, vertex_z, barrel_photons: Ragged, task, rng):
    """The endcaps of one batch: hits that are kept, their photons, and the photons of the whole detector."""
    hits = endcap_readout.ecal_endcap_readout(measured(deposits.ee, rng), rng)
    clusters = endcap_photons.clusters(hits)
    found = endcap_photons.reconstruct_endcap_photons(hits, hcal_hits, clusters, vertex_z)
    everywhere = _joined(barrel_photons, found)
    return endcap_readout.reduce_endcap_hits(hits, clusters, everywhere, task.reduction), found, everywhere


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
