"""1/JSD, R50 and R90 for independent scores, and for scores that follow the observable."""

import numpy as np
import pytest

from e2e_jax.evaluation.decorrelation import inverse_jsd, rejections


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
        within += abs(made["value"] - made["floor"]) < 2.5 * made["floor_uncertainty"]
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
    assert made["value"] < 0.2 * made["floor"]


def test_the_uncertainty_is_the_spread_over_samples():
    """In terms of the divergence, whose distribution is nearer to a normal one than that of the inverse."""
    values = [inverse_jsd(*sample(dependence=1.0, seed=s), replicas=2)["value"] for s in range(100)]
    made = [inverse_jsd(*sample(dependence=1.0, seed=s), replicas=50) for s in range(8)]
    stated = np.mean([one["uncertainty"] / one["value"] ** 2 for one in made])
    assert 0.7 < stated / np.std(1 / np.array(values)) < 1.3


def test_it_does_not_change_with_a_monotonic_map_of_the_observable_or_the_score():
    scores, is_signal, mass = sample(dependence=0.5)
    first = inverse_jsd(scores, is_signal, mass, replicas=10)
    assert inverse_jsd(np.exp(scores), is_signal, np.log(mass), replicas=10) == first


def test_the_rejections_are_those_of_the_cuts():
    scores, is_signal, _ = sample()
    made = rejections(scores, is_signal, replicas=10)
    for name, efficiency in (("r50", 0.5), ("r90", 0.9)):
        cut = np.quantile(scores[is_signal], 1 - efficiency)
        assert made[name]["value"] == pytest.approx(1 / np.mean(scores[~is_signal] >= cut), rel=0.05)
        assert made[name]["value"] > made[name]["floor"] == pytest.approx(1 / efficiency)


def test_the_floor_of_a_rejection_is_the_mean_and_spread_of_random_scores():
    random, is_signal = np.random.default_rng(0), np.arange(2000) % 2 == 0
    made = [rejections(random.normal(size=2000), is_signal, replicas=2) for _ in range(200)]
    for name in ("r50", "r90"):
        values = np.array([one[name]["value"] for one in made])
        assert values.mean() == pytest.approx(made[0][name]["floor"], rel=0.01)
        assert values.std() == pytest.approx(made[0][name]["floor_uncertainty"], rel=0.2)


def test_a_weight_of_two_is_an_event_that_comes_twice():
    scores, is_signal, mass = sample(600, dependence=0.5)
    weights = 1.0 + (np.arange(600) % 3 == 0)
    twice = np.repeat(np.arange(600), weights.astype(int))
    given = {"bins": 2, "replicas": 2}
    # Two values, so that the bins are the same in both samples.
    mass = np.where(mass < 140, 0.0, 1.0)
    one = inverse_jsd(scores, is_signal, mass, weights, **given)
    two = inverse_jsd(scores[twice], is_signal[twice], mass[twice], **given)
    assert one["value"] == pytest.approx(two["value"])
    single, double = (
        rejections(scores, is_signal, weights, 2),
        rejections(scores[twice], is_signal[twice], None, 2),
    )
    assert single["r50"]["value"] == pytest.approx(double["r50"]["value"])


@pytest.mark.parametrize("bad", [np.full(4000, 125.0), np.full(4000, np.nan)])
def test_an_observable_that_tells_nothing_is_refused(bad):
    scores, is_signal, _ = sample()
    with pytest.raises(ValueError):
        inverse_jsd(scores, is_signal, bad)


def test_a_perfect_or_constant_score_has_no_finite_value():
    _, is_signal, mass = sample()
    assert inverse_jsd(is_signal.astype(float), is_signal, mass) is None
    assert inverse_jsd(np.ones(4000), is_signal, mass) is None
    assert rejections(is_signal.astype(float), is_signal, replicas=2) == {"r50": None, "r90": None}
