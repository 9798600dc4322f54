import dataclasses
import json

import numpy as np
import pytest

from e2e_jax.configs import default
from e2e_jax.evaluation import metrics
from e2e_jax.evaluation.cvm import cvm_metric
from e2e_jax.evaluation.published import TABLES, paper_row
from e2e_jax.evaluation.results import Options, evaluate, validation_metrics
from e2e_jax.evaluation.tables import results_table
from e2e_jax.runs.provenance import provenance
from e2e_jax.runs.results_files import write_results, write_scores
from e2e_jax.studies import hgg
from e2e_jax.study import Observable, Task

EVENTS = 900


def scored(events=EVENTS, seed=0):
    """Probabilities [n, 3] of a fair classifier, labels [n] and masses [n] in GeV."""
    random = np.random.default_rng(seed)
    labels = np.arange(events) % 3
    weights = np.exp(random.normal(size=(events, 3)) + 1.5 * np.eye(3)[labels])
    mass = 90 + random.exponential(40, events)
    return weights / weights.sum(axis=1, keepdims=True), labels, {"mass": mass}


OPTIONS = Options(bootstrap=20)


def config(name="cms_b", published="table_6"):
    return default.get_config().to_dict() | {"name": name, "published": published}


def made():
    about = {"epoch": 4, "train_events": 6000, "dataset": {"name": "cms_hgg/quick"}}
    return evaluate(hgg.TASK, *scored(), OPTIONS, config=config(), **about)


@pytest.fixture(scope="module")
def results():
    return made()


def test_results_have_the_fixed_form(results):
    assert set(results) == {
        *(
            "config",
            "task",
            "dataset",
            "events",
            "auc_vs_rest",
            "auc_pairwise",
            "auc_pairwise_raw",
            "cvm",
            "epoch",
        ),
        *("decorrelation", "r50", "r90", "provenance"),
    }
    assert results["config"] == config()
    assert Task(**results["task"]) == hgg.TASK
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
    for kind, normalized in (("auc_pairwise", True), ("auc_pairwise_raw", False)):
        for background, name in ((0, "h_vs_gamma_gamma"), (2, "h_vs_gamma_jet")):
            expected = metrics.pairwise_auc(probabilities, labels, 1, background, normalized)
            assert results[kind][name]["value"] == expected
    born = labels == 0
    assert results["cvm"]["value"] == cvm_metric(probabilities[born, 1], mass["mass"][born])


def test_every_epochs_metrics_are_those_of_the_results(results):
    row = validation_metrics(hgg.TASK, *scored(), OPTIONS)
    assert row["auc_h"] == results["auc_vs_rest"]["h"]["value"]
    assert row["auc_h_vs_gamma_jet"] == results["auc_pairwise"]["h_vs_gamma_jet"]["value"]
    assert row["cvm"] == results["cvm"]["value"]


def test_the_same_scores_give_the_same_results(results):
    assert {**made(), "provenance": None} == {**results, "provenance": None}


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
    probabilities, labels, observables = scored()
    mass = observables["mass"]
    address = {name: np.arange(EVENTS) * factor for factor, name in enumerate(("run", "lumi", "event"), 1)}
    path = write_scores(tmp_path, probabilities, {"label": labels, "mass": mass, **address}, hgg.TASK.columns)
    table = parquet.read_table(path).to_pydict()
    np.testing.assert_array_equal(table["probability_h"], probabilities[:, 1])
    np.testing.assert_array_equal(table["mass"], mass)
    np.testing.assert_array_equal(table["event"], address["event"])
    assert set(table["split"]) == {"validation"}
    with pytest.raises(ValueError, match="'run' is missing"):
        write_scores(tmp_path, probabilities, {"label": labels, "mass": mass}, hgg.TASK.columns)
    with pytest.raises(ValueError, match="'mass' has 3 rows"):
        write_scores(
            tmp_path, probabilities, {"label": labels, "mass": mass[:3], **address}, hgg.TASK.columns
        )
    assert parquet.read_table(path).num_rows == EVENTS


def test_the_papers_row_goes_by_name_and_table(results):
    def row(name, table):
        return paper_row(results | {"config": config(name, table)})

    assert row("cms_b", "table_6")["auc_vs_rest", "gamma_jet"] == 0.959
    assert row("four_momentum", "table_6")["auc_pairwise", "h_vs_gamma_gamma"] == 0.767
    assert row("four_momentum", "table_7")["auc_pairwise", "h_vs_gamma_gamma"] == 0.779
    assert row("cms_ii", "table_7")["cvm",] == 0.003
    assert row("mine", "table_6") == row("cms_b", "") == {}
    for table in TABLES.values():
        assert all(len(numbers) == len(table.places) for numbers in table.results.values())


