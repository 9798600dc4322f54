"""Speed of shower generation by particle guns on one core, by particle and by the part of the barrel read.

    python benchmarks/showers.py [--seconds 20] [--output showers.json]

Prints showers (or pairs) per CPU second of this process, which depends least on other work, the number of
crystals read in each, and their bytes in memory. The first run with pile-up makes the minimum-bias pool.
"""

import argparse
import dataclasses
import json
import platform
import time

import numpy as np

from e2e_jax.events.base import Ragged
from e2e_jax.events.showers import Showers
from e2e_jax.sources.simulation import guns
from e2e_jax.sources.simulation.jobs import GunJob
from e2e_jax.sources.simulation.pool_files import Shards
from e2e_jax.studies.showers import LABELS
from e2e_jax.study.samples import Sample, gun

SAMPLES = {
    "crops": {},
    "crops, pt 20-100": {"pt": (20, 100)},
    "crops and digis": {"digis": True},
    "crops, pile-up 20": {"pileup": 20.0},
    "barrel": {"view": "barrel"},
    "pairs, barrel": {"kind": "pair", "view": "barrel", "pt": (20, 100)},
}
PIECE = 4 * guns.BATCH
"""Shots of a task, as many as are made before time is looked at."""


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=20, help="CPU seconds for each sample and class")
    parser.add_argument("--output", help="JSON file for the figures")
    arguments = parser.parse_args()
    Shards("train").make()
    figures = {"machine": platform.processor() or platform.machine(), "samples": {}}
    print(f"{'sample':<20}{'class':<10}{'shots/s':>9}{'crystals':>10}{'kB a shot':>11}")
    for sample, options in SAMPLES.items():
        for label, name in enumerate(LABELS):
            measured = rate(
                GunJob(Sample(name, gun(name, **options)), label, seed=1, events=PIECE), arguments.seconds
            )
            figures["samples"][f"{sample}, {name}"] = measured
            print(
                f"{sample:<20}{name:<10}"
                + "{shots_per_s:>9.0f}{crystals:>10.0f}{kilobytes:>11.2f}".format(**measured)
            )
    if arguments.output:
        with open(arguments.output, "w") as file:
            json.dump(figures, file, indent=1)


def rate(task: GunJob, seconds: float) -> dict[str, float]:
    """Shots per CPU second, crystals read per shot, and bytes in memory per shot."""
    guns.produce(task)  # tables and caches
    made, crystals, size, start = 0, 0, 0, time.process_time()
    while (spent := time.process_time() - start) < seconds:
        showers = guns.produce(dataclasses.replace(task, seed=task.seed + made + 1))
        made += len(showers)
        crystals += len(showers.crystals.cell)
        size += sum(column.nbytes for column in columns(showers))
    return {"shots_per_s": made / spent, "crystals": crystals / made, "kilobytes": size / made / 1e3}


def columns(showers: Showers) -> list[np.ndarray]:
    """Every array of the record."""
    found = []
    for field in dataclasses.fields(showers):
        value = getattr(showers, field.name)
        if isinstance(value, Ragged):
            found += [value.offsets, *value.columns.values()]
        else:
            found += value.values() if isinstance(value, dict) else [value]
    return found


if __name__ == "__main__":
    main()
