"""The simulated source of events: from a job to selected, reconstructed collisions.

A job defines how much of the detector is simulated: the barrel, or the whole detector to |eta| = 3. The same
code simulates the barrel in both cases.

This is a fast simulation: correct physics in a simplified detector. It cannot replace a result on CMS Open
Data.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterator

import numpy as np

from e2e_jax.errors import StudyError
from e2e_jax.events.base import Ragged
from e2e_jax.events.diphotons import Events, by_pt
from e2e_jax.sources.simulation import (
    conditions,
    crossings,
    endcap_photons,
    endcap_readout,
    generator,
    hcal,
    photons,
    pileup,
    readout,
)
from e2e_jax.sources.simulation.jobs import SimulationJob
from e2e_jax.sources.simulation.pool_files import Shards
from e2e_jax.sources.simulation.response import respond
from e2e_jax.study.selection import CutCounts, kept

BATCH = 50
"""Events simulated together; the dense crystals of an event take half a megabyte."""
MOST_IN_VAIN = 1000
"""Simulated events after which it is an error if none has passed the selection."""
AHEAD = 5
"""Maximum collisions per wanted event that a process generates while others make the pile-up."""
EXTRA_PILEUP_IN_FAST_MODE = 2
"""Overlays at the event's vertex that replace the multi-parton interactions missing in the fast mode."""

PHOTOELECTRONS = 1500
"""Per GeV (CMS ECAL TDR: stochastic term with the photodiodes' excess noise)."""
UNIFORMITY, MISCALIBRATION = 0.003, 0.004
"""Relative spread of a crystal's response along its length, and of its calibration (CMS ECAL TDR)."""


def produce(job: SimulationJob, pool: pileup.Pool | None = None) -> Events:
    """Simulate collisions until `job.events` of them pass the selection.

    Args:
      job: the job; the same job always gives the same events, bit for bit.
      pool: the pile-up; by default that of the job's split, from its files.

    Returns:
      `job.events` events with hits in the detector's native segmentation.

    Raises:
      StudyError: the selection keeps no event, or cannot be applied; or as in `generator`.
      ValueError: the reduction is unknown.
    """
    readout.keeps_all(job.reduction)  # refuses an unknown reduction before events are generated
    rng = np.random.default_rng(job.seed)
    seed = job.seed % generator.MAX_SEED
    chunks = generator.generate(job.sample, seed, fast=job.fast, chunk=2 * BATCH)
    if pool is None:
        shards = Shards(job.split, job.pileup_shards, job.endcaps)
        chunks = collisions_while_made(shards, chunks, AHEAD * job.events)
    parts, made, counts = [], 0, CutCounts()
    for record in batches(chunks, BATCH):
        simulated = simulate(record, job, shards.draw(rng) if pool is None else pool, rng)
        events, selected = kept(simulated, job.select)
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


def collisions_while_made(shards: Shards, collisions: Iterator[Ragged], enough: int) -> Iterator[Ragged]:
    """Make the pile-up, and generate collisions while other processes make its last files.

    Args:
      shards: the pile-up.
      collisions: chunks of the job's collisions.
      enough: number of collisions after which this process only waits.

    Returns:
      The same chunks as `collisions`.
    """
    ahead: list[Ragged] = []

    def generate_or_wait():
        if sum(map(len, ahead)) < enough:
            ahead.append(next(collisions))
        else:
            time.sleep(0.1)

    shards.make(wait=generate_or_wait)
    return itertools.chain(ahead, collisions)


def batches(chunks, size: int):
    """Group the generator's chunks, whose sizes vary, into batches of `size` events."""
    waiting = None
    for chunk in chunks:
        waiting = chunk if waiting is None else Ragged.concatenate([waiting, chunk])
        while len(waiting) >= size:
            yield waiting[:size]
            waiting = waiting[size:]


def simulate(record: Ragged, job: SimulationJob, pool: pileup.Pool, rng: np.random.Generator) -> Events:
    """Simulate one batch, from generated particles to events with all photons, before the selection."""
    count = len(record)
    extra = EXTRA_PILEUP_IN_FAST_MODE if job.fast else 0
    means = crossings.draw_means(job.era, count, rng)
    collisions, beside = rng.poisson(means) + extra, crossings.neighbors(means, rng)
    seen = detect(
        record, pool, collisions, beside, rng, job.reduction, endcaps=job.endcaps, of_the_event=extra
    )
    return Events(
        run=np.full(count, job.era.run, np.int64),
        lumi=np.full(count, job.lumi, np.int64),
        event=np.zeros(count, np.int64),
        label=np.full(count, job.label, np.int32),
        photons=by_pt(seen.photons),
        eb=seen.eb,
        ee=seen.ee,
        hcal=seen.hcal,
        tracks=seen.tracks,
    )


