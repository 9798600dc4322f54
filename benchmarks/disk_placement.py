"""Speed of random reads of a sample from disk, compared with the same sample in memory.

    python benchmarks/disk_placement.py [--dataset cms_jets/quick] [--data_dir DIR] [--rounds 3] [--json FILE]

One epoch of `configs/jets_resnet.py`, by `placement.streamed` from: "memory", a copy of the arrays; "disk",
the arrays mapped with `config.data.placement = "disk"`; and "disk, cold", the same after dropping the files
from the system's cache. They take turns. Prints jets per second, and the ratio to memory.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from e2e_jax.devices import host

if __name__ == "__main__":
    host.use_well()

import jax

from e2e_jax.configs import jets_resnet
from e2e_jax.datasets import batches, flat_arrays, preparation, reading
from e2e_jax.devices import placement
from e2e_jax.runs.checkpoints import host_copy
from tests.objects import fed, new_state, parallel_step


def drop(folder):
    """Drops the flat arrays from the system's cache."""
    for path in Path(folder).glob(f"{preparation.DERIVED}/train-*/*.npy"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="cms_jets/quick")
    parser.add_argument("--data_dir", default="")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    args = parser.parse_args()
    folder, config = preparation.prepare_dataset(args.dataset, args.data_dir), jets_resnet.get_config()
    mapped = reading.open_split(folder, "train", False)
    copy = type(mapped).from_arrays({name: values.copy() for name, values in mapped.arrays().items()})
    flat_arrays.read_at_random(mapped)
    step, rates = parallel_step(config), {"memory": [], "disk": [], "disk, cold": []}
    steps = batches.steps_per_epoch(copy, config.train.batch_size, fed(config, copy)[1])
    for number in range(args.rounds + 1):
        for name in rates:
            if name == "disk, cold":
                drop(folder)
            events = copy if name == "memory" else mapped
            feed = placement.streamed(step, *fed(config, events))
            state, start = step.place(host_copy(new_state(config))), time.perf_counter()
            for piece in feed(state, number, 0):
                state = piece[0]
            jax.block_until_ready(state)
            if number:  # the first one compiles
                rates[name].append(steps * config.train.batch_size / (time.perf_counter() - start))
    medians = {name: statistics.median(of) for name, of in rates.items()}
    for name, rate in medians.items():
        print(f"{name:<12}{rate:8.0f} jets/s   {rate / medians['memory']:.2f} x memory")
    if args.json:
        args.json.write_text(json.dumps({"arguments": vars(args), "rates": rates}, default=str))


if __name__ == "__main__":
    main()
