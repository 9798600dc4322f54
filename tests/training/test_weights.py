"""Event weights in training: they enter the loss, and invalid ones are rejected before the training."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pyarrow.parquet
import pytest

from e2e_jax import experiment
from e2e_jax.datasets.splits import GivenDataset
from e2e_jax.evaluation.metrics import roc_auc
from e2e_jax.studies import hgg
from e2e_jax.study import Observable
from e2e_jax.training import loop
from e2e_jax.training.losses import Penalty, loss
from e2e_jax.training.weights import COLUMN, check_observables, weighted
from tests.synthetic import kinematics_config, sample

TASK = dataclasses.replace(hgg.TASK, observables=(hgg.MASS, Observable("pt", "GeV"), Observable("weight")))


def events_of(seed=1, per_class=40, **observables):
    """Events of `sample` with a pT and a weight."""
    events, random = sample(per_class, seed), np.random.default_rng(seed)
    made = {
        "mass": events.mass,
        "pt": random.uniform(20, 80, len(events)).astype(np.float32),
        "weight": random.uniform(0.5, 2, len(events)).astype(np.float32) * (1 + events.label),
    }
    return dataclasses.replace(events, observables={**made, **observables})


def run_of(weights="weight", task=TASK):
    config = kinematics_config()
    config.train.weights = weights
    return experiment.of(config, task)


def batch_of(seed=0, n=60):
    random = np.random.default_rng(seed)
    label = np.arange(n) % 3
    batch = {"label": label, "mass": random.uniform(90, 180, n).astype(np.float32)}
    return jnp.asarray(random.normal(size=(n, 3)), jnp.float32), batch


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_weights_of_one_give_the_loss_without_weights(strength):
    logits, batch = batch_of()
    given = hgg.TASK, Penalty(strength, neighbors=6)
    expected, _ = loss(logits, batch, *given)
    assert float(loss(logits, batch | {COLUMN: jnp.ones(60)}, *given)[0]) == pytest.approx(float(expected))


def test_a_weight_of_two_is_an_event_that_comes_twice_in_the_cross_entropy():
    logits, batch = batch_of()
    twice = jnp.concatenate([jnp.arange(60), jnp.arange(10)])
    weights = jnp.ones(60).at[:10].set(2)
    repeated = {name: jnp.asarray(column)[twice] for name, column in batch.items()}
    expected, metrics = loss(logits[twice], repeated, hgg.TASK, Penalty(0.0))
    value, weighted_metrics = loss(logits, batch | {COLUMN: weights}, hgg.TASK, Penalty(0.0))
    assert float(value) == pytest.approx(float(expected), rel=1e-5)
    assert float(weighted_metrics["accuracy"]) == pytest.approx(float(metrics["accuracy"]), rel=1e-5)


def test_the_weights_of_each_class_have_the_mean_one_and_their_ratios():
    events, run = events_of(), run_of()
    column = weighted(events, run, "cvm").observables[COLUMN]
    for label in range(3):
        own = events.label == label
        assert column[own].mean() == pytest.approx(1, rel=1e-5)
        assert np.ptp(column[own] / events.weight[own]) < 1e-5
    assert weighted(events, run_of(""), "cvm") is events


def test_planing_makes_the_tasks_observables_alike():
    random = np.random.default_rng(0)
    events = events_of(per_class=2000)
    mass = random.normal(120 + 10 * (events.label == 1), 12).astype(np.float32)
    events = dataclasses.replace(events, observables={**events.observables, "mass": mass})
    column = weighted(events, run_of(), "planing").observables[COLUMN]
    passed = [np.average(mass[events.label == c] > 125, weights=column[events.label == c]) for c in range(3)]
    assert np.ptp(passed) < 0.05


@pytest.mark.parametrize("bad", [-0.5, np.nan, np.inf])
def test_a_bad_weight_is_named_before_the_training(tmp_path, bad):
    weights = np.where(np.arange(120) == 7, bad, 1.0).astype(np.float32)
    splits = {"train": events_of(weight=weights), "validation": events_of(2)}
    config = kinematics_config(weights="weight")
    with pytest.raises(ValueError, match=r"'weight'.*event 7"):
        loop.train(config, tmp_path, GivenDataset(TASK, splits))


def test_weights_that_are_no_observable_are_named():
    with pytest.raises(ValueError, match=r"'generator'.*mass, pt, weight"):
        run_of("generator")


@pytest.mark.parametrize("value", [125.0, np.nan])
def test_an_observable_that_tells_nothing_is_named(value):
    events = events_of(mass=np.full(120, value, np.float32))
    with pytest.raises(ValueError, match="'mass'"):
        check_observables(events, run_of())


@pytest.mark.slow
@pytest.mark.parametrize("method", ["disco", "planing"])
def test_a_training_with_weights_and_two_observables_is_evaluated_with_both(tmp_path, method):
    splits = {"train": events_of(1), "validation": events_of(2)}
    config = kinematics_config(epochs=1, weights="weight")
    config.task.decorrelate, config.decorrelation.method = ("mass", "pt"), method
    results = loop.train(config, tmp_path, GivenDataset(TASK, splits))
    assert set(results["decorrelation"]) == {"mass", "pt"}
    (row,) = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert row["auc_h"] == pytest.approx(results["auc_vs_rest"]["h"]["value"], abs=1e-6)
    assert (f"train_{method}_penalty" in row) == (method != "planing")
    plain = roc_auc(*read_scores(tmp_path))
    assert abs(plain - results["auc_vs_rest"]["h"]["value"]) > 1e-6
    assert roc_auc(*read_scores(tmp_path), splits["validation"].weight) == pytest.approx(row["auc_h"])


def read_scores(folder):
    table = pyarrow.parquet.read_table(folder / "scores.parquet").to_pydict()
    return np.array(table["probability_h"]), np.array(table["label"]) == 1
