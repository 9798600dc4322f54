"""Kills an image training at random moments, starts it again, and compares it with an undisturbed one.

    python benchmarks/kills.py --kills=50

The network has the widths of the C++ kernels, and every step is followed by a checkpoint, so many kills
happen during a save. Each start is killed by SIGKILL at a random time after its first step; the last one ends
normally. The parameters of the best and of the latest checkpoint and all rows of metrics.jsonl without times
must be equal, and no other files may remain among the checkpoints.

Measured with the defaults on one core of a shared machine: 50 kills, 43 of one run and 7 of another. Both
results were bit-identical to the undisturbed run.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
LONGEST_SECONDS = 3.0
"""A start is killed at most so long after its first step."""

TRAIN = """
import sys
from e2e_jax.training import loop
from e2e_jax.training.progress import Progress
from tests.objects import dataset_in_memory
from tests.synthetic import image_config, sample

add = Progress.add

def add_and_tell(progress, metrics):
    add(progress, metrics)
    print("step", flush=True)

Progress.add = add_and_tell
config = image_config(epochs=int(sys.argv[2]), checkpoint_seconds=0.0)
config.model.widths = (16, 32)
loop.train(config, sys.argv[1], dataset_in_memory(train=sample(200, seed=1)))
"""


def start(workdir, epochs, seconds=None):
    """Trains in another process; kills it `seconds` after its first step. Whether it came to its end."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", TRAIN, str(workdir), str(epochs)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        first = process.stdout.readline()
        if seconds is not None and first == "step\n":
            time.sleep(seconds)
            process.send_signal(signal.SIGKILL)
        process.stdout.read()
    if process.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"The training ended with {process.returncode}; run its command to see why.")
    return process.returncode == 0


def rows(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    times = ("seconds", "events_per_second")
    return [{name: value for name, value in json.loads(line).items() if name not in times} for line in lines]


def same(one, other):
    """Whether two finished runs agree in every bit."""
    import jax
    import numpy as np

    from e2e_jax.inference.loading import load_classifier

    if rows(one) != rows(other):
        return False
    for which in ("best", "latest"):
        pairs = zip(
            *(jax.tree.leaves(load_classifier(run, which).params) for run in (one, other)), strict=True
        )
        if not all(np.array_equal(a, b) for a, b in pairs):
            return False
    return not [path for path in (other / "checkpoints").iterdir() if not path.name.isdigit()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng, killed, runs = random.Random(arguments.seed), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        start(whole, arguments.epochs)
        while killed < arguments.kills:
            workdir = Path(folder) / str(runs)
            while killed < arguments.kills:
                if start(workdir, arguments.epochs, rng.uniform(0, LONGEST_SECONDS)):
                    break
                killed += 1
            start(workdir, arguments.epochs)
            runs += 1
            if not same(whole, workdir):
                raise SystemExit(f"Run {runs} differs from the undisturbed one after {killed} kills.")
            print(f"{killed} kills, {runs} runs, all equal to the undisturbed one in every bit.", flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
