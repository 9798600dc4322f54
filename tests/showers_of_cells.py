"""Showers of given crystals, and a stand-in for the guns that makes those of a job in an instant."""

import numpy as np

from e2e_jax.detector import crops
from e2e_jax.events.base import Ragged
from e2e_jax.events.showers import Showers


def showers_of(cells, energies, label=0, lumi=1, digis=True):
    """An event a list of cells, with energies in GeV; its digis hold ten times the energy as counts."""
    n, counts = len(cells), np.array([len(c) for c in cells], np.int64)
    cell = np.concatenate([np.asarray(c, np.int64) for c in cells]).astype(np.uint16)
    energy = np.concatenate([np.asarray(e, np.float32) for e in energies]).astype(np.float32)
    samples = np.full((len(cell), crops.SAMPLES), 200, np.uint16)
    samples[:, 5] += (10 * np.round(energy)).astype(np.uint16)
    kept = slice(None) if digis else slice(0, 0)
    return Showers(
        run=np.ones(n, np.int64),
        lumi=np.full(n, lumi, np.int64),
        event=np.arange(n, dtype=np.int64),
        label=np.full(n, label, np.int32),
        particles=np.ones((n, 2, 3), np.float32),
        crystals=Ragged.from_counts(counts, {"cell": cell, "energy": energy, "time": energy / 8 - 2}),
        digis=Ragged.from_counts(
            counts if digis else 0 * counts, {"cell": cell[kept], "samples": samples[kept]}
        ),
    )


def produce(job):
    """Random showers in the view of the job, fixed by its seed; brighter ones for electrons."""
    random = np.random.default_rng(job.seed)
    cells = [
        np.sort(random.choice(crops.CELLS[job.sample.source.view], k, replace=False))
        for k in random.integers(1, 60, job.events)
    ]
    energies = [random.exponential(1 + 3 * job.label, len(c)) + 0.1 for c in cells]
    return showers_of(cells, energies, job.label, job.lumi, job.sample.source.digis)
