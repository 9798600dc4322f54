"""Speed of the embedded simulation on one core, by class and mode, and by stage.

    python benchmarks/fastsim.py [--seconds 20] [--category central_forward] [--output fastsim.json]

Prints selected events per second (the cost of a dataset) and the milliseconds of each stage of the detector
for one event with pile-up 20. Times are CPU seconds of this process, which depend least on other work.
Pythia's start (0.2 to 1 s, once per job) is not counted.
"""

import argparse
import collections
import functools
import json
import platform
import statistics
import time

import numpy as np

from e2e_jax.sources.simulation import (
    endcap_photons,
    endcap_readout,
    generator,
    hcal,
    photons,
    pileup,
    readout,
    simulate,
)
from e2e_jax.sources.simulation import response as detector
from e2e_jax.sources.simulation.jobs import SimulationJob
from e2e_jax.sources.simulation.pool_files import Shards
from e2e_jax.studies.hgg import LABELS, STUDIES
from e2e_jax.study.selection import kept

STAGES = {
    "response to the hard collision": (simulate, "respond"),
    "pile-up overlay": (pileup.Pool, "overlay"),
    "neighboring crossings": (pileup.Pool, "out_of_time"),
    "photo-statistics": (simulate, "measured"),
    "ECAL read-out": (readout, "ecal_barrel_readout"),
    "HCAL read-out": (hcal, "measure"),
    "superclusters": (photons, "superclusters"),
    "photons": (photons, "reconstruct_photons"),
    "reduction": (readout, "reduce_hits"),
}
ENDCAP_STAGES = {
    "endcap read-out": (endcap_readout, "ecal_endcap_readout"),
    "endcap clusters": (endcap_photons, "clusters"),
    "endcap photons": (endcap_photons, "reconstruct_endcap_photons"),
    "endcap reduction": (endcap_readout, "reduce_endcap_hits"),
}
"""Next to the others, which then take in the endcaps' part, where the category has them."""


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=20, help="CPU seconds for each class and mode")
    parser.add_argument("--category", choices=STUDIES, default="central", help="where the photons may lie")
    parser.add_argument("--output", help="JSON file for the figures")
    arguments = parser.parse_args()
    category, endcaps = arguments.category, STUDIES[arguments.category].endcaps
    pool = Shards("train", endcaps=endcaps).open(0)
    machine = platform.processor() or platform.machine()
    figures = {"machine": machine, "category": category, "rates": {}, "stages_ms": {}}
    print(f"{'class':<14}{'mode':<8}{'generated/s':>13}{'to detector/s':>15}{'selected/s':>12}")
    for fast in (False, True):
        for label, name in enumerate(LABELS):
            rates = rate(label, fast, category, pool, arguments.seconds)
            figures["rates"][f"{name}{' fast' if fast else ''}"] = rates
            mode = "fast" if fast else "full"
            print(
                f"{name:<14}{mode:<8}"
                + "{generated:>13.0f}{simulated:>15.1f}{selected:>12.1f}".format(**rates)
            )
    figures["minimum_bias_per_s"] = minimum_bias_rate(arguments.seconds, endcaps)
    print(f"minimum bias, generated and simulated: {figures['minimum_bias_per_s']:.0f}/s")
    figures["stages_ms"] = stages(pool, category)
    print("\nmilliseconds an event, median of batches, h, pile-up 20")
    for name, value in figures["stages_ms"].items():
        print(f"  {name:<32}{value:6.2f}")
    print(f"  {'detector in all':<32}{sum(figures['stages_ms'].values()):6.2f}")
    if arguments.output:
        with open(arguments.output, "w") as file:
            json.dump(figures, file, indent=1)


def job_of(label: int, fast: bool, category: str) -> SimulationJob:
    """A job of the second era with the settings of the simulation; its size is irrelevant."""
    study = STUDIES[category]
    sample = study.samples[label]
    options = {"endcaps": study.endcaps, "fast": fast}
    return SimulationJob(sample, label, sample.eras[1], 1, 0, study.select, **options)


def rate(label: int, fast: bool, category: str, pool: pileup.Pool, seconds: float) -> dict[str, float]:
    """Events per CPU second that were generated, reached the detector, and passed the selection."""
    job = job_of(label, fast, category)
    chunk = 2 * simulate.BATCH
    generation = generator.generate(job.sample, 1, fast=fast, chunk=chunk)
    rng = np.random.default_rng(1)
    next(generation)
    already, start = generation.generated, time.process_time()
    simulated = selected = 0
    for record in simulate.batches(generation, simulate.BATCH):
        selected += len(kept(simulate.simulate(record, job, pool, rng), job.select)[0])
        simulated += len(record)
        spent = time.process_time() - start
        if spent > seconds:
            break
    generated = generation.generated - already
    return {"generated": generated / spent, "simulated": simulated / spent, "selected": selected / spent}


def minimum_bias_rate(seconds: float, endcaps: bool) -> float:
    """Minimum-bias events per CPU second, generated and simulated as for the pool."""
    generation, rng = (
        generator.generate(generator.MINIMUM_BIAS, 1, chunk=pileup.BATCH),
        np.random.default_rng(1),
    )
    done, start = 0, time.process_time()
    while (spent := time.process_time() - start) < seconds:
        record = next(generation)
        detector.respond(record, np.zeros(len(record)), rng, endcaps)
        done += len(record)
    return done / spent


def stages(pool: pileup.Pool, category: str, batches: int = 20) -> dict[str, float]:
    """Median CPU milliseconds per event of each stage of the detector."""
    times = collections.defaultdict(list)
    parts = STAGES | ENDCAP_STAGES if STUDIES[category].endcaps else STAGES
    originals = {name: getattr(owner, attribute) for name, (owner, attribute) in parts.items()}
    for name, (owner, attribute) in parts.items():
        setattr(owner, attribute, timed(originals[name], times[name]))
    job = job_of(1, True, category)
    generation = generator.generate(job.sample, 2, fast=True, chunk=100)
    rng = np.random.default_rng(2)
    for done, record in enumerate(simulate.batches(generation, simulate.BATCH)):
        simulate.simulate(record, job, pool, rng)
        if done == batches:
            break
    for name, (owner, attribute) in parts.items():
        setattr(owner, attribute, originals[name])
    return {name: 1e3 / simulate.BATCH * statistics.median(times[name]) for name in parts}


def timed(function, times: list[float]):
    """The function, noting the CPU seconds of each call."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        start = time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            times.append(time.process_time() - start)

    return wrapper


if __name__ == "__main__":
    main()
