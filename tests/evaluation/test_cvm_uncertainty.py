"""The CVM metric's uncertainty is the spread of toys; its floor is their mean for an independent score."""

import numpy as np
import pytest

from e2e_jax.evaluation.cvm import cvm_metric
from e2e_jax.evaluation.cvm_uncertainty import cvm_floor, cvm_uncertainty


def toy(n, seed, dependence):
    """Scores [n] and masses [n] in GeV; the score follows the mass, or has a bump at that of the H."""
    random = np.random.default_rng(seed)
    mass = 90 + random.exponential(40, n)
    if dependence == "bump":
        return random.random(n) + 0.4 * np.exp(-(((mass - 125) / 8) ** 2) / 2), mass
    return random.random(n) + dependence * (mass - 130) / 40, mass


def check_toys(n, dependence, toys):
    samples = [toy(n, seed, dependence) for seed in range(toys)]
    values = [cvm_metric(*sample) for sample in samples]
    # An independent score needs no jackknife as a rule, and its uncertainties scatter most.
    errors = [cvm_uncertainty(*sample) for sample in samples[: 300 if dependence == 0 else 100]]
    assert np.mean(errors) / np.std(values) == pytest.approx(1, abs=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("dependence", [0.0, 0.05, 0.4, "bump"])
def test_toys_confirm_the_uncertainty_within_15_percent(dependence):
    check_toys(600, dependence, 1000)


@pytest.mark.stress
@pytest.mark.parametrize("n", [2400, 11_800])
@pytest.mark.parametrize("dependence", [0.0, 0.01, 0.02, 0.03, 0.05, 0.1, 0.4, "bump"])
def test_toys_of_large_samples_confirm_the_uncertainty_within_15_percent(n, dependence):
    """Also near the floor, where neither the variance of an independent score nor the jackknife is right."""
    check_toys(n, dependence, 1000)


@pytest.mark.parametrize(("n", "k"), [(600, 200), (2000, 100), (210, 200)])
@pytest.mark.parametrize("kinds", [None, 3])
def test_the_floor_is_the_mean_of_independent_scores(n, k, kinds):
    """Also of scores with ties."""
    scores, mass = toy(n, 0, 0.0)
    scores = scores if kinds is None else np.floor(kinds * scores)
    random = np.random.default_rng(1)
    values = [cvm_metric(random.permutation(scores), mass, k) for _ in range(300)]
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values) - cvm_floor(scores, mass, k)) < 4 * error


def test_independent_scores_have_the_uncertainty_of_their_permutations_also_with_ties():
    scores, mass = toy(1200, 0, 0.0)
    scores = np.floor(4 * scores)
    random = np.random.default_rng(1)
    values = [cvm_metric(random.permutation(scores), mass) for _ in range(1000)]
    errors = [cvm_uncertainty(random.permutation(scores), mass) for _ in range(150)]
    assert np.mean(errors) / np.std(values) == pytest.approx(1, abs=0.15)


def test_the_order_of_the_events_does_not_matter():
    scores, mass = toy(600, 0, 0.2)
    mass = np.round(mass, -1)
    order = np.random.default_rng(0).permutation(600)
    for of in (cvm_uncertainty, cvm_floor):
        assert of(scores[order], mass[order]) == pytest.approx(of(scores, mass), rel=1e-9)


def test_a_single_window_and_a_constant_score_have_no_spread():
    assert cvm_uncertainty(*toy(200, 0, 0.0)) == cvm_floor(*toy(200, 0, 0.0)) == 0
    _, mass = toy(600, 0, 0.0)
    assert cvm_uncertainty(np.ones(600), mass) == cvm_floor(np.ones(600), mass) == 0


def plain_weighted_metric(scores, mass, weights, k, step):
    """As defined, with loops, for events of a weight above 0."""
    order = np.argsort(mass)
    scores, weights, distances = scores[order], weights[order], []
    at_most = scores[None, :] <= scores[:, None]
    everywhere = at_most @ weights / weights.sum()
    for first in range(0, len(scores) - k + 1, step):
        own = slice(first, first + k)
        inside = at_most[:, own] @ weights[own] / weights[own].sum()
        distances.append(np.average((inside - everywhere) ** 2, weights=weights))
    return np.mean(distances)


@pytest.mark.parametrize("dependence", [0.0, 1.0])
def test_the_weighted_metric_is_its_definition(dependence):
    scores, mass = toy(300, 0, dependence)
    scores, weights = np.round(scores, 2), np.random.default_rng(1).exponential(size=300)
    expected = plain_weighted_metric(scores, mass, weights, 30, 7)
    assert cvm_metric(scores, mass, 30, 7, weights) == pytest.approx(expected, rel=1e-9)


def test_with_weights_the_floor_is_the_mean_and_the_uncertainty_the_spread():
    """Of scores that depend neither on the observable nor on the weights, which follow the observable."""
    random = np.random.default_rng(0)
    mass = random.uniform(100, 180, 1000)
    weights = random.exponential(size=1000) * mass / 140
    samples = [random.random(1000) for _ in range(400)]
    values = [cvm_metric(scores, mass, 100, 25, weights) for scores in samples]
    floors = [cvm_floor(scores, mass, 100, 25, weights) for scores in samples[:20]]
    errors = [cvm_uncertainty(scores, mass, 100, 25, weights=weights) for scores in samples[:20]]
    assert np.mean(floors) == pytest.approx(np.mean(values), rel=0.05)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.25)


def test_equal_weights_are_none():
    sample, weights = toy(600, 0, 0.5), np.full(600, 0.25)
    for of in (cvm_metric, cvm_floor, cvm_uncertainty):
        assert of(*sample, weights=weights) == pytest.approx(of(*sample), rel=1e-9)
