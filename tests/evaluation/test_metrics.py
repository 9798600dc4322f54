import time

import numpy as np
import pytest

from e2e_jax.evaluation import metrics
from e2e_jax.evaluation.weights import checked_weights


def classified(n, seed=0, separation=1.0):
    """Softmax probabilities [n, 3] of a classifier of balanced classes, and labels [n]."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    logits = random.normal(size=(n, 3))
    logits[np.arange(n), labels] += separation
    weights = np.exp(logits)
    return weights / weights.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize("ties", [False, True])
def test_auc_is_scikit_learns(ties):
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    probabilities, labels = classified(999)
    scores = np.round(probabilities[:, 1], 1) if ties else probabilities[:, 1]
    assert metrics.roc_auc(scores, labels == 1) == pytest.approx(
        sklearn_metrics.roc_auc_score(labels == 1, scores), abs=1e-12
    )


@pytest.mark.parametrize("digits", [1, 12])
def test_curve_is_scikit_learns(digits):
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    probabilities, labels = classified(300)
    scores = np.round(probabilities[:, 1], digits)
    ours = metrics.roc_curve(scores, labels == 1)
    theirs = sklearn_metrics.roc_curve(labels == 1, scores, drop_intermediate=False)
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_area_under_the_curve_is_the_auc():
    probabilities, labels = classified(300)
    scores = np.round(probabilities[:, 1], 1)
    false_positive, true_positive, _ = metrics.roc_curve(scores, labels == 1)
    assert np.trapezoid(true_positive, false_positive) == pytest.approx(metrics.roc_auc(scores, labels == 1))


@pytest.mark.parametrize(
    ("scores", "is_signal", "area"),
    [([1, 2, 3], [0, 0, 1], 1.0), ([3, 2, 1], [0, 0, 1], 0.0), ([5, 5, 5, 5], [0, 1, 0, 1], 0.5)],
)
def test_auc_of_simple_cases(scores, is_signal, area):
    assert metrics.roc_auc(np.array(scores), np.array(is_signal)) == area


def test_auc_depends_on_neither_order_nor_scale_and_turns_with_the_sign():
    probabilities, labels = classified(300)
    scores, is_signal = np.round(probabilities[:, 1], 2), labels == 1
    order = np.random.default_rng(0).permutation(300)
    area = metrics.roc_auc(scores, is_signal)
    assert metrics.roc_auc(scores[order], is_signal[order]) == area
    assert metrics.roc_auc(np.exp(scores), is_signal) == area
    assert metrics.roc_auc(-scores, is_signal) == pytest.approx(1 - area)


def test_one_vs_rest_is_the_mean_of_raw_one_vs_one():
    probabilities, labels = classified(600)
    raw = [metrics.pairwise_auc(probabilities, labels, 1, b, normalized=False) for b in (0, 2)]
    assert np.mean(raw) == pytest.approx(metrics.roc_auc(probabilities[:, 1], labels == 1), abs=1e-12)


def test_pair_normalized_score_is_the_best_for_the_pair():
    """Probabilities that are the true posteriors: their ratio is the likelihood ratio of the pair."""
    random = np.random.default_rng(0)
    labels = np.arange(3000) % 3
    x = random.normal(size=(3000, 2)) + np.array([[0, 0], [1, 0], [0, 3]])[labels]
    density = np.exp(-0.5 * np.sum((x[:, None, :] - np.array([[[0, 0], [1, 0], [0, 3]]])) ** 2, axis=-1))
    probabilities = density / density.sum(axis=1, keepdims=True)
    chosen = labels != 2
    best = metrics.roc_auc((density[:, 1] / density[:, 0])[chosen], labels[chosen] == 1)
    assert metrics.pairwise_auc(probabilities, labels, 1, 0) == pytest.approx(best, abs=1e-9)
    assert metrics.pairwise_auc(probabilities, labels, 1, 0, normalized=False) < best


def test_pair_without_probability_is_undecided():
    probabilities = np.array([[0, 0, 1], [0, 0, 1], [0.5, 0.5, 0]])
    scores, is_signal = metrics.pair_scores(probabilities, np.array([0, 1, 1]), 1, 0)
    np.testing.assert_array_equal(scores, 0.5)
    np.testing.assert_array_equal(is_signal, [False, True, True])


def test_bootstrap_and_delong_are_the_spread_of_samples():
    areas = []
    for seed in range(200):
        probabilities, labels = classified(600, seed)
        areas.append(metrics.roc_auc(probabilities[:, 1], labels == 1))
    probabilities, labels = classified(600, seed=1000)
    sample = probabilities[:, 1], labels == 1
    assert metrics.bootstrap_uncertainty(*sample, strata=labels) == pytest.approx(np.std(areas), rel=0.25)
    assert metrics.delong_uncertainty(*sample) == pytest.approx(np.std(areas), rel=0.25)
    assert metrics.bootstrap_uncertainty(*sample, 2000) == pytest.approx(
        metrics.delong_uncertainty(*sample), rel=0.1
    )


def test_bootstrap_is_fixed_by_its_seed():
    probabilities, labels = classified(90)
    sample = probabilities[:, 1], labels == 1
    assert metrics.bootstrap_uncertainty(*sample, seed=1) == metrics.bootstrap_uncertainty(*sample, seed=1)
    assert metrics.bootstrap_uncertainty(*sample, seed=1) != metrics.bootstrap_uncertainty(*sample, seed=2)


def test_bootstrap_of_a_perfect_separation_is_certain():
    assert metrics.bootstrap_uncertainty(np.arange(10), np.arange(10) > 4) == 0


def test_bootstrap_is_quick_at_full_size():
    probabilities, labels = classified(35_400)
    started = time.process_time()
    metrics.bootstrap_uncertainty(probabilities[:, 1], labels == 1, strata=labels)
    assert time.process_time() - started < 10


@pytest.mark.parametrize("function", [metrics.roc_auc, metrics.roc_curve, metrics.bootstrap_uncertainty])
def test_bad_input_is_named(function):
    scores, is_signal = np.arange(6.0), np.arange(6) > 2
    with pytest.raises(ValueError, match="no signal events"):
        function(scores, np.zeros(6, bool))
    with pytest.raises(ValueError, match="no background events"):
        function(scores, np.ones(6, bool))
    with pytest.raises(ValueError, match="score of event 2 is NaN"):
        function(np.where(scores == 2, np.nan, scores), is_signal)
    with pytest.raises(ValueError, match="labels == signal"):
        function(scores, np.arange(6) % 3)
    with pytest.raises(ValueError, match=r"\[n\]"):
        function(scores[:4], is_signal)


def test_bad_pairs_are_named():
    probabilities, labels = classified(9)
    with pytest.raises(ValueError, match="No event has the background label 2"):
        metrics.pairwise_auc(probabilities[labels < 2], labels[labels < 2], 1, 2)
    with pytest.raises(ValueError, match="no signal class 3"):
        metrics.pairwise_auc(probabilities, labels, 3, 0)
    with pytest.raises(ValueError, match="two different classes"):
        metrics.pairwise_auc(probabilities, labels, 1, 1)
    with pytest.raises(ValueError, match="not finite, or negative"):
        metrics.pairwise_auc(np.log(probabilities), labels, 1, 0)
    with pytest.raises(ValueError, match="at least 2 replicas"):
        metrics.bootstrap_uncertainty(probabilities[:, 1], labels == 1, replicas=1)
    with pytest.raises(ValueError, match="one stratum"):
        metrics.bootstrap_uncertainty(probabilities[:, 1], labels == 1, strata=labels[:2])
    with pytest.raises(ValueError, match="2 events of each kind"):
        metrics.delong_uncertainty(np.arange(3.0), np.arange(3) == 1)


def test_background_rejection_is_that_of_the_roc_curve():
    random = np.random.default_rng(4)
    is_signal = np.arange(3000) % 3 > 0
    scores = np.round(random.normal(size=3000) + is_signal, 2)  # with ties
    false, true, _ = metrics.roc_curve(scores, is_signal)
    for efficiency in (0.5, 0.7, 0.9, 1.0):
        made = metrics.background_rejection(scores, is_signal, efficiency)
        rate = false[np.searchsorted(true, efficiency - 1e-12)]
        assert made["value"] == pytest.approx(1 - rate, abs=1e-12)
        assert made["inverse"]["value"] == pytest.approx(1 / rate)
        assert made["inverse"]["uncertainty"] == pytest.approx(made["uncertainty"] / rate**2)


def test_the_uncertainty_of_a_rejection_is_its_spread_over_samples():
    random = np.random.default_rng(5)
    is_signal = np.arange(600) % 2 == 0
    samples = [random.normal(size=600) + is_signal for _ in range(300)]
    values = [metrics.background_rejection(scores, is_signal, 0.7, 2)["value"] for scores in samples]
    errors = [metrics.background_rejection(s, is_signal, 0.7, 50)["uncertainty"] for s in samples[:20]]
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.2)


def test_where_no_background_passes_its_inverse_is_not_known():
    made = metrics.background_rejection(np.arange(20), np.arange(20) >= 10, 0.9)
    assert (made["value"], made["inverse"]) == (1.0, None)
    assert made["uncertainty"] == pytest.approx(0.1, rel=0.1)
    with pytest.raises(ValueError, match="above 0 and at most 1, not 90"):
        metrics.background_rejection(np.arange(20), np.arange(20) >= 10, 90)


def test_a_weight_of_three_is_an_event_that_comes_three_times():
    random = np.random.default_rng(0)
    scores, is_signal = np.round(random.normal(size=200), 1), random.random(200) < 0.4
    weights = random.integers(0, 4, 200)
    rows = np.repeat(np.arange(200), weights)
    given, repeated = (scores, is_signal), (scores[rows], is_signal[rows])
    assert metrics.roc_auc(*given, weights=weights) == pytest.approx(metrics.roc_auc(*repeated))
    area = metrics.background_rejection(*given, 0.7, 2, weights=weights)["value"]
    assert area == pytest.approx(metrics.background_rejection(*repeated, 0.7, 2)["value"])
    false, true, thresholds = metrics.roc_curve(*given, weights)
    others = dict(zip(metrics.roc_curve(*repeated)[2], zip(*metrics.roc_curve(*repeated)[:2])))
    for point in zip(thresholds, false, true):
        if point[0] in others:
            assert point[1:] == pytest.approx(others[point[0]])


def test_the_uncertainty_of_a_weighted_area_is_its_spread():
    def sample(seed):
        random = np.random.default_rng(seed)
        is_signal = np.arange(400) % 2 == 0
        return random.normal(size=400) + is_signal, is_signal, random.exponential(size=400)

    spread = np.std([metrics.roc_auc(*sample(seed)) for seed in range(400)], ddof=1)
    scores, is_signal, weights = sample(1000)
    assert metrics.delong_uncertainty(scores, is_signal, weights) == pytest.approx(spread, rel=0.25)
    found = metrics.bootstrap_uncertainty(scores, is_signal, weights=weights)
    assert found == pytest.approx(spread, rel=0.25)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_bad_weights_are_refused(bad):
    weights = np.where(np.arange(10) == 3, bad, 1.0)
    with pytest.raises(ValueError):
        metrics.roc_auc(np.arange(10.0), np.arange(10) % 2, weights)
    with pytest.raises(ValueError, match=r"'weight'.*event 3"):
        checked_weights(weights, np.arange(10) % 2, ("a", "b"), "weight")


def test_a_class_without_weight_is_refused():
    with pytest.raises(ValueError, match="'b'"):
        checked_weights(np.array([1.0, 0.0]), np.array([0, 1]), ("a", "b"), "weight")
