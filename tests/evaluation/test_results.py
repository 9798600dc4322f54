import json

import numpy as np
import pytest

from e2e_jax.configs import default
from e2e_jax.evaluation import metrics
from e2e_jax.evaluation.published import METRICS, PAPER_RESULTS, paper_row, results_table
from e2e_jax.evaluation.results import evaluate, validation_metrics, write_results, write_scores
from e2e_jax.models.decorrelation.cvm import cvm_metric
from e2e_jax.runs.provenance import provenance

EVENTS = 900


def scored(events=EVENTS, seed=0):
    """Probabilities [n, 3] of a fair classifier, labels [n] and masses [n] in GeV."""
    random = np.random.default_rng(seed)
    labels = np.arange(events) % 3
    weights = np.exp(random.normal(size=(events, 3)) + 1.5 * np.eye(3)[labels])
    return weights / weights.sum(axis=1, keepdims=True), labels, 90 + random.exponential(40, events)


def config(name="cms_b"):
    made = default.get_config()
    made.name = name
    made.evaluate.bootstrap = 20
    return made


@pytest.fixture(scope="module")
def results():
    return evaluate(*scored(), config(), epoch=4, train_events=6000, dataset={"name": "cms_hgg/quick"})


def test_results_have_the_fixed_form(results):
    assert set(results) == {
        *("config", "dataset", "events", "auc_vs_rest", "auc_pairwise", "auc_pairwise_raw", "cvm", "epoch"),
        "provenance",
    }
    assert results["config"] == config().to_dict()
    assert results["dataset"] == {"name": "cms_hgg/quick"}
    assert results["events"] == {"train": 6000, "validation": EVENTS}
    assert results["epoch"] == 4
    assert set(results["auc_vs_rest"]) == {"h", "gamma_gamma", "gamma_jet"}
    for kind in ("auc_pairwise", "auc_pairwise_raw"):
        assert set(results[kind]) == {"h_vs_gamma_gamma", "h_vs_gamma_jet"}
    for group in (results["auc_vs_rest"], results["auc_pairwise"], results["auc_pairwise_raw"]):
        for metric in group.values():
            assert 0.5 < metric["value"] < 1
            assert 0.005 < metric["uncertainty"] < 0.05
    assert set(results["cvm"]) == {"value", "uncertainty", "floor"}
    assert results["cvm"]["uncertainty"] > 0


def test_values_are_those_of_the_metrics(results):
    probabilities, labels, mass = scored()
    assert results["auc_vs_rest"]["gamma_jet"]["value"] == metrics.roc_auc(probabilities[:, 2], labels == 2)
    for kind, normalised in (("auc_pairwise", True), ("auc_pairwise_raw", False)):
        for background, name in ((0, "h_vs_gamma_gamma"), (2, "h_vs_gamma_jet")):
            expected = metrics.pairwise_auc(probabilities, labels, 1, background, normalised)
            assert results[kind][name]["value"] == expected
    born = labels == 0
    assert results["cvm"]["value"] == cvm_metric(probabilities[born, 1], mass[born])


def test_every_epochs_metrics_are_those_of_the_results(results):
    row = validation_metrics(*scored(), config())
    assert row["auc_h"] == results["auc_vs_rest"]["h"]["value"]
    assert row["auc_h_vs_gamma_jet"] == results["auc_pairwise"]["h_vs_gamma_jet"]["value"]
    assert row["cvm"] == results["cvm"]["value"]


def test_the_same_scores_give_the_same_results(results):
    again = evaluate(*scored(), config(), epoch=4, train_events=6000, dataset={"name": "cms_hgg/quick"})
    assert {**again, "provenance": None} == {**results, "provenance": None}


def test_provenance_names_what_made_the_results():
    made = provenance(seed=7)
    assert made["seed"] == 7
    assert made["packages"]["numpy"] == np.__version__
    assert made["device"]["kind"]
    assert made["time"].endswith("+00:00")
    assert made["commit"] is None or len(made["commit"].removesuffix("-dirty")) == 40


def test_results_are_written_whole_or_not_at_all(results, tmp_path):
    path = write_results(tmp_path / "run", results | {"epoch": np.int64(4)})
    assert json.loads(path.read_text())["epoch"] == 4
    before = path.read_text()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_results(tmp_path / "run", results | {"epoch": float("nan")})
    assert path.read_text() == before
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]


def test_scores_are_read_back(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    probabilities, labels, mass = scored()
    address = {name: np.arange(EVENTS) * factor for factor, name in enumerate(("run", "lumi", "event"), 1)}
    path = write_scores(tmp_path, probabilities, {"label": labels, "mass": mass, **address})
    table = parquet.read_table(path).to_pydict()
    np.testing.assert_array_equal(table["probability_h"], probabilities[:, 1])
    np.testing.assert_array_equal(table["mass"], mass)
    np.testing.assert_array_equal(table["event"], address["event"])
    assert set(table["split"]) == {"validation"}
    with pytest.raises(ValueError, match="'run' is missing"):
        write_scores(tmp_path, probabilities, {"label": labels, "mass": mass})
    with pytest.raises(ValueError, match="'mass' has 3 rows"):
        write_scores(tmp_path, probabilities, {"label": labels, "mass": mass[:3], **address})
    assert parquet.read_table(path).num_rows == EVENTS


def test_the_papers_row_goes_by_name_and_category():
    assert paper_row("cms_b")["gamma+jet vs rest"] == 0.959
    assert paper_row("four_momentum")["H vs gamma gamma"] == 0.767
    assert paper_row("four_momentum", "central_forward")["H vs gamma gamma"] == 0.779
    assert paper_row("cms_ii", "central_forward")["CVM"] == 0.003
    assert paper_row("mine") is None
    assert all(len(row) == len(METRICS) for rows in PAPER_RESULTS.values() for row in rows.values())


def test_table_stands_beside_the_papers_row(results):
    lines = results_table(results).splitlines()
    row = next(line for line in lines if line.startswith("H vs rest")).split()
    value, difference = results["auc_vs_rest"]["h"]["value"], results["auc_vs_rest"]["h"]["value"] - 0.813
    assert row[3] == f"{value:.3f}"
    assert row[-2:] == ["0.813", f"{difference:+.3f}"]
    assert max(map(len, lines)) < 110
    forward = results | {"config": {"name": "cms_i"}, "dataset": {"category": "central_forward"}}
    assert "0.833" in results_table(forward)


def test_table_of_a_classifier_that_the_paper_has_not(results):
    table = results_table(results | {"config": {"name": "mine"}})
    assert "paper" not in table
    assert "CVM" in table


def test_bad_samples_are_named():
    probabilities, labels, mass = scored()
    few = labels != 2
    with pytest.raises(ValueError, match=r"class has no events.*'gamma_jet': 0"):
        evaluate(probabilities[few], labels[few], mass[few], config())
    with pytest.raises(ValueError, match=r"got \(900, 2\)"):
        evaluate(probabilities[:, :2], labels, mass, config())
    with pytest.raises(ValueError, match="only 100 gamma gamma events"):
        evaluate(probabilities[:300], labels[:300], mass[:300], config())
    probabilities[5, 1] = np.nan
    with pytest.raises(ValueError, match="event 5 is NaN"):
        evaluate(probabilities, labels, mass, config())
