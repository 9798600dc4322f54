"""Speed of an epoch of CMS-B with the sample on the device, streamed, and in PyTorch from HDF5.

    python benchmarks/epoch.py [--peer] [--dataset cms_hgg/medium] [--events 2160] [--batch 36]
                               [--precision bfloat16] [--rounds 3] [--json FILE]

Epochs take turns in one process: images, loss with its CVM penalty, gradients and Adam, without validation.
The sample is read before (input_pipeline.py measures this time). The peer reads its images from a separate
file, made from the same events, and has no penalty. The first steps, which compile, are not counted.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from e2e_jax.devices import host

if __name__ == "__main__":
    host.use_well()  # as a training does: a device a core, memory in large pages

import jax

from e2e_jax.configs import cms_b
from e2e_jax.datasets import batches, preparation, reading
from e2e_jax.devices import placement
from e2e_jax.runs.checkpoints import host_copy
from e2e_jax.studies import hgg
from tests.objects import fed, new_state, parallel_step

FEEDS = {"device": placement.resident, "stream": placement.streamed}
WORKERS = len(os.sched_getaffinity(0))
"""Processes of the peer's loader."""


def read(name, count):
    """The first events of the training sample; if fewer than all, with equal numbers per class."""
    return reading.read_split(
        preparation.prepare_dataset(name), "train", rows=range(count) if count else None
    )


def our_epoch(place, events, config):
    """A function that trains for an epoch; it has compiled already."""
    steps = batches.steps_per_epoch(events, config.train.batch_size, hgg.TASK)
    step = parallel_step(config, steps=steps)
    feed = FEEDS[place](step, *fed(config, events))
    state = [step.place(host_copy(new_state(config))), 0]

    def run(pieces=None):
        for done, (new, _) in enumerate(feed(*state, 0), 1):
            state[0] = new
            if done == pieces:
                break
        jax.block_until_ready(state[0])
        # The layout of the batches has room for the config's epochs.
        state[1] = (state[1] + 1) % config.train.epochs

    run(pieces=2)
    return run


def peers_epoch(path, config, workers):
    """The same for PyTorch."""
    from benchmarks import peer

    batches = peer.loader(path, config.train.batch_size, workers)
    step = peer.training(len(config.inputs.channels), config.train.learning_rate, config.precision)

    def run(pieces=None):
        for done, batch in enumerate(peer.on_device(batches), 1):
            step(*batch)
            if done == pieces:
                break
        peer.wait()

    run(pieces=2)
    return run


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="cms_hgg/medium")
    parser.add_argument("--events", type=int, default=2160, help="how many to train on; 0 takes all")
    parser.add_argument("--batch", type=int, default=36)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=WORKERS, help="the peer's")
    parser.add_argument("--peer", action="store_true", help="also measure PyTorch")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    args = parser.parse_args()
    host.keep_memory(args.batch)  # as a training does

    config = cms_b.get_config("medium")
    config.train.batch_size, config.precision = args.batch, args.precision
    events = read(args.dataset, args.events)
    done = batches.steps_per_epoch(events, args.batch, hgg.TASK) * args.batch
    with tempfile.TemporaryDirectory() as folder:
        epochs = {place: our_epoch(place, events, config) for place in FEEDS}
        counts = dict.fromkeys(FEEDS, done)
        if args.peer:
            from benchmarks import peer

            peer.write_images(f"{folder}/images.h5", events, config)
            epochs["peer"] = peers_epoch(f"{folder}/images.h5", config, args.workers)
            counts["peer"] = len(events) // args.batch * args.batch
        rates = {name: [] for name in epochs}
        for _ in range(args.rounds):
            for name, run in epochs.items():
                start = time.perf_counter()
                run()
                rates[name].append(counts[name] / (time.perf_counter() - start))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    last = "peer" if args.peer else "stream"
    print(f"{jax.devices()[0].device_kind}, batch {args.batch}, {done} events an epoch, {args.precision}")
    for name, rate in medians.items():
        print(f"{name:<8}{rate:10.1f} events/s   {rate / medians[last]:.2f} x {last}")
    if args.json:
        args.json.write_text(json.dumps({"arguments": vars(args), "rates": rates}, indent=1, default=str))


if __name__ == "__main__":
    main()
