"""A config says what its classifier tells apart, from the batches over the loss to the results."""

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from e2e_jax.classes import ALL, Classes
from e2e_jax.configs import cms_b_binary, default
from e2e_jax.datasets import batches as input_pipeline
from e2e_jax.datasets.preparation import DatasetError
from e2e_jax.evaluation import metrics
from e2e_jax.evaluation import results as evaluate
from e2e_jax.training import loop, losses
from tests.synthetic import binary_config, sample

BINARY = Classes(("background", "h"), (0, 1, 0))


def config(*classes, number=None):
    made = default.get_config()
    made.dataset.classes = classes
    made.model.classes = len(set(classes) - {""}) if number is None else number
    return made


def test_the_default_is_a_class_for_each_label():
    assert Classes.of(default.get_config()) == ALL
    labels = np.array([2, -1, 0])
    assert ALL.of_labels(labels) is labels
    # A run of a time when there was no such field.
    assert Classes.of(ConfigDict({"dataset": {}, "model": {"classes": 3}})) == ALL


def test_labels_with_equal_names_are_one_class_and_those_without_are_left_out():
    assert Classes.of(cms_b_binary.get_config()) == BINARY
    assert BINARY.signal == 1
    np.testing.assert_array_equal(BINARY.of_labels(np.array([0, 1, 2, -1])), [0, 1, 0, -1])
    two = Classes.of(config("gamma_gamma", "h", ""))
    assert two.names == ("gamma_gamma", "h")
    np.testing.assert_array_equal(two.of_labels(np.array([0, 1, 2, -1])), [0, 1, -1, -1])
    found = jax.jit(lambda labels: two.of_labels(labels, jax.numpy))(np.array([0, 1, 2, -1]))
    np.testing.assert_array_equal(found, [0, 1, -1, -1])


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (config("a", "h", number=2), "in this order: equal names are one class"),
        (config("a", "signal", "b"), "second place, and no other, must be 'h'"),
        (config("h", "h", "b"), "second place, and no other, must be 'h'"),
        (config("", "h", "b"), "the first must not be empty"),
        (config("a", "h", "a", number=3), r"2 classes \(a, h\), but config.model.classes is 3: set it to 2"),
    ],
)
def test_classes_that_cannot_be_are_named(made, message):
    with pytest.raises(ValueError, match=message):
        Classes.of(made)


def test_batches_hold_the_classes_in_equal_parts():
    events = sample(10)
    batches = list(input_pipeline.epoch_batches(events, 8, seed=1, epoch=0, classes=BINARY))
    assert len(batches) == 2  # 10 H fill two batches of 4 of them
    for batch in batches:
        assert np.sum(batch["label"] == 1) == 4
    labels = np.concatenate([batch["label"] for batch in batches])
    assert set(labels) == {0, 1, 2}
    with pytest.raises(DatasetError, match=r"the 2 classes in equal parts.*multiple of 2"):
        input_pipeline.epoch_batches(events, 7, seed=1, epoch=0, classes=BINARY)
    # A label that the config leaves out need not be there.
    two = Classes.of(config("gamma_gamma", "h", ""))
    assert input_pipeline.steps_per_epoch(events[events.label != 2], 4, two) == 5
    with pytest.raises(DatasetError, match="gamma_jet: 0"):
        input_pipeline.steps_per_epoch(events[events.label != 2], 4, BINARY)


@pytest.mark.slow
def test_the_loss_is_that_of_the_classes_and_decorrelates_gamma_gamma_alone():
    random = np.random.default_rng(3)
    label, logits = np.arange(90) % 3, random.normal(size=(90, 2)).astype(np.float32)
    batch = {"label": label, "mass": random.uniform(90, 180, 90).astype(np.float32)}
    cvm = ConfigDict({"strength": 0.0, "neighbors": 6, "reduction": "sum"})
    value, found = losses.loss(logits, batch, cvm, classes=BINARY)
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    chosen = probability[np.arange(90), (label == 1).astype(int)]
    assert value == pytest.approx(-np.log(chosen).mean(), rel=1e-5)
    assert found["accuracy"] == pytest.approx(((logits[:, 1] > logits[:, 0]) == (label == 1)).mean())

    def gradient(strength):
        cvm.strength = strength
        return np.asarray(jax.grad(lambda x: losses.loss(x, batch, cvm, classes=BINARY)[0])(logits))

    pushed = np.any(gradient(0.5) != gradient(0.0), axis=1)
    assert pushed.any()
    assert not pushed[label != 0].any()


def scored(seed=0, events=900):
    random = np.random.default_rng(seed)
    labels = np.arange(events) % 3
    background = 1 / (1 + np.exp(random.normal(size=events) + 1.5 * (labels == 1) - 0.5 * (labels == 2)))
    return np.stack([background, 1 - background], axis=1), labels, random.uniform(90, 180, events)


def test_results_tell_h_from_each_label_by_its_score():
    made = cms_b_binary.get_config()
    made.evaluate.bootstrap = 10
    probabilities, labels, mass = scored()
    results = evaluate.evaluate(probabilities, labels, mass, made, train_events=1)
    assert set(results["auc_vs_rest"]) == {"background", "h"}
    assert set(results["auc_pairwise"]) == {"h_vs_gamma_gamma", "h_vs_gamma_jet"}
    vs_rest = metrics.roc_auc(probabilities[:, 1], labels == 1)
    assert results["auc_vs_rest"]["h"]["value"] == vs_rest
    pairs = [results["auc_pairwise"][f"h_vs_{name}"]["value"] for name in ("gamma_gamma", "gamma_jet")]
    assert np.mean(pairs) == pytest.approx(vs_rest, abs=1e-9)
    row = evaluate.validation_metrics(probabilities, labels, mass, made)
    assert row["auc_h_vs_gamma_jet"] == pytest.approx(pairs[1], abs=1e-12)
    assert row["auc_background"] == pytest.approx(vs_rest, abs=1e-12)
    table = evaluate.results_table(results)
    assert "H vs gamma+jet" in table
    assert "gamma gamma vs rest" not in table


@pytest.mark.slow
def test_a_binary_classifier_trains_and_evaluates(tmp_path, monkeypatch):
    splits = {"train": sample(20, seed=1), "validation": sample(20, seed=2)}
    monkeypatch.setattr(input_pipeline, "load_split", lambda config, split: splits[split])
    for name in ("describe", "fingerprints"):
        monkeypatch.setattr(input_pipeline, name, lambda config: {})
    results = loop.train(binary_config(epochs=2, learning_rate=0.02), tmp_path)
    assert set(results["auc_vs_rest"]) == {"background", "h"}
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(tmp_path / "scores.parquet").to_pydict()
    total = np.array(table["probability_background"]) + np.array(table["probability_h"])
    np.testing.assert_allclose(total, 1, rtol=1e-5)
    assert "auc_gamma_gamma" not in (tmp_path / "metrics.jsonl").read_text()
