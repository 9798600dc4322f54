"""Regression and joint tasks are trained, resumed, evaluated and reported."""

import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.parquet
import pytest

from e2e_jax import report
from e2e_jax.datasets.splits import GivenDataset
from e2e_jax.display.reading import Found
from e2e_jax.errors import DatasetError
from e2e_jax.evaluation import regression
from e2e_jax.inference.loading import load_classifier
from e2e_jax.report import events as displays
from e2e_jax.study import Observable, Task
from e2e_jax.training import loop
from e2e_jax.training.losses import Penalty, loss, regression_loss
from tests.synthetic_showers import fcn_config, shower_sample

OBSERVABLES = (Observable("energy", "GeV", "Energy"), Observable("spread"))
FIELDS = {"labels": ("photon", "electron"), "observables": OBSERVABLES, "events": "showers"}
REGRESSION = Task(kind="regression", targets=("energy",), **FIELDS)
KINDS = {
    "huber": REGRESSION,
    "gaussian": dataclasses.replace(REGRESSION, targets=("energy", "spread"), loss="gaussian"),
    "joint": dataclasses.replace(REGRESSION, kind="joint", signal="electron", weight=2.0),
}


def showers(per_class, seed):
    """Showers with two observables that their crystals show: the energy, and the spread in phi."""
    events, random = shower_sample(per_class, seed), np.random.default_rng(seed)
    factor = random.uniform(0.3, 1.7, len(events)).astype(np.float32)[events.crystals.event_index]
    crystals = {**events.crystals.columns, "energy": events.crystals.energy * factor}
    events = dataclasses.replace(events, crystals=dataclasses.replace(events.crystals, columns=crystals))
    energy = np.add.reduceat(events.crystals.energy, events.crystals.offsets[:-1])
    observables = {"energy": energy.astype(np.float32), "spread": (1.0 + events.label).astype(np.float32)}
    return dataclasses.replace(events, observables=observables)


SPLITS = {"train": showers(20, 1), "validation": showers(20, 2)}


def config(**train):
    made = fcn_config(**{"learning_rate": 3e-3, "schedule": "constant", **train})
    made.model.update(widths=(32, 32), dropout=0.0)
    made.inputs.channels, made.published = ("energy",), ""
    return made


def train(task, workdir, splits=SPLITS, **fields):
    return loop.train(config(**fields), workdir, GivenDataset(task, splits))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_trains_resumes_predicts_and_reports(kind, tmp_path, monkeypatch):
    """A run of one epoch continued by another has two epochs; its results have every target."""
    task = KINDS[kind]
    train(task, tmp_path / "extended", epochs=1)
    for name in ("extended", "whole"):
        results = train(task, tmp_path / name, epochs=2)
    extended, whole = (load_classifier(tmp_path / name, "latest").params for name in ("extended", "whole"))
    jax.tree.map(np.testing.assert_array_equal, extended, whole)
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert results["epoch"] == min(rows, key=lambda row: row["validation_loss"])["epoch"]
    assert results["epoch_selection"] == "smallest validation loss"
    assert ("auc_vs_rest" in results) == task.classifies

    validation = SPLITS["validation"]
    classifier = load_classifier(tmp_path / "whole")
    predicted = classifier.predict_observables(validation)
    sigmas = {f"{name}_sigma" for name in task.targets if task.loss == "gaussian"}
    assert predicted.keys() == {*task.targets, *sigmas}
    scores = pyarrow.parquet.read_table(tmp_path / "whole" / "scores.parquet")
    for name in task.targets:
        truth = getattr(validation, name)
        error = np.mean(abs(predicted[name] - truth))
        assert results["regression"][name]["mae"]["value"] == pytest.approx(error, rel=1e-5)
        np.testing.assert_allclose(scores[f"predicted_{name}"].to_numpy(), predicted[name], rtol=1e-6)
        np.testing.assert_array_equal(scores[name].to_numpy(), truth)
    assert all((predicted[name] > 0).all() for name in sigmas)

    monkeypatch.setattr(
        displays, "read_events", lambda name, rows, *_, **__: Found(validation[list(rows)], "a test", task)
    )
    page = report.write_report(tmp_path / "whole").read_text()
    text = re.sub(r"<script.*?</script>|data:image[^\"]*", "", page, flags=re.DOTALL)
    figures = {path.stem for path in (tmp_path / "whole" / "figures").glob("*.png")}
    for name in task.targets:
        assert {f"regression_{name}", f"errors_{name}", f"resolution_{name}"} <= figures
    assert ("roc_vs_rest" in figures) == task.classifies
    assert "Energy, mean absolute error [GeV]" in text
    assert "training" in figures


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_learns(kind, tmp_path):
    results = train(KINDS[kind], tmp_path, epochs=15, learning_rate=0.01, checkpoint_seconds=60.0)
    for found in results["regression"].values():
        assert found["mae"]["value"] < 0.7 * found["mae_constant"]["value"]
    if kind == "joint":
        assert results["auc_vs_rest"]["electron"]["value"] > 0.9


