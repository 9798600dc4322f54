"""The folder of an evaluated run, made without training: scores of a fair classifier and their results."""

import numpy as np

from e2e_jax.configs import default
from e2e_jax.evaluation.results import evaluate, validation_metrics
from e2e_jax.runs.folder import METRICS, claim
from e2e_jax.runs.results_files import write_results, write_scores
from e2e_jax.training.progress import write_metrics
from tests.objects import run_of
from tests.synthetic import sample

DATASET = {
    "name": "cms_hgg/quick",
    "version": "1.0.0",
    "fingerprint": "0123456789abcdef",
    "origin": "fast simulation",
    "category": "central",
}


BINARY = ("background=gamma_gamma+gamma_jet", "h")


def scores(events, task, seed=0, mass_aware=False):
    """Probabilities [n, classes] that favour the true class."""
    random = np.random.default_rng(seed)
    weights = random.normal(size=(len(events), len(task.names)))
    weights += 1.5 * np.eye(len(task.names))[task.of_labels(events.label)]
    if mass_aware:
        weights[:, task.signal_index] -= abs(events.mass - 125) / 10
    return np.exp(weights) / np.exp(weights).sum(axis=1, keepdims=True)


def run_config(name="cms_b", classes=(), published="table_6"):
    config = default.get_config()
    config.name, config.published = name, published
    config.evaluate.bootstrap = 5
    config.cvm.update(window=20, step=10)
    config.task.classes = classes
    return config


def write_run(
    folder, name="cms_b", per_class=150, seed=0, epochs=3, dataset=None, mass_aware=False, **fields
):
    """Writes results.json, scores.parquet and metrics.jsonl; returns the events."""
    config = run_config(name, **fields)
    events, run = sample(per_class, hits=4), run_of(config)
    write_evaluated(folder, config, run, events, scores(events, run.task, seed, mass_aware), epochs, dataset)
    return events


def write_evaluated(folder, config, run, events, probabilities, epochs=3, dataset=None):
    """Writes the folder of a run whose classifier gave these probabilities."""
    observables = run.decorrelated_from(events)
    evaluated = run.task, probabilities, events.label, observables, run.metrics
    about = {"epoch": epochs, "train_events": 6000, "dataset": DATASET if dataset is None else dataset}
    results = evaluate(*evaluated, config=config.to_dict(), **about)
    columns = {name: getattr(events, name) for name in (*events.SCALARS, *events.observables)}
    claim(folder, config)
    write_scores(folder, probabilities, columns, run.task.columns)
    write_results(folder, results)
    row = validation_metrics(*evaluated)
    rows = [
        {
            "epoch": k + 1,
            "step": 10 * (k + 1),
            "train_cross_entropy": 1 / (k + 1),
            "validation_cross_entropy": 1.0,
        }
        | row
        for k in range(epochs)
    ]
    write_metrics(folder / METRICS, rows)
