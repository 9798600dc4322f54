"""Speed of the input pipeline from disk to network inputs on the device, compared with a PyTorch DataLoader.

    python benchmarks/input_pipeline.py [--peer] [--dataset cms_hgg/medium] [--events 2160] [--batch 36]
                                        [--rounds 3] [--json FILE]

Ours: "read", the dataset into memory, once per training; "batches", the hits of an epoch in padded batches,
by one thread; "images", the same plus the network's inputs on the device; "first epoch", all of these.
The peer's epoch is that of a DataLoader with `--workers` processes on lzf-compressed images of the same
events, which it writes to a temporary folder first. They take turns; the files are in the system's memory.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from e2e_jax.devices import host

if __name__ == "__main__":
    host.use_well()  # as a training does: a device a core, memory in large pages

import jax

from e2e_jax.configs import cms_b
from e2e_jax.datasets import preparation, reading
from e2e_jax.datasets.batches import Sampling, epoch_batches
from e2e_jax.devices import parallel
from e2e_jax.models import preprocessing
from e2e_jax.studies import hgg


def our_passes(folder, args, config):
    """{name: function that does it and returns how many events it took}."""
    split = parallel.shardings(parallel.mesh(args.batch))[1]
    make = jax.jit(lambda batch: preprocessing.model_inputs(batch, config.inputs), in_shardings=split)

    def read():
        return reading.read_split(folder, "train", False, range(args.events) if args.events else None)

    def batches(events, use):
        done = 0
        for batch in epoch_batches(events, hgg.TASK, Sampling(args.batch)):
            use(batch)
            done += args.batch
        return done

    def images(batch):
        jax.block_until_ready(make(batch))

    events = read()
    images(next(iter(epoch_batches(events, hgg.TASK, Sampling(args.batch)))))  # compiles
    passes = {
        "read": lambda: len(read()),
        "batches": lambda: batches(events, lambda batch: None),
        "images": lambda: batches(events, images),
        "first epoch": lambda: batches(read(), images),
    }
    return passes, events


def peers_pass(path, args):
    """The same for an epoch of a DataLoader, whose workers have started."""
    from benchmarks import peer

    loader = peer.loader(path, args.batch, args.workers)
    next(iter(loader))

    def run():
        done = 0
        for images, _ in peer.on_device(loader):
            done += len(images)
        peer.wait()
        return done

    return run


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="cms_hgg/medium")
    parser.add_argument("--events", type=int, default=2160, help="how many to read; 0 takes all")
    parser.add_argument("--batch", type=int, default=36)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="the peer's")
    parser.add_argument("--peer", action="store_true", help="also measure a DataLoader on HDF5")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    args = parser.parse_args()

    config, sizes = cms_b.get_config("medium"), {}
    source = preparation.prepare_dataset(args.dataset)
    passes, events = our_passes(source, args, config)
    with tempfile.TemporaryDirectory() as folder:
        if args.peer:
            from benchmarks import peer

            path = Path(folder, "images.h5")
            peer.write_images(path, events, config)
            passes["peer"], sizes["peer"] = peers_pass(path, args), path.stat().st_size / len(events)
        rates = {name: [] for name in passes}
        for _ in range(args.rounds):
            for name, run in passes.items():
                start = time.perf_counter()
                rates[name].append(run() / (time.perf_counter() - start))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, rate in medians.items():
        ratio = f"   {rate / medians['peer']:.1f} x peer" if args.peer and name != "peer" else ""
        print(f"{name:<12}{rate:10.0f} events/s{ratio}")
    for name, size in sizes.items():
        print(f"{name}: {size / 1e3:.1f} kB an event on disk")
    if args.json:
        figures = {"arguments": vars(args), "rates": rates, "bytes_per_event": sizes}
        args.json.write_text(json.dumps(figures, indent=1, default=str))


if __name__ == "__main__":
    main()
