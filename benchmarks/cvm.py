"""Cost of the mass decorrelation: the metric compared with its peers, and the penalty's share of a step.

    python benchmarks/cvm.py [--peer] [--events 100000] [--large 1000000] [--batch 360 16384]
                             [--rounds 5] [--json FILE]

The metric and its peers take turns on the same scores and masses. The peers are `hep_ml`'s k-nearest-neighbor
CVM and the published formula of the LHCb "Flavours of physics" challenge, with a pass over all events for
each window. `hep_ml` compares each event's neighbors with all events, N^2; it takes minutes and has one
round. Its preparation from the masses alone (`fit`) is not counted.

The penalty is timed with its gradient, on a batch with one third gamma gamma. The step for comparison is that
of CMS-B at the first batch size; its time per event is used for the other sizes, too.
"""

import argparse
import json
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

from benchmarks import train_step
from e2e_jax.evaluation.cvm import cvm_metric
from e2e_jax.models.decorrelation.cvm import cvm_penalty

WINDOW, STEP = 200, 50
CHANNELS = 3


def sample(n):
    """Scores and masses in GeV, [n], weakly dependent."""
    random = np.random.default_rng(0)
    mass = 90 + random.exponential(40, n)
    return random.random(n) + mass / 500, mass


def challenge_metric(scores, mass):
    """The metric as in the challenge's evaluation code."""
    n = len(scores)
    ranks = np.argsort(np.argsort(scores[np.argsort(mass)], kind="stable"), kind="stable")
    everywhere = np.arange(1, n + 1) / n
    distances = []
    for first in range(0, n - WINDOW + 1, STEP):
        inside = np.cumsum(np.bincount(ranks[first : first + WINDOW], minlength=n)) / WINDOW
        distances.append(np.mean((everywhere - inside) ** 2))
    return np.mean(distances)


def hep_ml_metric(scores, mass):
    """`hep_ml`'s metric with precomputed groups of neighbors; a function without arguments."""
    import pandas
    from hep_ml.metrics import KnnBasedCvM

    n = len(scores)
    metric = KnnBasedCvM(["mass"], uniform_label=1, n_neighbours=WINDOW)
    metric.fit(pandas.DataFrame({"mass": mass}), np.ones(n))
    columns = np.stack([1 - scores, scores], axis=1)
    return lambda: metric(np.ones(n), columns, np.ones(n))


def timed(functions, rounds):
    """Median wall seconds of each function, in turns."""
    seconds = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def metrics(args):
    """Seconds of the metrics: {"e2e_jax": ..., "challenge": ..., "hep_ml": ..., "large": ...}."""
    scores, mass = sample(args.events)
    functions = {"e2e_jax": lambda: cvm_metric(scores, mass, WINDOW, STEP)}
    if args.peer:
        functions["challenge"] = lambda: challenge_metric(scores, mass)
        np.testing.assert_allclose(functions["challenge"](), functions["e2e_jax"](), rtol=1e-9)
    seconds = timed(functions, args.rounds)
    if args.peer:
        seconds |= timed({"hep_ml": hep_ml_metric(scores, mass)}, 1)
    large = sample(args.large)
    return seconds | timed({"large": lambda: cvm_metric(*large, WINDOW, STEP)}, args.rounds)


def penalty(size):
    """A function that computes the penalty and its gradient on a batch and waits for the result."""
    scores, mass = (jax.device_put(column.astype(np.float32)) for column in sample(size))
    mask = jax.device_put(np.arange(size) % 3 == 0)
    run = jax.jit(jax.value_and_grad(cvm_penalty))
    jax.block_until_ready(run(scores, mass, mask))
    return lambda: jax.block_until_ready(run(scores, mass, mask))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--large", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, nargs="+", default=[360, 16_384])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", action="store_true", help="also measure hep_ml and the challenge's formula")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    args = parser.parse_args()

    seconds = metrics(args)
    print(f"metric of {args.events} events (large: {args.large}), median seconds")
    for name, value in seconds.items():
        ratio = "" if name in ("e2e_jax", "large") else f"   {value / seconds['e2e_jax']:.0f} x ours"
        print(f"  {name:<10}{value:10.4f}{ratio}")

    step = train_step.jax_step(*train_step.make_batch(args.batch[0], CHANNELS))
    step()  # compiles
    functions = {size: penalty(size) for size in args.batch}
    times = timed({"step": step, **functions}, args.rounds)
    an_event, rows = times.pop("step") / args.batch[0], {}
    print(f"penalty with its gradient, beside CMS-B's step of {1e3 * an_event:.2f} ms an event")
    for size, value in times.items():
        rows[size] = {"seconds": value, "share": value / (value + an_event * size)}
        print(f"  batch {size:<8}{1e3 * value:10.3f} ms   {rows[size]['share']:.2%} of the step")
    if args.json:
        figures = {"events": args.events, "large": args.large, "metric_s": seconds, "penalty": rows}
        figures["step_s_an_event"] = an_event
        args.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
