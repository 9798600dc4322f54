"""How long does a training step of ResNet-15 take (forward, backward, Adam), and how long in PyTorch?

    python benchmarks/train_step.py --peer [--batch 32 96] [--channels 1 3] [--rounds 8] [--json FILE]

The two take turns in one process, so that a neighbour on the machine slows both. Wall time is what a training
waits for; the processor time beside it holds on a busy machine (`taskset -c 0` makes it the work alone:
threads that wait for each other burn it too). The channels are the classifiers': 1 for EB, 3 for CMS-B.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from e2e_jax import host

if __name__ == "__main__":
    host.use_well()  # as a training does: a device a core, memory in large pages

import jax
import numpy as np
import optax

from e2e_jax import parallel
from e2e_jax.models import backend
from e2e_jax.models.resnet import ResNet15

LEARNING_RATE = 5e-4
OCCUPANCY = 0.1  # pixels with a hit; no operation used here depends on it


def make_batch(batch, channels):
    """Images [batch, 170, 360, channels] and labels [batch]."""
    rng = np.random.default_rng(0)
    shape = (batch, 170, 360, channels)
    x = rng.exponential(size=shape) * (rng.random(shape) < OCCUPANCY)
    return x.astype(np.float32), rng.integers(0, 3, batch)


def jax_step(x, labels):
    """A function that takes one step and returns when it is done."""
    model, optimizer = ResNet15(features=backend.features()), optax.adam(LEARNING_RATE)
    params = model.init(jax.random.key(0), {"barrel": x[:1]})
    replicated, split = parallel.shardings(parallel.mesh(len(x)))
    state = list(jax.device_put((params, optimizer.init(params)), replicated))
    x, labels = jax.device_put((x, labels), split)

    @jax.jit
    def step(params, moments, x, labels):
        def loss_fn(params):
            logits = model.apply(params, {"barrel": x})
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        updates, moments = optimizer.update(jax.grad(loss_fn)(params), moments)
        return optax.apply_updates(params, updates), moments

    def run():
        state[:] = jax.block_until_ready(step(*state, x, labels))

    return run


def torch_step(x, labels):
    """The same in PyTorch, channels last."""
    import torch

    from tests.models.torch_resnet import TorchResNet15

    model = TorchResNet15(x.shape[3]).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    x = torch.tensor(x).permute(0, 3, 1, 2)
    labels = torch.tensor(labels)

    def run():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()

    return run


def measure(steps, rounds):
    """Median wall and smallest processor seconds of each step, in turns after one round to warm up."""
    wall = {name: [] for name in steps}
    processor = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            start, used = time.perf_counter(), time.process_time()
            step()
            if turn:
                wall[name].append(time.perf_counter() - start)
                processor[name].append(time.process_time() - used)
    return {
        name: {"wall": statistics.median(wall[name]), "processor": min(processor[name])} for name in steps
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 96])
    parser.add_argument("--channels", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--peer", action="store_true", help="also measure PyTorch")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    args = parser.parse_args()

    rows = []
    print("channels batch library   wall ms  events/s  processor ms")
    for channels in args.channels:
        for batch in args.batch:
            x, labels = make_batch(batch, channels)
            steps = {"jax": jax_step(x, labels)}
            if args.peer:
                steps["torch"] = torch_step(x, labels)
            times = measure(steps, args.rounds)
            for name, t in times.items():
                rows.append({"channels": channels, "batch": batch, "library": name, **t})
                print(
                    f"{channels:8d} {batch:5d} {name:7s} {t['wall'] * 1e3:9.0f} {batch / t['wall']:9.1f} "
                    f"{t['processor'] * 1e3:13.0f}"
                )
            if args.peer:
                wall, processor = (
                    times["torch"][kind] / times["jax"][kind] for kind in ("wall", "processor")
                )
                print(f"{'':14s} speed over PyTorch's: {wall:.2f} by wall, {processor:.2f} by processor time")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
