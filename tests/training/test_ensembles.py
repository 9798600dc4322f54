"""Several networks of one config: each is a separate run, and they form an ensemble with mean and spread."""

import json

import numpy as np
import pytest

from e2e_jax.errors import WorkdirError
from e2e_jax.evaluation import metrics
from e2e_jax.inference.export.files import export
from e2e_jax.inference.loading import load_classifier
from e2e_jax.inference.release import release
from e2e_jax.inference.saliency import hit_gradients
from e2e_jax.report import roc
from e2e_jax.report.runs import read_run
from e2e_jax.runs.checkpoints import read_about
from e2e_jax.runs.results_files import read_scores
from e2e_jax.training import ensembles, loop
from tests.objects import dataset_in_memory
from tests.synthetic import kinematics_config, sample

pytestmark = pytest.mark.slow
DATASET = dataset_in_memory()
SEEDS = 3


def config_of(seeds=SEEDS, **train):
    config = kinematics_config(epochs=1, **train)
    config.seeds = seeds
    return config


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "ensemble"
    ensembles.train(config_of(), folder, DATASET)
    return folder


def results_of(folder):
    return json.loads((folder / "results.json").read_text())


def test_the_networks_are_the_runs_of_their_seeds(folder, tmp_path):
    config = config_of(seeds=1)
    config.seed = 2
    alone = loop.train(config, tmp_path / "alone", DATASET)
    member = results_of(folder / "seed-2")
    assert member["auc_vs_rest"] == alone["auc_vs_rest"]
    np.testing.assert_array_equal(
        load_classifier(folder / "seed-2").predict(sample(5)),
        load_classifier(tmp_path / "alone").predict(sample(5)),
    )


def test_the_results_hold_mean_and_spread_of_every_metric_over_the_networks(folder):
    results, own = results_of(folder), [results_of(folder / f"seed-{seed}") for seed in range(SEEDS)]
    for part in ("auc_vs_rest", "auc_pairwise", "auc_pairwise_raw"):
        for name, metric in results["seeds"][part].items():
            values = [one[part][name]["value"] for one in own]
            assert metric["values"] == values
            assert metric["mean"] == pytest.approx(np.mean(values))
            assert metric["spread"] == pytest.approx(np.std(values, ddof=1))
            assert len(set(values)) == SEEDS
    assert results["seeds"]["cvm"]["values"] == [one["cvm"]["value"] for one in own]
    assert results["seeds"].keys() - {"members"} == own[0].keys() - {
        *("config", "task", "dataset", "events", "epoch", "epoch_selection", "provenance"),
    }


def test_the_ensembles_own_results_are_those_of_the_mean_probabilities(folder):
    own = [read_scores(folder / f"seed-{seed}") for seed in range(SEEDS)]
    mean = np.mean([scores["probability_h"] for scores in own], axis=0)
    labels = own[0]["label"]
    results = results_of(folder)
    assert results["auc_vs_rest"]["h"]["value"] == pytest.approx(metrics.roc_auc(mean, labels == 1))
    assert results["cvm"]["floor"] > 0
    np.testing.assert_allclose(read_scores(folder)["probability_h"], mean, rtol=1e-6)


def test_the_loaded_ensemble_predicts_the_mean_of_its_networks(folder):
    events = sample(7, seed=5)
    classifier = load_classifier(folder)
    own = [load_classifier(folder / f"seed-{seed}").predict(events) for seed in range(SEEDS)]
    np.testing.assert_allclose(classifier.predict(events), np.mean(own, axis=0), atol=1e-7)
    assert len(classifier.members) == SEEDS
    saved = read_scores(folder)
    names = [f"probability_{name}" for name in classifier.classes]
    validation = DATASET.read("validation", classifier.task)
    np.testing.assert_allclose(
        classifier.predict(validation), np.stack([saved[name] for name in names], axis=1), atol=1e-6
    )


def test_an_ensemble_is_not_taken_for_one_network(folder, tmp_path):
    for use in (
        lambda: read_about(folder),
        lambda: export(folder, tmp_path / "file.stablehlo", "stablehlo"),
        lambda: release(folder, tmp_path / "release", dataset=DATASET),
        lambda: hit_gradients(load_classifier(folder), sample(2)),
    ):
        with pytest.raises(WorkdirError, match=r"ensemble of 3 networks.*seed-0"):
            use()


def test_a_single_run_and_an_ensemble_do_not_share_a_folder(folder, tmp_path):
    with pytest.raises(WorkdirError, match="seeds: 3 there, 1 asked for"):
        ensembles.train(config_of(seeds=1), folder, DATASET)
    with pytest.raises(WorkdirError, match=r"train\.learning_rate"):
        ensembles.train(config_of(learning_rate=0.1), folder, DATASET)
    loop.train(config_of(seeds=1), tmp_path / "run", DATASET)
    with pytest.raises(WorkdirError, match="seeds: 1 there, 3 asked for"):
        ensembles.train(config_of(), tmp_path / "run", DATASET)


def test_finished_networks_are_not_trained_again_and_new_ones_join_them(folder, tmp_path):
    few = tmp_path / "run"
    ensembles.train(config_of(seeds=2), few, DATASET)
    before = (few / "seed-0" / "results.json").read_bytes()
    (few / "seed-1" / "results.json").unlink()
    more = ensembles.train(config_of(), few, DATASET)
    # A training, even one that only evaluates, would write the time anew.
    assert (few / "seed-0" / "results.json").read_bytes() == before
    assert more["seeds"]["auc_vs_rest"] == results_of(folder)["seeds"]["auc_vs_rest"]


def test_an_ensemble_is_evaluated_again_from_its_folder(folder, tmp_path):
    run = tmp_path / "run"
    ensembles.train(config_of(seeds=2), run, DATASET)
    before = results_of(run)
    (run / "results.json").unlink()
    ensembles.evaluate_run(run, dataset=DATASET)
    again = results_of(run)
    assert {**again, "provenance": 0} == {**before, "provenance": 0}


def test_the_report_draws_the_band_of_the_networks_curves(folder):
    (first, *_) = roc.comparisons([read_run(folder)])
    for curve in first.curves:
        low, high = curve.band
        own = np.interp(roc.EFFICIENCIES, curve.efficiency, curve.rejection)
        assert np.all(low <= high)
        assert np.mean(high - low) > 0
        assert np.mean((own >= low - 0.1) & (own <= high + 0.1)) > 0.9


def test_no_folder_is_made_where_there_is_nothing_to_evaluate(tmp_path):
    with pytest.raises(WorkdirError, match="There is no run"):
        ensembles.evaluate_run(tmp_path / "run", config_of(), DATASET)
    assert not (tmp_path / "run").exists()