@dataclasses.dataclass(frozen=True)
class Detected:
    """Content of the analysis format for a batch of events.

    Attributes:
      eb, ee, hcal: hits, `cell` and `energy`.
      tracks: `pt`, `eta`, `phi`.
      photons: `pt`, `eta`, `phi`, `detector_eta` of all reconstructed photons.
      barrel, forward: photons of each part, with the shapes of `photons.reconstruct_photons`; `forward` is
        None if only the barrel was simulated.
      collision_z, vertex_z: `[events]`, true and assigned position of the vertex along the beam, cm.
    """

    eb: Ragged
    ee: Ragged
    hcal: Ragged
    tracks: Ragged
    photons: Ragged
    barrel: Ragged
    forward: Ragged | None
    collision_z: np.ndarray
    vertex_z: np.ndarray


def detect(
    record: Ragged,
    pool: pileup.Pool,
    collisions: np.ndarray,
    beside: np.ndarray,
    rng: np.random.Generator,
    reduction: str = "aodsim",
    *,
    endcaps: bool = False,
    of_the_event: int = 0,
) -> Detected:
    """Simulate detector and reconstruction for generated events and their pile-up.

    Args:
      record: particles of the events, from `generator.generate`.
      pool: source of the pile-up.
      collisions: `[events]`, number of pile-up collisions in the same crossing.
      beside: `[crossings, events]`, number of collisions in each of `crossings.NEIGHBORS`.
      rng: the only source of randomness.
      reduction: one of `readout.REDUCTIONS`.
      endcaps: simulate the whole detector; `pool` must contain it.
      of_the_event: how many of `collisions` replace multi-parton interactions of the event.
    """
    collision_z = rng.normal(0, pileup.VERTEX_SIGMA, len(record))
    deposits = respond(record, collision_z, rng, endcaps)
    deposits = pool.overlay(deposits, collisions, rng, of_the_event)
    late = pool.out_of_time(beside, rng)
    vertex_z = deposits.vertex_z
    signal = measured(deposits.ecal, rng) + late.ecal
    ecal_hits = readout.ecal_barrel_readout(signal, rng, noise=conditions.barrel_noise())
    ecal_hits = conditions.alive(ecal_hits, conditions.dead_barrel())
    channels = hcal.measure(deposits.hcal, rng, late=late.hcal, endcaps=endcaps)
    hcal_hits = channels.hits()
    clusters = photons.superclusters(ecal_hits)
    found = photons.reconstruct_photons(ecal_hits, hcal_hits, clusters, vertex_z)
    ee, forward, everywhere = _no_hits(len(record)), None, found
    if endcaps:
        signal = measured(deposits.ee, rng) + late.ee
        ee, forward, everywhere = _endcaps(signal, hcal_hits, vertex_z, found, reduction, rng)
    return Detected(
        readout.reduce_hits(ecal_hits, clusters, found, reduction, forward),
        ee,
        channels.flagged_hits() if reduction == "aodsim" else hcal_hits,
        deposits.tracks,
        everywhere,
        found,
        forward,
        collision_z,
        vertex_z,
    )


def _no_hits(events: int) -> Ragged:
    columns = {"cell": np.zeros(0, np.uint16), "energy": np.zeros(0, np.float32)}
    return Ragged.from_counts(np.zeros(events, np.int64), columns)


def _endcaps(
    signal: np.ndarray, hcal_hits: Ragged, vertex_z, barrel_photons: Ragged, reduction: str, rng
) -> tuple[Ragged, Ragged, Ragged]:
    """The endcaps of one batch: kept hits, photons, and the photons of the whole detector."""
    hits = endcap_readout.ecal_endcap_readout(signal, rng, noise=conditions.endcap_noise())
    hits = conditions.alive(hits, conditions.dead_endcaps())
    clusters = endcap_photons.clusters(hits)
    found = endcap_photons.reconstruct_endcap_photons(hits, hcal_hits, clusters, vertex_z)
    everywhere = _joined(barrel_photons, found)
    return endcap_readout.reduce_endcap_hits(hits, clusters, everywhere, reduction), found, everywhere


def _joined(first: Ragged, second: Ragged) -> Ragged:
    """Concatenate photons event by event."""
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
