"""The folder of a run that was evaluated, without a training: scores of a fair classifier, their results."""

import json

import numpy as np

from e2e_jax.classes import Classes
from e2e_jax.configs import default
from e2e_jax.evaluation import results as evaluate
from e2e_jax.runs.folder import METRICS, claim
from tests.synthetic import sample

DATASET = {
    "name": "cms_hgg/quick",
    "version": "1.0.0",
    "fingerprint": "0123456789abcdef",
    "origin": "fast simulation",
    "category": "central",
}


def scores(events, classes, seed=0, mass_aware=False):
    """Probabilities [n, classes] that favour the true class."""
    random = np.random.default_rng(seed)
    weights = random.normal(size=(len(events), len(classes.names)))
    weights += 1.5 * np.eye(len(classes.names))[classes.of_labels(events.label)]
    if mass_aware:
        weights[:, classes.signal] -= abs(events.mass - 125) / 10
    return np.exp(weights) / np.exp(weights).sum(axis=1, keepdims=True)


def run_config(name="cms_b", class_names=("gamma_gamma", "h", "gamma_jet")):
    config = default.get_config()
    config.name = name
    config.evaluate.bootstrap = 5
    config.cvm.update(window=20, step=10)
    config.dataset.classes, config.model.classes = class_names, len(set(class_names))
    return config


def write_run(
    folder, name="cms_b", per_class=150, seed=0, epochs=3, dataset=None, mass_aware=False, **classes
):
    """Writes results.json, scores.parquet and metrics.jsonl; returns the events."""
    config = run_config(name, **classes)
    events = sample(per_class, hits=4)
    probabilities = scores(events, Classes.of(config), seed, mass_aware)
    dataset = DATASET if dataset is None else dataset
    options = {"epoch": epochs, "train_events": 6000, "dataset": dataset}
    results = evaluate.evaluate(probabilities, events.label, events.mass, config, **options)
    columns = {name: getattr(events, name) for name in ("label", "mass", "run", "lumi", "event")}
    claim(folder, config)
    evaluate.write_scores(folder, probabilities, columns, names=Classes.of(config).names)
    evaluate.write_results(folder, results)
    row = evaluate.validation_metrics(probabilities, events.label, events.mass, config)
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
    (folder / METRICS).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return events
