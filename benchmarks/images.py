"""Cost of the images of a geometry, compared with the training step that uses them.

    python benchmarks/images.py [--batch 36] [--rounds 8] [--dataset cms_hgg/forward_quick] [--json FILE]

For each geometry: hits -> images alone, and a whole training step from the padded hits (images, ResNet-15s,
loss, gradients, Adam). Both are compiled and take turns; "share" is the images' fraction of the step. Hits
are from a dataset, or random, with the number per event of the fast simulation with pile-up 20.
"""

import argparse
import importlib
import json
import os
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from e2e_jax.devices import host

if __name__ == "__main__":
    host.use_well()  # as a training does: a device a core, memory in large pages

import jax
import numpy as np

from e2e_jax.datasets.layout import Layout
from e2e_jax.datasets.splits import StoredDataset
from e2e_jax.detector import geometry, images
from e2e_jax.devices import parallel
from e2e_jax.runs.checkpoints import host_copy
from e2e_jax.studies import hgg
from tests.objects import new_state, parallel_step

CLASSIFIERS = {"barrel": "cms_b", "ecal_centric": "cms_i", "hcal_centric": "cms_ii"}
"""The paper's classifier on all three channels of each geometry."""

HITS = {"eb": (400, 832), "ee": (400, 832), "hcal": (130, 320), "tracks": (300, 640)}
"""Hits of a random event, and the length to which a batch is padded: what sets the time of a scatter."""


def random_batch(events, seed=0):
    """A padded batch of random hits."""
    random = np.random.default_rng(seed)
    cells = {
        "eb": np.arange(geometry.EB_CELLS),
        "ee": geometry.ee_crystals().cell,
        "hcal": np.flatnonzero(geometry.hcal_exists()),
    }
    batch = {
        "mass": random.uniform(90, 180, events).astype(np.float32),
        "photons": random.uniform(20, 80, (events, 2, 3)).astype(np.float32),
        "label": (np.arange(events) % len(hgg.LABELS)).astype(np.int32),
    }
    for name, (hits, length) in HITS.items():
        filled = np.arange(length)[None, :] < random.poisson(hits, events)[:, None]
        energy = (random.exponential(1, filled.shape) * filled).astype(np.float32)
        if name == "tracks":
            eta, phi = (random.uniform(-edge, edge, filled.shape) for edge in (2.5, np.pi))
            batch[name] = {"pt": energy, "eta": np.float32(eta * filled), "phi": np.float32(phi * filled)}
        else:
            cell = random.choice(cells[name], filled.shape) * filled
            batch[name] = {"cell": cell.astype(np.uint16), "energy": energy}
    return batch


def dataset_batch(name, events):
    """The first batch of a dataset's validation split."""
    sample = StoredDataset(name).read("validation", hgg.TASK)
    return Layout.padded(sample).batch(sample[np.arange(events)])


def compiled(config, batch):
    """Two functions that wait for their result: the images of the batch, and a training step on it."""
    made = parallel_step(config)
    grid = parallel.mesh(config.train.batch_size)
    _, split = parallel.shardings(grid)
    arguments = config.inputs.geometry, tuple(config.inputs.channels)
    draw = jax.jit(lambda b: images.make_images(b, *arguments), in_shardings=split, out_shardings=split)
    hits = jax.device_put(batch, split)
    state = [made.place(host_copy(new_state(config)))]

    def step():
        state[0], metrics = made.step(state[0], hits)
        jax.block_until_ready(metrics)

    return {"images": lambda: jax.block_until_ready(draw(hits)), "step": step}


def measure(functions, rounds):
    """Median wall and smallest processor seconds of each, in turns after one round to warm up."""
    times = {name: {"wall": [], "processor": []} for name in functions}
    for turn in range(rounds + 1):
        for name, function in functions.items():
            start, used = time.perf_counter(), time.process_time()
            function()
            if turn:
                times[name]["wall"].append(time.perf_counter() - start)
                times[name]["processor"].append(time.process_time() - used)
    return {
        name: {"wall": statistics.median(t["wall"]), "processor": min(t["processor"])}
        for name, t in times.items()
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=36)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--geometry", nargs="+", choices=list(CLASSIFIERS), default=list(CLASSIFIERS))
    parser.add_argument("--dataset", help="take the hits of this dataset, cms_hgg/forward_quick")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    args = parser.parse_args()

    rows = []
    print(f"{os.cpu_count()} cores, batch {args.batch}; ms an event")
    print("geometry      images: wall  processor    step: wall  processor   share: wall  processor")
    for name in args.geometry:
        config = importlib.import_module(f"e2e_jax.configs.{CLASSIFIERS[name]}").get_config("quick")
        config.train.batch_size = args.batch
        batch = dataset_batch(args.dataset, args.batch) if args.dataset else random_batch(args.batch)
        times = measure(compiled(config, batch), args.rounds)
        share = {kind: times["images"][kind] / times["step"][kind] for kind in ("wall", "processor")}
        rows.append({"geometry": name, "batch": args.batch, **times, "share": share})
        drawn, step = (
            "".join(f"{times[what][kind] * 1e3 / args.batch:11.2f}" for kind in ("wall", "processor"))
            for what in ("images", "step")
        )
        print(f"{name:13s} {drawn}  {step}  {share['wall']:11.1%} {share['processor']:10.1%}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
