"""Collisions that the generator's early vetoes drop, and the accepted events that they would lose.

    python benchmarks/early_veto.py [--collisions 20000] [--process gamma_jet] [--full] [--seed 1]

Evaluates the vetoes without dropping collisions, and simulates all of them. Prints how many collisions that
pass the filters, and how many that pass the selection, would have been dropped. The vetoes are correct if the
last number is 0. The hard process's veto is applied.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


from e2e_jax.events.base import Ragged
from e2e_jax.sources.simulation import early_veto, generator, simulate
from e2e_jax.sources.simulation.pool_files import Shards
from e2e_jax.studies import hgg
from tests import hgg_jobs


class Judged(generator.Generation):
    """A generation whose veto at `early_veto.SCALE` evaluates collisions and drops none."""

    def __init__(self, sample, seed: int, *, fast: bool, chunk: int = 200):
        self._verdicts: dict[tuple[float, float], bool] = {}
        super().__init__(sample, seed, fast=fast, filters=True, chunk=chunk)

    def start(self, seed: int, fast: bool):
        import pythia8mc

        verdicts = self._verdicts

        class Judge(type(early_veto.early_veto(pythia8mc, generator.bounds_of(self.sample)))):
            def doVetoPT(self, position, event):
                verdicts[event[5].px(), event[6].pz()] = super().doVetoPT(position, event)
                return False

        return generator.start_pythia(self.sample, seed, fast, Judge())

    def records(self) -> Iterator[tuple[Ragged, np.ndarray]]:
        """Chunks of complete records, and which of their events the veto would have dropped."""
        while True:
            record = generator.record_of(self._pythia.nextBatch(self.chunk))
            rows = record.offsets[:-1]
            keys = zip(record.px[rows + 5].tolist(), record.pz[rows + 6].tolist(), strict=True)
            yield record, np.array([self._verdicts[key] for key in keys])
            self._verdicts.clear()


@dataclasses.dataclass
class Losses:
    """Numbers of collisions, and of collisions that the veto would have dropped."""

    collisions: int = 0
    dropped: int = 0
    kept: int = 0
    kept_dropped: int = 0
    selected: int = 0
    selected_dropped: int = 0


def measure(label: int, seed: int, collisions: int, *, fast: bool, pool=None) -> Losses:
    """Counts what the veto of a sample of hgg drops; `selected` stays 0 without a pile-up pool."""
    job = hgg_jobs.job(label, seed=seed, fast=fast)
    sample = dataclasses.replace(job.sample, pair_mass=hgg.PAIR_MASS)
    generation, losses = Judged(sample, seed, fast=fast), Losses()
    rng = np.random.default_rng(seed)
    for record, dropped in generation.records():
        keep = np.flatnonzero(generation.passing(record))
        losses.collisions += len(record)
        losses.dropped += int(dropped.sum())
        losses.kept += len(keep)
        losses.kept_dropped += int(dropped[keep].sum())
        if pool is not None:
            for wanted in filter(len, (keep[dropped[keep]], keep[~dropped[keep]])):
                events = simulate.simulate(generation.final_particles(record[wanted]), job, pool, rng)
                selected = int(job.select(events).mask.sum())
                losses.selected += selected
                losses.selected_dropped += selected * bool(dropped[wanted[0]])
        if losses.collisions >= collisions:
            return losses


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--collisions", type=int, default=20_000)
    parser.add_argument("--process", choices=("gamma_jet", "gamma_gamma"), default="gamma_jet")
    parser.add_argument("--full", action="store_true", help="with multi-parton interactions")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    losses = measure(
        hgg.LABELS.index(arguments.process),
        arguments.seed,
        arguments.collisions,
        fast=not arguments.full,
        pool=Shards("train").open(0),
    )
    for name, value in dataclasses.asdict(losses).items():
        print(f"{name:<18}{value:>9}")


if __name__ == "__main__":
    main()
