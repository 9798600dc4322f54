"""Scaling of a build with the number of workers, and the maximum number that the writing process can serve.

    python benchmarks/scaling.py [--events 400] [--workers 1 2] [--output scaling.json]

Simulates the same jobs on a Dask cluster of this machine, with 1 worker process and with 2, and measures
events per second at the writer. Then measures the maximum rate of the writer: the whole build of a dataset
from existing events, as sent by the workers of a cluster (unpacking, keeping, checking, examples,
ArrayRecord). The ratio to the rate of one worker is the number of workers that it can serve. Prints a table
and writes the same numbers as JSON.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import json
import tempfile
import time
from pathlib import Path

import distributed
import numpy as np

from data_builders.cms_hgg.cms_hgg_dataset_builder import Builder
from e2e_jax.datasets.naming import HggConfig
from e2e_jax.events.diphotons import Events
from e2e_jax.execution import cluster, keeping
from e2e_jax.execution.jobs import SPLITS, Job, run_jobs
from e2e_jax.sources.simulation.jobs import simulation_jobs
from e2e_jax.sources.simulation.simulate import produce
from e2e_jax.studies import hgg

JOB_EVENTS = {"gamma_gamma": 20, "h": 20, "gamma_jet": 5}


def jobs_of(events: int, seed: int, job_events: dict[str, int]) -> list[Job]:
    """The fast jobs of a split, with at most these events of each label."""
    study = hgg.STUDIES["central"]
    samples = [dataclasses.replace(s, job_events=job_events[s.label]) for s in study.samples]
    return simulation_jobs(dataclasses.replace(study, samples=samples), events, seed=seed, fast=True)


def with_workers(count: int, events: int, seed: int) -> dict:
    """Events per second delivered by `count` worker processes."""
    tasks = jobs_of(events, seed, JOB_EVENTS)
    local = {"n_workers": count, "threads_per_worker": 1, "processes": True, "host": "127.0.0.1"}
    with (
        distributed.LocalCluster(**local, dashboard_address="127.0.0.1:0") as workers,
        cluster.executor(workers.scheduler_address) as executor,
    ):
        # Imports, and the pool of pile-up events: once for each worker, not for each task.
        warm = jobs_of(4 * count, seed + 1, dict.fromkeys(JOB_EVENTS, 1))
        list(run_jobs(warm, produce, executor=executor, progress=False))
        start = time.perf_counter()
        made = sum(len(e) for _, e in run_jobs(tasks, produce, executor=executor, progress=False))
        seconds = time.perf_counter() - start
    return {"workers": count, "events": made, "seconds": seconds, "events_per_s": made / seconds}


class Finished(concurrent.futures.Executor):
    """A cluster that has every result already.

    Args:
      tasks: what it will be asked for.
      events: some events, used over and over under the addresses of each task.
    """

    def __init__(self, tasks: list[Job], events: Events):
        self._packed = {}
        for task in tasks:
            own = events[np.arange(task.events) % len(events)]
            address = {"lumi": np.full(task.events, task.lumi), "event": np.arange(task.events)}
            label = np.full(task.events, task.label, np.int32)
            own = dataclasses.replace(own, label=label, **address)
            pack = keeping.make_and_pack(lambda task, own=own: own, task, ".npz", keeping.write_events)
            self._packed[task] = pack

    def submit(self, function, /, *args):
        future = concurrent.futures.Future()
        future.set_result(next(self._packed[a] for a in args if isinstance(a, Job)))
        return future


def made_elsewhere(task):
    """Stands for what made the events: `Finished` hands them out and never calls it."""
    raise RuntimeError(f"{task} is made already, but was asked for again.")


def writing(events: int, seed: int) -> dict:
    """Events per second that one process writes as a dataset, for events simulated beforehand."""
    size = dict.fromkeys(JOB_EVENTS, 50)
    some = Events.concatenate(produce(task) for task in jobs_of(50, seed, size))
    config = HggConfig(name="scaling", train=events // 3, validation=2, produce=made_elsewhere)
    executor = Finished([task for split in SPLITS for task in config.jobs(split)], some)
    with tempfile.TemporaryDirectory() as folder:
        start, busy = time.perf_counter(), time.process_time()
        Builder(config=config, data_dir=folder, executor=executor).download_and_prepare()
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
    return {"events": events, "seconds": seconds, "processor_s": busy, "events_per_s": events / seconds}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=400, help="events of each class to simulate")
    parser.add_argument("--written", type=int, default=12_000, help="events in all to write")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("scaling.json"))
    flags = parser.parse_args()

    rows = [with_workers(count, flags.events, flags.seed) for count in flags.workers]
    ceiling = writing(flags.written, flags.seed)
    print(f"{'workers':>8}{'events':>8}{'seconds':>9}{'events/s':>10}{'of one':>8}")
    for row in rows:
        ratio = row["events_per_s"] / rows[0]["events_per_s"]
        print(
            f"{row['workers']:8}{row['events']:8}{row['seconds']:9.1f}{row['events_per_s']:10.1f}{ratio:8.2f}"
        )
    each = rows[0]["events_per_s"] / rows[0]["workers"]
    print(f"One process writes {ceiling['events_per_s']:.0f} events/s: as many as")
    print(f"{ceiling['events_per_s'] / each:.0f} such workers make; more of them would wait for it.")
    flags.output.write_text(json.dumps({"workers": rows, "writer": ceiling}, indent=1) + "\n")
    print(f"Wrote {flags.output}.")


if __name__ == "__main__":
    # A worker of the cluster imports this file again.
    main()