@pytest.mark.slow
def test_predictions_need_neither_the_truth_nor_a_label(tmp_path):
    train(REGRESSION, tmp_path, epochs=1)
    classifier, validation = load_classifier(tmp_path), SPLITS["validation"]
    unknown = dataclasses.replace(
        validation,
        label=np.full(len(validation), -1, np.int32),
        observables={**validation.observables, "energy": np.full(len(validation), np.nan, np.float32)},
    )
    bare = dataclasses.replace(unknown, observables={})
    for events in (unknown, bare):
        np.testing.assert_array_equal(classifier.predict(events), classifier.predict(validation))


def test_the_scales_are_those_of_the_training_sample():
    energy = SPLITS["train"].energy
    (scale,) = REGRESSION.scaled({"energy": energy}).scales.values()
    assert scale == pytest.approx((energy.mean(), energy.std()), rel=1e-5)


def test_the_gaussian_loss_is_least_for_the_right_variance():
    random = np.random.default_rng(0)
    truth = jnp.asarray(random.normal(0, 0.5, (20_000, 1)))
    right = 2 * np.log(0.5)
    losses = [
        float(jnp.mean(regression_loss(jnp.zeros_like(truth), jnp.full_like(truth, right + shift), truth)))
        for shift in (-0.3, 0.0, 0.3)
    ]
    assert losses[1] < min(losses[0], losses[2])


def test_padding_and_the_weight_of_a_joint_task_enter_the_loss_as_said():
    task = KINDS["joint"].scaled({"energy": SPLITS["train"].energy})
    random = np.random.default_rng(1)
    outputs = jnp.asarray(random.normal(size=(6, task.outputs)), jnp.float32)
    batch = {"label": np.array([0, 1, 0, 1, 0, 1]), "energy": random.uniform(30, 60, 6).astype(np.float32)}
    total, metrics = loss(outputs, batch, task, Penalty())
    expected = metrics["cross_entropy"] + 2 * metrics["regression_loss"]
    assert total == pytest.approx(float(expected), rel=1e-6)
    padded = {name: np.concatenate([values, values[:2] + 1]) for name, values in batch.items()}
    padded["label"][-2:] = 0
    padded["valid"] = np.arange(8) < 6
    more = jnp.concatenate([outputs, 9 * outputs[:2]])
    assert loss(more, padded, task, Penalty())[0] == pytest.approx(float(total), rel=1e-6)


def with_values(name, values):
    """The splits with other values of an observable in the training sample; None for none."""
    events = SPLITS["train"]
    observables = {**events.observables, name: values}
    if values is None:
        del observables[name]
    return {**SPLITS, "train": dataclasses.replace(events, observables=observables)}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (None, ["no observable 'energy'", "spread"]),
        (np.full(40, 3, np.float32), ["'energy'", "3 in all 40 training events"]),
        (np.where(np.arange(40) == 7, np.nan, 1).astype(np.float32), ["energy = nan in event 7", "1 of 40"]),
    ],
)
def test_a_target_that_is_missing_constant_or_not_finite_is_told(values, words, tmp_path):
    with pytest.raises((DatasetError, ValueError)) as raised:
        train(REGRESSION, tmp_path, with_values("energy", values))
    assert all(word in str(raised.value) for word in words), raised.value


@pytest.mark.slow
def test_events_without_label_are_told_to_a_classifier_and_taken_by_a_regression(tmp_path):
    labels = SPLITS["train"].label.copy()
    labels[:3] = -1
    splits = {**SPLITS, "train": dataclasses.replace(SPLITS["train"], label=labels)}
    with pytest.raises(DatasetError, match="3 events without a label among 40"):
        train(KINDS["joint"], tmp_path / "joint", splits)
    results = train(REGRESSION, tmp_path / "regression", splits, epochs=1)
    assert results["events"]["train"] == 40


def test_bins_of_the_truth_hold_all_events_and_their_bias():
    random = np.random.default_rng(3)
    truth = random.uniform(0, 10, 4000)
    predicted = truth + np.where(truth > 5, 1.0, -0.5) + random.normal(0, 0.2, len(truth))
    made = regression.results(truth, predicted, np.full(len(truth), 0.2), replicas=20)
    assert sum(one["events"] for one in made["bins"]) == len(truth)
    low, high = made["bins"][0], made["bins"][-1]
    for found, bias in ((low, -0.5), (high, 1.0)):
        assert found["bias"]["value"] == pytest.approx(bias, abs=5 * found["bias"]["uncertainty"])
        assert found["resolution"]["value"] == pytest.approx(0.2, abs=0.03)
        assert found["bias"]["uncertainty"] == pytest.approx(0.2 / np.sqrt(400), rel=0.6)
    assert made["mae_constant"]["value"] == pytest.approx(2.5, rel=0.05)
    exact = regression.results(truth, truth, np.full(len(truth), 0.2), replicas=5)
    assert exact["mae"]["value"] == exact["bias"]["value"] == exact["pull_width"]["value"] == 0


def test_relative_errors_leave_out_what_is_nearly_zero():
    truth, predicted = np.array([1e-9, 1.0, 2.0, 4.0]), np.array([1.0, 1.1, 2.2, 4.4])
    assert regression.metrics(truth, predicted)["mre"] == pytest.approx(0.1)
    made = regression.results(np.zeros(4), predicted, replicas=5)
    assert made["mre"] is None
    json.dumps(made, allow_nan=False)


def test_a_batch_larger_than_the_sample_is_told(tmp_path):
    with pytest.raises(DatasetError, match="needs as many training events, but there are 40"):
        train(REGRESSION, tmp_path, batch_size=50)
