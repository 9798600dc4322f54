"""The built-in collisions do not change, bit for bit, when the code around their simulation changes.

The digests are those of the datasets of version 3.0.0. After a change of the physics, print new ones:
`python -m tests.sources.simulation.test_same_events`.
"""

import hashlib

import numpy as np
import pytest

pytest.importorskip("pythia8mc")

from e2e_jax.detector import geometry
from e2e_jax.events.base import Ragged
from e2e_jax.events.diphotons import Events
from e2e_jax.sources.simulation import pileup, simulate
from e2e_jax.sources.simulation.jobs import SimulationJob, simulation_jobs
from e2e_jax.studies import hgg

EVENTS = {
    ("central", "gamma_gamma"): "feb5ed9049b97c9d",
    ("central", "h"): "b44ee2a1689d0702",
    ("central", "gamma_jet"): "e335480e8a039632",
    ("central_forward", "gamma_gamma"): "f9df082a72042464",
    ("central_forward", "h"): "44905bbc3b13e885",
    ("central_forward", "gamma_jet"): "ccdcabc4704da5d4",
}
"""(selection, label) -> digest of two events of seed 2026."""

JOBS = {
    ("central", 7, "train"): "1a2d0d1987f8a839",
    ("central", 7, "validation"): "7bc444e80a0a275c",
    ("central", 2000, "train"): "d33d6ee2b3e0e15f",
    ("central", 2000, "validation"): "9cb1253937f94226",
    ("central", 51200, "train"): "3feccee3352a3b30",
    ("central", 51200, "validation"): "4111cfbb5f99ce2e",
    ("central_forward", 7, "train"): "e303b4543e96881f",
    ("central_forward", 7, "validation"): "2a797c7f6930544b",
    ("central_forward", 2000, "train"): "b1a71187ec38e100",
    ("central_forward", 2000, "validation"): "f4f19139f4872890",
    ("central_forward", 51200, "train"): "edc28862b2b127b3",
    ("central_forward", 51200, "validation"): "14d3299bdd66ddb7",
}
"""(selection, events of each label, split) -> digest of the jobs: label, era, seed, events and lumi."""


def pool(endcaps: bool) -> pileup.Pool:
    """Random deposits instead of minimum-bias collisions, which take a minute to simulate."""
    random, n = np.random.default_rng(7), 60
    exist = (
        np.arange(geometry.EB_CELLS),
        np.flatnonzero(geometry.hcal_exists()),
        np.flatnonzero(geometry.ee_exists()),
    )

    def hits(cells, number):
        counts = random.poisson(number, n)
        columns = {
            "cell": random.choice(cells, counts.sum()).astype(np.uint16),
            "energy": random.exponential(0.1, counts.sum()).astype(np.float32),
        }
        return Ragged.from_counts(counts, columns)

    ecal, hcal, ee = (hits(cells, number) for cells, number in zip(exist, (30, 6, 20)))
    counts = random.poisson(10, n)
    size = counts.sum()
    tracks = {
        "pt": random.exponential(1, size),
        "eta": random.uniform(-2, 2, size),
        "phi": random.uniform(-3, 3, size),
    }
    tracks = {name: values.astype(np.float32) for name, values in tracks.items()}
    vertex_z, sum_pt2 = random.normal(0, pileup.VERTEX_SIGMA, n), random.exponential(30, n)
    tracks = Ragged.from_counts(counts, tracks)
    return pileup.Pool(ecal, hcal, tracks, vertex_z, sum_pt2, ee if endcaps else None)


def digest(events: Events) -> str:
    """Digest of all data that a network may use, and of the addresses."""
    sha = hashlib.sha256()

    def add(name, values):
        if isinstance(values, dict):
            for key in sorted(values):
                add(f"{name}.{key}", values[key])
        else:
            sha.update(
                f"{name} {values.dtype} {values.shape}".encode() + np.ascontiguousarray(values).tobytes()
            )

    add("", {**events.to_batch(), "run": events.run, "lumi": events.lumi, "event": events.event})
    return sha.hexdigest()[:16]


def digest_of_events(selection: str, label: str) -> str:
    study = hgg.STUDIES[selection]
    place = study.labels.index(label)
    sample, options = study.samples[place], {"endcaps": study.endcaps, "fast": True, "lumi": 3}
    job = SimulationJob(sample, place, sample.eras[1], 2026, 2, study.select, **options)
    return digest(simulate.produce(job, pool(study.endcaps)))


def digest_of_jobs(selection: str, events: int, split: str) -> str:
    jobs = [
        (job.label, job.sample.eras.index(job.era), job.seed, job.events, job.lumi)
        for job in simulation_jobs(hgg.STUDIES[selection], events, split, fast=True)
    ]
    return hashlib.sha256(repr(jobs).encode()).hexdigest()[:16]


@pytest.mark.slow
@pytest.mark.parametrize(("selection", "label"), EVENTS)
def test_the_events_of_a_job_stay_the_same(selection, label):
    assert digest_of_events(selection, label) == EVENTS[selection, label]


@pytest.mark.parametrize(("selection", "events", "split"), JOBS)
def test_the_jobs_of_a_dataset_stay_the_same(selection, events, split):
    assert digest_of_jobs(selection, events, split) == JOBS[selection, events, split]


if __name__ == "__main__":
    for selection in ("central", "central_forward"):
        for label in hgg.LABELS:
            print(f"    ({selection!r}, {label!r}): {digest_of_events(selection, label)!r},")
        for events in (7, 2000, 51200):
            for split in ("train", "validation"):
                print(
                    f"    ({selection!r}, {events}, {split!r}): {digest_of_jobs(selection, events, split)!r},"
                )
