"""Training, evaluation and report work for any labels and observables, with the task's names."""

import dataclasses
import json
import re

import numpy as np
import pytest

from e2e_jax import report
from e2e_jax.datasets.splits import GivenDataset
from e2e_jax.display.reading import Found
from e2e_jax.inference.loading import load_classifier
from e2e_jax.report import events as displays
from e2e_jax.study import Observable, Task
from e2e_jax.training import loop
from tests.synthetic import kinematics_config, sample
from tests.synthetic_showers import shower_sample, vgg_config

pytestmark = pytest.mark.slow


def with_ht(per_class, seed):
    """Events of four labels, with an observable of their own."""
    events, random = sample(per_class, seed), np.random.default_rng(seed)
    ht = random.uniform(100, 500, len(events)).astype(np.float32)
    label = (np.arange(len(events)) % 4).astype(np.int32)
    return dataclasses.replace(events, label=label, observables={**events.observables, "ht": ht})


def report_of(workdir, events, task, monkeypatch):
    """The page of a run whose dataset is in memory, without its programs and pictures."""
    monkeypatch.setattr(
        displays, "read_events", lambda name, rows, *_, **__: Found(events[list(rows)], "a test", task)
    )
    page = report.write_report(workdir).read_text()
    return re.sub(r"<script.*?</script>|data:image[^\"]*", "", page, flags=re.DOTALL)


def test_a_score_is_decorrelated_from_another_observable_in_two_labels(tmp_path, monkeypatch):
    observables = (Observable("mass", "GeV"), Observable("ht", "GeV", "HT"))
    fields = {"labels": ("a", "b", "signal", "d"), "observables": observables, "titles": {"signal": "S"}}
    task = Task(signal="signal", decorrelate="ht", of=("a", "d"), **fields)
    splits = {"train": with_ht(20, 1), "validation": with_ht(20, 2)}
    config = kinematics_config(epochs=1)
    config.published = ""
    results = loop.train(config, tmp_path, GivenDataset(task, splits))
    assert set(results["auc_pairwise"]) == {"signal_vs_a", "signal_vs_b", "signal_vs_d"}
    assert results["cvm"]["value"] > 0
    assert results["epoch_selection"].startswith(("best AUC of S vs rest", "no epoch has CVM"))
    (row,) = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert row["train_cvm_penalty"] > 0
    assert load_classifier(tmp_path).task == task
    page = report_of(tmp_path, splits["validation"], task, monkeypatch)
    for word in ("score_ht_a", "ht_spectrum_d", "Score against HT", "S vs d"):
        assert word in page
    assert "arXiv" not in page


def test_five_labels_without_mass_and_photons(tmp_path, monkeypatch):
    task = Task(signal="c", labels=tuple("abcde"), events="showers")

    def five(seed):
        events = shower_sample(30, seed)
        return dataclasses.replace(events, label=(np.arange(len(events)) % 5).astype(np.int32))

    splits = {"train": five(1), "validation": five(2)}
    config = vgg_config(epochs=1, batch_size=10)
    config.published = ""
    results = loop.train(config, tmp_path, GivenDataset(task, splits))
    assert set(results["auc_vs_rest"]) == set("abcde")
    assert results["cvm"] is None
    classifier = load_classifier(tmp_path)
    assert classifier.classes == tuple("abcde")
    assert classifier.predict(splits["validation"][:3]).shape == (3, 5)
    page = report_of(tmp_path, splits["validation"], task, monkeypatch)
    for word in ("c vs rest", "c vs e", "roc_c_vs_a", "event_most_typical_e"):
        assert word in page
    for word in ("CVM", "arXiv", 'id="decorrelation"'):
        assert word not in page
