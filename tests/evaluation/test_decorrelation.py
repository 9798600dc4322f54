"""1/JSD, R50 and R90: what they are for independent scores, and for scores that follow the observable."""

import numpy as np
import pytest

from e2e_jax.evaluation.decorrelation import decorrelation_metrics, inverse_jsd


def sample(n=4000, dependence=0.0, seed=0):
    random = np.random.default_rng(seed)
    is_signal = np.arange(n) % 2 == 0
    mass = random.uniform(100, 180, n)
    scores = random.normal(size=n) + 1.5 * is_signal + dependence * (mass - 140) / 40
    return scores, is_signal, mass


def test_an_independent_score_is_at_the_floor():
    within = 0
    for seed in range(10):
        made = inverse_jsd(*sample(seed=seed), replicas=50)
        floor = made["independent"]
        within += abs(made["value"] - floor["value"]) < 2.5 * floor["uncertainty"]
    assert within >= 9


def test_dependence_lowers_it_by_its_definition():
    scores, is_signal, mass = sample(dependence=1.0)
    made = inverse_jsd(scores, is_signal, mass, bins=2, replicas=5)
    background, cut = ~is_signal, np.sort(scores[is_signal])[is_signal.sum() // 2]
    high = mass[background] >= np.median(mass[background])
    shares = [
        np.array([1 - high[chosen].mean(), high[chosen].mean()])
        for chosen in (scores[background] >= cut, scores[background] < cut)
    ]
    middle = sum(shares) / 2
    divergence = sum(np.sum(share * np.log2(share / middle)) / 2 for share in shares)
    assert made["value"] == pytest.approx(1 / divergence, rel=1e-6)
    assert made["value"] < 0.2 * made["independent"]["value"]


def test_the_uncertainty_is_the_spread_over_samples():
    """In terms of the divergence, whose distribution is nearer to a normal one than that of the inverse."""
    values = [inverse_jsd(*sample(dependence=1.0, seed=s), replicas=2)["value"] for s in range(100)]
    made = [inverse_jsd(*sample(dependence=1.0, seed=s), replicas=50) for s in range(8)]
    stated = np.mean([one["uncertainty"] / one["value"] ** 2 for one in made])
    assert 0.7 < stated / np.std(1 / np.array(values)) < 1.3


def test_it_does_not_change_with_a_monotonic_map_of_the_observable_or_the_score():
    scores, is_signal, mass = sample(dependence=0.5)
    first = decorrelation_metrics(scores, is_signal, mass, replicas=10)
    assert decorrelation_metrics(np.exp(scores), is_signal, np.log(mass), replicas=10) == first


def test_the_rejections_are_those_of_the_cuts():
    scores, is_signal, mass = sample()
    made = decorrelation_metrics(scores, is_signal, mass, replicas=10)
    for name, efficiency in (("r50", 0.5), ("r90", 0.9)):
        cut = np.quantile(scores[is_signal], 1 - efficiency)
        assert made[name]["value"] == pytest.approx(1 / np.mean(scores[~is_signal] >= cut), rel=0.05)
        assert made[name]["independent"] == pytest.approx(1 / efficiency)
        assert made[name]["value"] > made[name]["independent"]


@pytest.mark.parametrize("bad", [np.full(4000, 125.0), np.full(4000, np.nan)])
def test_an_observable_that_tells_nothing_is_refused(bad):
    scores, is_signal, _ = sample()
    with pytest.raises(ValueError):
        inverse_jsd(scores, is_signal, bad)


def test_a_cut_that_nothing_of_the_background_passes_is_refused():
    scores, is_signal, mass = sample()
    with pytest.raises(ValueError):
        inverse_jsd(is_signal.astype(float), is_signal, mass)
    made = inverse_jsd(scores, is_signal, mass, replicas=2)
    assert np.isfinite(made["value"])
