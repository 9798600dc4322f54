"""Compares a compiled library with XLA on a few events and times both; prints the result as JSON.

    python -m e2e_jax.models.cpu.trial LIBRARY

It runs in a separate process, because a broken library may crash it.
"""

import json
import statistics
import sys
import time

import jax
import numpy as np

from e2e_jax.models.cpu import resnet_cpu
from e2e_jax.models.resnet import ResNetFeatures

EVENTS, ROWS, COLUMNS, CHANNELS = 4, 170, 360, 3
OCCUPANCY = 0.03
ROUNDS = 3
TOLERANCE = 1e-3
"""Maximum difference of a value or gradient, relative to the largest entry of its array."""


def main(path):
    rng = np.random.default_rng(0)
    shape = (EVENTS, ROWS, COLUMNS, CHANNELS)
    x = (rng.exponential(size=shape) * (rng.random(shape) < OCCUPANCY)).astype(np.float32)
    network = ResNetFeatures()
    params = jax.jit(network.init)(jax.random.key(0), x)["params"]
    weights = rng.normal(size=(EVENTS, network.widths[1])).astype(np.float32)
    resnet_cpu.bind(path)

    def by_xla(params, x):
        return network.apply({"params": params}, x)

    def by_library(params, x):
        return resnet_cpu.features(params, x, network.widths, by_xla)

    steps = [
        jax.jit(jax.value_and_grad(lambda params, f=function: (f(params, x) * weights).sum()))
        for function in (by_xla, by_library)
    ]
    reference, ours = (jax.device_get(step(params)) for step in steps)
    difference = jax.tree.map(lambda a, b: np.abs(a - b).max() / max(np.abs(a).max(), 1e-6), reference, ours)
    seconds = [[], []]
    for _ in range(ROUNDS):
        for step, taken in zip(steps, seconds):
            start = time.perf_counter()
            jax.block_until_ready(step(params))
            taken.append(time.perf_counter() - start)
    ratio = statistics.median(seconds[0]) / statistics.median(seconds[1])
    print(
        json.dumps(
            {"ratio": ratio, "difference": float(max(jax.tree.leaves(difference))), "tolerance": TOLERANCE}
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
