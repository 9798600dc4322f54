"""What do the generator's early vetoes drop, and what do they lose?

    python benchmarks/early_veto.py [--collisions 20000] [--process gamma_jet] [--full] [--seed 1]

Judges collisions without dropping any, finishes and simulates all of them, and prints how many of those that
the filters keep and that the selection accepts would have been dropped. The vetoes are right where the last
number is 0. The hard process's veto is applied.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator

import numpy as np

from e2e_jax.events.base import Ragged
from e2e_jax.events.diphotons import CLASSES
from e2e_jax.execution.jobs import SimulationTask
from e2e_jax.sources.simulation import early_veto, generator, pileup, simulate


class Judged(generator.Generation):
    """A generation whose veto at `early_veto.SCALE` judges collisions and drops none."""

    def __init__(self, process: str, seed: int, *, fast: bool, chunk: int = 200):
        self._verdicts: dict[tuple[float, float], bool] = {}
        super().__init__(process, seed, fast=fast, category="central", enrich=True, chunk=chunk)

    def start(self, seed: int, fast: bool):
        import pythia8mc

        bounds, verdicts = self.category.bounds, self._verdicts

        class Judge(type(early_veto.early_veto(pythia8mc, bounds))):
            def doVetoPT(self, position, event):
                verdicts[event[5].px(), event[6].pz()] = super().doVetoPT(position, event)
                return False

        return generator.start_pythia(self.process, seed, fast, self.category, Judge())

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
    """Numbers of collisions, and how many of them the veto would have dropped."""

    collisions: int = 0
    dropped: int = 0
    kept: int = 0
    kept_dropped: int = 0
    selected: int = 0
    selected_dropped: int = 0


def measure(process: str, seed: int, collisions: int, *, fast: bool, pool=None) -> Losses:
    """Counts what the veto drops; `selected` stays 0 without a pile-up pool."""
    generation, losses = Judged(process, seed, fast=fast), Losses()
    task = SimulationTask(CLASSES.index(process), era=1, seed=seed, events=0, fast=fast)
    rng = np.random.default_rng(seed)
    for record, dropped in generation.records():
        keep = np.flatnonzero(generation.passing(record))
        losses.collisions += len(record)
        losses.dropped += int(dropped.sum())
        losses.kept += len(keep)
        losses.kept_dropped += int(dropped[keep].sum())
        if pool is not None and len(keep):
            for wanted in (keep[dropped[keep]], keep[~dropped[keep]]):
                if not len(wanted):
                    continue
                selected = len(
                    simulate._simulate(generation.final_particles(record[wanted]), task, pool, rng)
                )
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
        arguments.process,
        arguments.seed,
        arguments.collisions,
        fast=not arguments.full,
        pool=pileup.minimum_bias_pool(),
    )
    for name, value in dataclasses.asdict(losses).items():
        print(f"{name:<18}{value:>9}")


if __name__ == "__main__":
    main()
