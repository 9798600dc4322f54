"""Loading time of a classifier, and its speed of prediction and training.

    python benchmarks/predict.py [--workdir release/cms_b] [--events 960] [--rounds 5] [--json FILE]

Loading is timed in new processes, from the start of Python to a classifier that can predict, without and with
the first prediction, which compiles the network. `predict` and the training step take turns in one process,
on the same events and devices, so that other work on the machine slows both. The training batches are padded
in advance, as in a training. Processor time is that of all cores.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from e2e_jax.devices import host

if __name__ == "__main__":
    host.use_well()  # as a training does: a device a core, memory in large pages

import jax
import numpy as np

from e2e_jax.configs.default import SIZES
from e2e_jax.datasets.layout import Layout
from e2e_jax.inference.loading import load_classifier
from e2e_jax.inference.release import read_events
from e2e_jax.runs.folder import read_config
from tests.objects import new_state, parallel_step

ROOT = Path(__file__).resolve().parents[1]

BATCH = SIZES["medium"]["batch_size"]
"""Events of a training step."""

LOADING = """
import sys, time, resource
start = time.perf_counter()
from e2e_jax.inference.loading import load_classifier
imported = time.perf_counter()
classifier = load_classifier(sys.argv[1])
loaded = time.perf_counter()
used = resource.getrusage(resource.RUSAGE_SELF)
if sys.argv[2] == "predict":
    from e2e_jax.inference.release import read_events
    classifier.predict(read_events(sys.argv[3])[0][:1])
print(imported - start, loaded - start, used.ru_utime + used.ru_stime, time.perf_counter() - start)
"""


def loading(workdir, events, rounds):
    """Median seconds of a new process: {"import", "load", "processor", "first prediction"}."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    rows = []
    for turn in range(rounds + 1):
        command = [sys.executable, "-c", LOADING, str(workdir), "predict", str(events)]
        out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        if turn:  # the first reads the packages from the disk
            rows.append([float(word) for word in out.split()])
    columns = ("import", "load", "processor", "first prediction")
    return dict(zip(columns, map(statistics.median, zip(*rows))))


def throughput(workdir, classifier, events, rounds):
    """Median events per second of `predict` and the training step: {"predict", "train"}, and the devices."""
    config = read_config(workdir)
    config.train.batch_size = BATCH
    host.keep_memory(BATCH)  # as a training does
    step = parallel_step(config)
    state = step.place(new_state(config))
    layout, turns = Layout.padded(events), max(1, len(events) // BATCH)
    batches = [layout.batch(events[i * BATCH : (i + 1) * BATCH]) for i in range(turns)]
    rates = {"predict": [], "train": []}
    for turn in range(rounds + 1):
        start = time.perf_counter()
        classifier.predict(events)
        middle = time.perf_counter()
        for batch in batches:
            state, metrics = step.step(state, batch)
        jax.block_until_ready(metrics)
        if turn:  # the first compiles
            rates["predict"].append(len(events) / (middle - start))
            rates["train"].append(BATCH * turns / (time.perf_counter() - middle))
    return {name: statistics.median(values) for name, values in rates.items()}, step.devices


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=Path, default=ROOT / "release" / "cms_b")
    parser.add_argument("--events", type=int, default=960, help="the release's events, repeated to this many")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    args = parser.parse_args()

    kept = ROOT / "release" / "cms_b"
    times = loading(args.workdir.resolve(), kept, args.rounds)
    print(
        f"{args.workdir}: loaded in {times['load']:.2f} s ({times['import']:.2f} of them imports; "
        f"{times['processor']:.2f} s of processor time), with the first prediction "
        f"{times['first prediction']:.2f} s"
    )
    events = read_events(kept)[0]
    events = events[np.resize(np.arange(len(events)), max(args.events, BATCH))]
    rates, devices = throughput(load_classifier(args.workdir), events, args.rounds)
    print(
        f"predict {rates['predict']:.0f} events/s, training {rates['train']:.0f} events/s on {devices} "
        f"devices: {rates['predict'] / rates['train']:.2f} times as fast"
    )
    if args.json:
        args.json.write_text(json.dumps({"loading": times, "events_per_second": rates}, indent=1))


if __name__ == "__main__":
    main()