def test_the_paper_is_not_shown_beside_events_with_other_labels(results):
    task = Task(signal="a", labels=("a", "b"))
    assert paper_row(results | {"task": task.to_json()}) == {}


def test_table_stands_beside_the_papers_row(results):
    lines = results_table(hgg.TASK, results).splitlines()
    row = next(line for line in lines if line.startswith("H vs rest")).split()
    value, difference = results["auc_vs_rest"]["h"]["value"], results["auc_vs_rest"]["h"]["value"] - 0.813
    assert row[3] == f"{value:.3f}"
    assert row[-2:] == ["0.813", f"{difference:+.3f}"]
    assert "independent of the diphoton mass" in lines[-1]
    forward = results | {"config": config("cms_i", "table_7")}
    assert "0.833" in results_table(hgg.TASK, forward)


def test_table_of_a_classifier_that_the_paper_has_not(results):
    table = results_table(hgg.TASK, results | {"config": config("mine")})
    assert "paper" not in table
    assert "CVM" in table


def test_classes_of_several_labels_are_separated_from_each_label():
    task = hgg.TASK.changed(classes=("background=gamma_gamma+gamma_jet", "h"))
    probabilities, labels, mass = scored()
    binary = np.stack([1 - probabilities[:, 1], probabilities[:, 1]], axis=1)
    found = evaluate(task, binary, labels, mass, OPTIONS, config=config("cms_b_binary"))
    assert set(found["auc_vs_rest"]) == {"background", "h"}
    vs_rest = metrics.roc_auc(binary[:, 1], labels == 1)
    assert found["auc_vs_rest"]["h"]["value"] == vs_rest
    pairs = [found["auc_pairwise"][f"h_vs_{name}"]["value"] for name in ("gamma_gamma", "gamma_jet")]
    assert np.mean(pairs) == pytest.approx(vs_rest, abs=1e-9)
    row = validation_metrics(task, binary, labels, mass, OPTIONS)
    assert row["auc_h_vs_gamma_jet"] == pytest.approx(pairs[1], abs=1e-12)
    assert row["auc_background"] == pytest.approx(vs_rest, abs=1e-12)
    table = results_table(task, found)
    assert "H vs γ+jet" in table
    assert "γγ vs rest" not in table


def test_five_labels_without_a_decorrelation_have_areas_alone():
    task = Task(signal="c", labels=tuple("abcde"))
    random = np.random.default_rng(0)
    labels = np.arange(500) % 5
    weights = np.exp(random.normal(size=(500, 5)) + np.eye(5)[labels])
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    found = evaluate(task, probabilities, labels, options=OPTIONS, config=config("mine", ""), train_events=1)
    assert found["cvm"] is None
    assert set(found["auc_vs_rest"]) == set(task.labels)
    assert set(found["auc_pairwise"]) == {f"c_vs_{label}" for label in "abde"}
    lines = results_table(task, found).splitlines()
    assert [line.split("  ")[0] for line in lines[2:11]] == [
        *("c vs rest", "a vs rest", "b vs rest", "d vs rest", "e vs rest"),
        *("c vs a", "c vs b", "c vs d", "c vs e"),
    ]
    assert "CVM" not in "".join(lines)
    assert "paper" not in "".join(lines)


def test_the_cvm_is_that_of_the_tasks_observable_in_its_labels():
    ht = Observable("ht", "GeV", "HT")
    task = Task(signal="c", decorrelate="ht", of=("a", "d"), labels=tuple("abcd"), observables=(ht,))
    random = np.random.default_rng(0)
    labels, values = np.arange(1600) % 4, random.uniform(100, 500, 1600)
    weights = np.exp(random.normal(size=(1600, 4)) + np.eye(4)[labels])
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    found = evaluate(task, probabilities, labels, {"ht": values}, OPTIONS, config=config("mine", ""))
    chosen = (labels == 0) | (labels == 3)
    assert found["cvm"]["value"] == cvm_metric(probabilities[chosen, 2], values[chosen])
    assert found["task"]["decorrelate"] == ["ht"]
    assert "independent of the HT" in results_table(task, found)
    with pytest.raises(ValueError, match="'ht'"):
        evaluate(task, probabilities, labels, None, OPTIONS)


