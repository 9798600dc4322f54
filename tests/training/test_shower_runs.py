"""Shower classifiers support the same workflow as others, without mass metrics."""

import json
import re

import jax
import numpy as np
import pytest

from e2e_jax import report
from e2e_jax.datasets.splits import GivenDataset
from e2e_jax.detector import shower_images
from e2e_jax.display.reading import Found
from e2e_jax.errors import ExportError
from e2e_jax.evaluation import metrics
from e2e_jax.evaluation.published import paper_row
from e2e_jax.evaluation.results import evaluate, validation_metrics
from e2e_jax.evaluation.tables import results_table
from e2e_jax.inference import release
from e2e_jax.inference.export import signature
from e2e_jax.inference.loading import load_classifier
from e2e_jax.inference.saliency import hit_gradients
from e2e_jax.report import events, tables
from e2e_jax.report.runs import read_run, read_runs
from e2e_jax.studies import showers
from e2e_jax.training import loop
from tests.objects import classifier_of, run_of
from tests.report.evaluated_run import write_evaluated
from tests.synthetic_showers import CONFIGS, conv_lstm_config, fcn_config, shower_sample, vgg_config

pytestmark = pytest.mark.slow

ORIGIN = {"name": "ecal_showers/crops_quick", "origin": "fast simulation"}
SPLITS = {"train": shower_sample(20, seed=1), "validation": shower_sample(20, seed=2)}


def train(config, workdir, splits=SPLITS):
    return loop.train(config, workdir, GivenDataset(showers.TASK, splits, ORIGIN))


def serve(monkeypatch, sample):
    def read_events(name, rows, split, data_dir=""):
        return Found(sample[list(rows)], "fast simulation", showers.TASK)

    monkeypatch.setattr(events, "read_events", read_events)


def test_trains_resumes_evaluates_and_reports(tmp_path, monkeypatch):
    """A run of one epoch continued by another has two epochs and a complete report."""
    rate = {"learning_rate": 2e-3, "schedule": "constant"}
    train(vgg_config(epochs=1, **rate), tmp_path / "extended")
    for name in ("extended", "whole"):
        results = train(vgg_config(epochs=2, **rate), tmp_path / name)
    extended, whole = (load_classifier(tmp_path / name, "latest").params for name in ("extended", "whole"))
    jax.tree.map(np.testing.assert_array_equal, extended, whole)

    assert results["cvm"] is None
    assert results["epoch_selection"] == "best AUC of electron vs rest"
    assert set(results["auc_vs_rest"]) == {"photon", "electron"}
    assert set(results["auc_pairwise"]) == {"electron_vs_photon"}
    assert set(results["background_rejection"]) == {"50", "70", "90"}
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert "cvm" not in rows[0]
    best = max(row["auc_electron"] for row in rows)
    assert results["auc_vs_rest"]["electron"]["value"] == pytest.approx(best, abs=1e-6)

    serve(monkeypatch, SPLITS["validation"])
    page = report.write_report(tmp_path / "whole").read_text()
    text = re.sub(r"<script.*?</script>|data:image[^\"]*", "", page, flags=re.DOTALL)
    figures = {path.stem for path in (tmp_path / "whole" / "figures").glob("*.png")}
    chosen = {f"event_most_{name}" for name in ("electron_like", "typical_photon", "mistaken")}
    assert figures == {"roc_vs_rest", "training", "confusion", "calibration", *chosen}
    for word in ("Table 4", "electron vs photon", "rejection at 50 %", "0.807", "AUC electron vs photon"):
        assert word in text
    assert 'id="decorrelation"' not in text
    assert "CVM" not in text


def test_learns(tmp_path):
    results = train(fcn_config(epochs=8, learning_rate=0.01), tmp_path)
    assert results["auc_vs_rest"]["electron"]["value"] > 0.9


@pytest.mark.parametrize("name", ["conv_lstm", "fcn", "resnet", "pairs"])
def test_every_classifier_takes_showers_batches_and_images(name, tmp_path):
    view = "barrel" if name in ("resnet", "pairs") else "crop"
    sample = shower_sample(12, view=view, pairs=name == "pairs")
    splits = {"train": sample, "validation": sample}
    results = train(CONFIGS[name](epochs=1), tmp_path, splits)
    assert results["events"] == {"train": 24, "validation": 24}
    classifier, some = load_classifier(tmp_path), sample[:5]
    assert classifier.classes == ("photon", "electron")
    expected = classifier.predict(some)
    if classifier.inputs.channels == ("digis",):
        images = {"digis": np.asarray(shower_images.digi_images(some))}
    else:
        images = {view: np.asarray(shower_images.shower_images(some, view, classifier.inputs.channels))}
    for given in (some.to_batch(), images):
        np.testing.assert_allclose(classifier.predict(given), expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match=r"has the shape|but this classifier sees|different numbers"):
        classifier.predict({key: image[:, :, :-1] for key, image in images.items()})


