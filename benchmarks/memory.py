"""Host memory of a training at the size of the paper's sample.

    python benchmarks/memory.py [--dataset cms_hgg/medium] [--train 153600] [--validation 35400] [--steps 10]
                                [--batch 360] [--placement stream] [--config cms_b] [--json FILE]

Runs a training like the command line, from the dataset on disk to results.json, in a temporary folder: one
epoch, shortened to some steps, with checkpoint, TensorBoard files and evaluation. The events of the dataset
are repeated up to the requested numbers, by default those of the paper. Prints the peak memory of the process
until the end of each stage (resident set).
"""

import argparse
import json
import resource
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from e2e_jax.devices import host

if __name__ == "__main__":
    host.use_well()  # as a training does: a device a core, memory in large pages

import importlib

import jax

from e2e_jax.datasets import batches, preparation, reading
from e2e_jax.datasets.splits import StoredDataset
from e2e_jax.devices import placement
from e2e_jax.training import loop


def peak():
    """Peak memory of this process so far, in GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


class Repeated(StoredDataset):
    """A dataset whose events are read until there are `counts` of them; notes the memory."""

    counts, peaks, sizes = {}, {}, {}

    def read(self, split, task, unread=()):
        described = self.describe()["events"][split]
        there = sum(sum(runs.values()) for runs in described.values())
        folder = preparation.prepare_dataset(self.name, self.data_dir)
        rows = [row % there for row in range(self.counts[split])]
        events = reading.read_split(folder, split, rows=rows, unread=unread).validate()
        self.peaks[f"{split} sample read"] = peak()
        packed = placement.pack(events)
        self.sizes[split] = sum(array.nbytes for array in jax.tree.leaves(packed)) / 1e9
        return events


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="cms_hgg/medium")
    parser.add_argument("--train", type=int, default=153_600, help="training events, of all classes")
    parser.add_argument("--validation", type=int, default=35_400)
    parser.add_argument("--steps", type=int, default=10, help="of the epoch")
    parser.add_argument("--batch", type=int, default=360)
    parser.add_argument("--placement", default="stream", choices=["stream", "device"])
    parser.add_argument("--config", default="cms_b", help="file of configs/")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    args = parser.parse_args()

    config = importlib.import_module(f"e2e_jax.configs.{args.config}").get_config("paper")
    config.dataset.name, config.data.placement = args.dataset, args.placement
    config.train.update(batch_size=args.batch, epochs=1)
    dataset = Repeated(args.dataset)
    dataset.counts.update(train=args.train, validation=args.validation)
    dataset.peaks["imports"] = peak()
    peaks, sizes = dataset.peaks, dataset.sizes
    batches.steps_per_epoch = lambda *_: args.steps
    with tempfile.TemporaryDirectory() as folder:
        loop.train(config, Path(folder) / "run", dataset)
    peaks["trained and evaluated"] = peak()

    print(
        f"{jax.device_count()} {jax.devices()[0].device_kind} devices, batch {args.batch}, {args.placement}"
    )
    print(f"in the arrays of the samples: {', '.join(f'{n} {s:.2f} GB' for n, s in sizes.items())}")
    for stage, most in peaks.items():
        print(f"{stage:<26}{most:6.2f} GB at most")
    if args.json:
        numbers = {"arguments": vars(args), "sample_gb": sizes, "peak_gb": peaks}
        args.json.write_text(json.dumps(numbers, indent=1, default=str))


if __name__ == "__main__":
    main()
