"""Stand-ins for the simulation: what makes the events of a task in an instant, in any process."""

import dataclasses
import os
import pathlib
import sys
import time

import numpy as np

from e2e_jax.events.base import Ragged
from e2e_jax.events.diphotons import CELLS, COLLECTIONS, Events, cell_exists, from_leading
from e2e_jax.execution.workers import THREAD_VARIABLES
from e2e_jax.study.selection import kept

HITS = {"eb": 350, "ee": 0, "hcal": 70, "tracks": 300}
"""Mean hits of an event in the central category."""

PLACES = {name: np.flatnonzero(cell_exists(name, np.arange(number))) for name, number in CELLS.items()}


def produce(task):
    """Random events with realistic numbers of hits, fixed by the task's seed."""
    random, n = np.random.default_rng(task.seed), task.events
    directions = [random.uniform(-1.4, 1.4, (n, 2)), random.uniform(-np.pi, np.pi, (n, 2))]
    return Events(
        run=np.full(n, task.era.run),
        lumi=np.full(n, task.lumi),
        event=np.arange(1, n + 1),
        observables={"mass": random.uniform(91, 180, n).astype(np.float32)},
        photons=from_leading(np.stack([random.uniform(30, 90, (n, 2)), *directions], axis=-1)),
        label=np.full(n, task.label, np.int32),
        **{name: hits(random, name, n) for name in COLLECTIONS},
    )


def hits(random, name, n):
    """One collection of `n` events; cells ascend within an event, as a read-out delivers them."""
    counts = random.poisson(HITS[name], n)
    flat = {}
    for column, dtype in COLLECTIONS[name].items():
        draw = {
            "cell": lambda k: np.sort(random.choice(PLACES[name], k, replace=False)),
            "eta": lambda k: random.uniform(-2.4, 2.4, k),
            "phi": lambda k: random.uniform(-np.pi, np.pi, k),
        }.get(column, lambda k: 0.1 + random.exponential(0.8, k))
        flat[column] = np.concatenate([draw(k) for k in counts] or [[]]).astype(dtype)
    return Ragged.from_counts(counts, flat)


def produce_alone(task):
    """As `produce`, in a worker as workers should be: one numerical thread, no JAX, no script run again."""
    assert all(os.environ[name] == "1" for name in THREAD_VARIABLES)
    assert "jax" not in sys.modules
    return produce(task)


def fail_on_h(task):
    """As `produce`, but there are no Higgs bosons."""
    if task.label == 1:
        raise ArithmeticError("no Higgs bosons today")
    return produce(task)


def die(task):
    """Ends the process as a lack of memory does."""
    os._exit(9)


def produce_and_note(task):
    """As `produce`, and leaves a file that says which process ran the task.

    The notes, and a file that makes workers wait while it exists, are in the folder that
    `E2E_TEST_NOTES` names where the worker was started.
    """
    folder = pathlib.Path(os.environ["E2E_TEST_NOTES"])
    (folder / f"{task.fingerprint()}-{os.getpid()}").touch()
    while (folder / "wait").exists():
        time.sleep(0.02)
    return produce(task)


def produce_selected(task):
    """As `produce`, with the observables and the events that the task's selection gives."""
    return kept(dataclasses.replace(produce(task), observables={}), task.select)[0]