def scored(events=400, seed=0):
    random = np.random.default_rng(seed)
    labels = np.arange(events) % 2
    electron = 1 / (1 + np.exp(-random.normal(size=events) - 2 * labels + 1))
    return np.stack([1 - electron, electron], axis=1), labels


def test_results_are_those_of_the_metrics():
    probabilities, labels = scored()
    run, config = run_of(fcn_config()), fcn_config()
    about = {"config": config.to_dict(), "epoch": 1, "train_events": 7, "dataset": ORIGIN}
    results = evaluate(run.task, probabilities, labels, None, run.metrics, **about)
    area = metrics.roc_auc(probabilities[:, 1], labels == 1)
    assert results["auc_vs_rest"]["electron"]["value"] == area
    assert results["auc_pairwise"]["electron_vs_photon"]["value"] == pytest.approx(area, abs=1e-12)
    expected = metrics.background_rejection(probabilities[:, 1], labels == 1, 0.7, 5, config.seed)
    assert results["background_rejection"]["70"] == expected
    row = validation_metrics(run.task, probabilities, labels)
    assert row == pytest.approx(dict.fromkeys(("auc_photon", "auc_electron", "auc_electron_vs_photon"), area))
    lines = results_table(run.task, results).splitlines()
    first = next(line for line in lines if line.startswith("electron vs photon")).split()
    assert first[-2:] == ["0.770", f"{area - 0.77:+.3f}"]
    assert not any(line.startswith("CVM") for line in lines)


def write_run(folder, make_config, geometry="crop", seed=0):
    """The folder of a run that was evaluated, without a training."""
    config, sample = make_config(), shower_sample(200)
    config.inputs.geometry = geometry
    config.published = {"crop": "table_4", "barrel": "table_5"}[geometry]
    write_evaluated(folder, config, run_of(config), sample, scored(seed=seed)[0], dataset=ORIGIN)


def test_runs_join_into_the_papers_tables_4_and_5(tmp_path):
    for number, (make, geometry) in enumerate(
        [("vgg", "crop"), ("conv_lstm", "crop"), ("fcn", "crop"), ("resnet", "barrel"), ("pairs", "barrel")]
    ):
        write_run(tmp_path / str(number), CONFIGS[make], geometry, seed=number)
    runs = read_runs([tmp_path / str(number) for number in range(5)])
    crop, barrel = tables.tables(runs)
    assert ("Table 4" in crop.title, crop.columns[0]) == (True, "VGG")
    assert [name.rstrip("†") for name in barrel.columns] == ["ResNet", "ResNet, pairs"]
    assert [cell.paper for cell in crop.rows["electron vs photon"]] == ["0.807", "0.799", "0.770"]
    assert [cell.paper for cell in barrel.rows["electron vs photon"]] == ["0.788", "0.997"]
    assert list(crop.rows) == [
        "electron vs photon",
        *(f"rejection at {e} %" for e in (50, 70, 90)),
        *(f"1 / FPR at {e} %" for e in (50, 70, 90)),
    ]
    assert crop.rows["rejection at 90 %"][0].paper == ""
    assert r"rejection at 90 \%" in tables.latex([crop])
    assert paper_row(runs[4].results)["auc_vs_rest", "electron"] == 0.997


def test_a_rejection_without_a_false_positive_is_a_gap(tmp_path):
    write_run(tmp_path / "a", vgg_config)
    path = tmp_path / "a" / "results.json"
    results = json.loads(path.read_text())
    results["background_rejection"]["50"]["inverse"] = None
    path.write_text(json.dumps(results))
    (table,) = tables.tables([read_run(tmp_path / "a")])
    assert "1 / FPR at 50 %" not in table.rows
    assert "1 / FPR at 70 %" in table.rows
    assert "1 / FPR at 50 %" not in results_table(showers.TASK, results)


def test_a_release_holds_showers(tmp_path):
    train(conv_lstm_config(epochs=1), tmp_path / "run")
    dataset = GivenDataset(showers.TASK, SPLITS)
    folder = release.release(tmp_path / "run", tmp_path / "released", per_class=3, dataset=dataset)
    kept, probabilities = release.read_events(folder)
    assert kept.label.tolist() == [0, 1] * 3
    np.testing.assert_array_equal(kept.digis.samples, SPLITS["validation"][:6].digis.samples)
    np.testing.assert_allclose(load_classifier(folder).predict(kept), probabilities, rtol=1e-5)


def test_what_needs_collisions_is_refused():
    classifier = classifier_of(fcn_config())
    with pytest.raises(ValueError, match="sees showers"):
        hit_gradients(classifier, shower_sample(1), "electron")
    with pytest.raises(ExportError, match="sees showers"):
        signature.input_shapes(classifier, "hits")