def test_bad_samples_are_named():
    probabilities, labels, mass = scored()
    few = labels != 2
    with pytest.raises(ValueError, match=r"class has no events.*'gamma_jet': 0"):
        evaluate(hgg.TASK, probabilities[few], labels[few], {"mass": mass["mass"][few]})
    with pytest.raises(ValueError, match=r"got \(900, 2\)"):
        evaluate(hgg.TASK, probabilities[:, :2], labels, mass)
    with pytest.raises(ValueError, match="only 100 events of the labels"):
        evaluate(hgg.TASK, probabilities[:300], labels[:300], {"mass": mass["mass"][:300]})
    probabilities[5, 1] = np.nan
    with pytest.raises(ValueError, match="event 5 is NaN"):
        evaluate(hgg.TASK, probabilities, labels, mass)


def test_a_missing_observable_is_named():
    probabilities, labels, mass = scored()
    for given in (None, {"pt": mass["mass"]}, {"mass": mass["mass"][:5]}):
        with pytest.raises(ValueError, match="'mass'"):
            evaluate(hgg.TASK, probabilities, labels, given, OPTIONS)


def test_metrics_beside_the_cvm_have_a_value_an_uncertainty_and_a_floor(results):
    of_mass = results["decorrelation"]["mass"]
    assert of_mass["cvm"] == results["cvm"]
    for found in (of_mass["inverse_jsd"], results["r50"], results["r90"]):
        assert set(found) == {"value", "uncertainty", "floor", "floor_uncertainty"}
        assert all(number > 0 for number in found.values())
    # These scores do not depend on the mass, and separate the classes.
    jsd = of_mass["inverse_jsd"]
    assert abs(jsd["value"] - jsd["floor"]) < 4 * jsd["floor_uncertainty"]
    assert results["r50"]["value"] > 3 > 2 == results["r50"]["floor"]
    lines = results_table(hgg.TASK, results).splitlines()
    for name in ("CVM", "1/JSD", "R50", "R90"):
        assert any(line.startswith(f"{name} ") for line in lines)
        assert f"{name} " in lines[-1]


def test_of_several_observables_the_cvm_is_the_largest():
    probabilities, labels, mass = scored()
    random = np.random.default_rng(1)
    follows = probabilities[:, 1] + random.normal(size=EVENTS)
    task = dataclasses.replace(
        hgg.TASK, decorrelate=("mass", "pt"), observables=(hgg.MASS, Observable("pt", "GeV"))
    )
    observables = mass | {"pt": follows}
    found = evaluate(task, probabilities, labels, observables, OPTIONS, config=config("mine", ""))
    values = {name: of["cvm"]["value"] for name, of in found["decorrelation"].items()}
    assert values.keys() == {"mass", "pt"}
    assert found["cvm"] == found["decorrelation"]["pt"]["cvm"]
    assert values["pt"] > values["mass"]
    row = validation_metrics(task, probabilities, labels, observables, OPTIONS)
    assert {name: row[f"cvm_{name}"] for name in values} == values
    assert row["cvm"] == values["pt"]
    assert "1/JSD (pt)" in results_table(task, found)


def test_weights_of_one_change_nothing(results):
    weighted = evaluate(
        hgg.TASK,
        *scored(),
        OPTIONS,
        weights=np.ones(EVENTS),
        config=config(),
        epoch=4,
        train_events=6000,
        dataset={"name": "cms_hgg/quick"},
    )
    for key in ("auc_vs_rest", "auc_pairwise", "auc_pairwise_raw", "decorrelation", "r50", "r90", "cvm"):
        for one, other in zip(_numbers(weighted[key]), _numbers(results[key]), strict=True):
            assert one == pytest.approx(other, rel=1e-9)


def _numbers(tree):
    return (
        [number for branch in tree.values() for number in _numbers(branch)]
        if isinstance(tree, dict)
        else [tree]
    )


def test_events_of_weight_zero_count_nowhere():
    probabilities, labels, mass = scored()
    weights = np.random.default_rng(3).integers(0, 2, EVENTS).astype(float)
    kept = weights > 0
    every = validation_metrics(hgg.TASK, probabilities, labels, mass, Options(window=50), weights)
    alone = validation_metrics(
        hgg.TASK, probabilities[kept], labels[kept], {"mass": mass["mass"][kept]}, Options(window=50)
    )
    assert every == pytest.approx(alone)
