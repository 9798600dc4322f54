import jax
import jax.numpy as jnp
import numpy as np
import pytest

from e2e_jax.evaluation.cvm import cvm_metric
from e2e_jax.models.decorrelation.cvm import cvm_penalty


def sample(n, seed=0):
    """Masses [n] in GeV and independent scores [n], as float32 holds them."""
    random = np.random.default_rng(seed)
    mass = random.exponential(40, n) + 90
    return random.random(n).astype(np.float32), mass.astype(np.float32)


def positions(values):
    """For each of `[n]`: events below, plus half of those equal."""
    return np.array([np.sum(values < v) + np.sum(values == v) / 2 for v in values])


def plain_penalty(scores, mass, k):
    """Value and gradient as the definition has them, group by group, for masses without ties."""
    n = len(scores)
    groups = [np.argsort(np.abs(mass.astype(np.float64) - m))[:k] for m in mass.astype(np.float64)]
    everywhere, value, push, times = positions(scores), 0.0, np.zeros(n), np.zeros(n)
    for group in groups:
        inside = positions(scores[group])
        value += np.mean(((inside + 0.5) / k - (everywhere[group] + 0.5) / n) ** 2) / n
        push[group] += inside / k - everywhere[group] / n
        times[group] += 1
    return value, -2 * push / times


def penalty_and_gradient(scores, mass, mask=None, neighbors=12):
    mask = np.ones(len(scores), bool) if mask is None else mask
    function = jax.value_and_grad(lambda s: cvm_penalty(s, jnp.asarray(mass), jnp.asarray(mask), neighbors))
    value, gradient = function(jnp.asarray(scores))
    return float(value), np.asarray(gradient)


# The penalty


def test_golden_value():
    random = np.random.RandomState(1337)
    mass, scores = random.exponential(80, [32, 1])[:, 0] + 80, random.rand(32, 1)[:, 0]
    assert cvm_penalty(jnp.array(scores), jnp.array(mass), jnp.ones(32)) == pytest.approx(
        0.00596647, abs=5e-9
    )


@pytest.mark.slow
@pytest.mark.parametrize(("n", "k"), [(120, 12), (31, 7), (13, 12)])
def test_value_and_gradient_are_those_of_the_definition(n, k):
    scores, mass = sample(n, seed=n)
    scores[: n // 4] = scores[0]
    value, gradient = penalty_and_gradient(scores, mass, neighbors=k)
    expected, expected_gradient = plain_penalty(scores, mass, k)
    assert value == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_gradient_is_that_of_hep_ml():
    losses = pytest.importorskip("hep_ml.losses")
    import pandas

    scores, mass = sample(120)
    theirs = losses.KnnFlatnessLossFunction(["mass"], uniform_label=1, n_neighbours=12)
    theirs.fit(pandas.DataFrame({"mass": mass.astype(np.float64)}), np.ones(len(mass)))
    descent = theirs._compute_fl_derivatives(scores.astype(np.float64))
    np.testing.assert_allclose(penalty_and_gradient(scores, mass)[1], -descent, atol=1e-6)


def test_a_group_that_scores_low_is_raised():
    _, mass = sample(120)
    _, gradient = penalty_and_gradient(mass, mass)
    lightest, heaviest = np.argsort(mass)[:20], np.argsort(mass)[-20:]
    assert np.all(gradient[lightest] < 0)
    assert np.all(gradient[heaviest] > 0)


def test_flat_scores_are_pushed_nowhere_on_average():
    """Positions at the mid-points of the ranks have the same mean in a small group as in the sample."""
    means = [penalty_and_gradient(*sample(120, seed))[1].mean() for seed in range(30)]
    assert abs(np.mean(means)) < 0.004


def test_order_of_events_does_not_matter():
    scores, mass = sample(200)
    mass = np.round(mass)
    scores[::5] = 1.0
    scores[7::10], mass[7::10] = scores[7], mass[7]
    mask = np.random.default_rng(1).random(200) < 0.6
    value, gradient = penalty_and_gradient(scores, mass, mask)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(200)
        again, gradient_again = penalty_and_gradient(scores[order], mass[order], mask[order])
        assert again == value
        np.testing.assert_array_equal(gradient_again, gradient[order])


def test_events_that_are_twins_share_a_gradient():
    scores, mass = sample(120)
    scores[30:], mass[30:] = scores[3], mass[3]
    _, gradient = penalty_and_gradient(scores, mass)
    assert len(np.unique(gradient[[3, *range(30, 120)]])) == 1


def test_equal_masses_favour_no_score():
    """Were ties in mass ordered by score, a sample of one mass would look like perfect dependence."""
    scores, _ = sample(120)
    value, _ = penalty_and_gradient(scores, np.full(120, 125, np.float32))
    independent = np.mean([penalty_and_gradient(*sample(120, seed))[0] for seed in range(5)])
    assert value < 1.5 * independent


@pytest.mark.slow
def test_events_outside_the_mask_do_not_exist():
    scores, mass = sample(120)
    mask = np.arange(120) % 3 == 0
    value, gradient = penalty_and_gradient(scores[mask], mass[mask])
    scores[~mask], mass[~mask] = np.nan, np.inf
    for kind in (bool, np.float32):
        masked, masked_gradient = penalty_and_gradient(scores, mass, mask.astype(kind))
        assert masked == pytest.approx(value, rel=1e-6)
        np.testing.assert_allclose(masked_gradient[mask], gradient, atol=1e-7)
        assert np.all(masked_gradient[~mask] == 0)


@pytest.mark.parametrize("count", [0, 1, 5, 12])
def test_no_more_events_than_neighbors_say_nothing(count):
    scores, mass = sample(120)
    value, gradient = penalty_and_gradient(scores, mass, np.arange(120) < count)
    assert value == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


def test_batch_shorter_than_a_group():
    assert penalty_and_gradient(*sample(5))[0] == pytest.approx(0, abs=1e-12)
    assert penalty_and_gradient(*sample(0))[0] == 0


def test_constant_score_is_flat():
    value, gradient = penalty_and_gradient(np.ones(120, np.float32), sample(120)[1])
    _, mass = sample(120)
    # Value: the shared mean ranks of 12 and of 120, (k + 1) / 2k and (N + 1) / 2N.
    assert value == pytest.approx((13 / 24 - 121 / 240) ** 2, rel=1e-4)
    np.testing.assert_allclose(gradient, 0, atol=1e-7)
    assert np.isfinite(penalty_and_gradient(np.ones(120, np.float32), np.round(mass, -2))[1]).all()


def test_the_gradient_scales_with_the_cotangent_and_follows_the_chain_rule():
    scores, mass = (jnp.asarray(x) for x in sample(120))
    mask = jnp.ones(120, bool)
    plain = jax.grad(cvm_penalty)(scores, mass, mask)
    chained = jax.jit(jax.grad(lambda s: 3 * cvm_penalty(5 * s, mass, mask)))(scores)
    np.testing.assert_allclose(chained, 15 * plain, atol=1e-5)
    assert np.all(jax.grad(cvm_penalty, argnums=1)(scores, mass, mask) == 0)


def test_penalty_refuses_what_it_cannot_read():
    scores, mass = (jnp.asarray(x) for x in sample(20))
    with pytest.raises(ValueError, match="one shape"):
        cvm_penalty(scores[:, None], mass, mass)
    with pytest.raises(ValueError, match="neighbors = 1"):
        cvm_penalty(scores, mass, mass, neighbors=1)


@pytest.mark.slow
def test_descent_on_the_penalty_alone_decorrelates_the_mass():
    _, mass = sample(2000)
    start = jnp.asarray((mass - mass.mean()) / mass.std())
    floor = np.mean([cvm_metric(sample(2000, seed)[0], mass) for seed in range(1, 11)])
    gradient = jax.grad(cvm_penalty)

    @jax.jit
    def descend(scores):
        mask = jnp.ones(len(mass), bool)
        return jax.lax.fori_loop(0, 400, lambda _, s: s - 0.05 * gradient(s, jnp.asarray(mass), mask), scores)

    assert cvm_metric(start, mass) > 0.13
    assert cvm_metric(descend(start), mass) < 1.5 * floor


# The metric


def plain_metric(scores, mass, k, step):
    """As defined, with loops: windows in mass, and the two distribution functions at every event."""
    scores = scores[np.argsort(mass)]
    n, ordered, distances = len(scores), np.sort(scores), []
    ranks = np.searchsorted(ordered, scores)
    for first in range(0, n - k + 1, step):
        window = ranks[first : first + k]
        distances.append(np.mean([(j / n - np.sum(window <= j - 1) / k) ** 2 for j in range(1, n + 1)]))
    return np.mean(distances)


@pytest.mark.parametrize(("n", "k", "step"), [(500, 200, 50), (200, 200, 50), (331, 30, 7), (40, 1, 1)])
@pytest.mark.parametrize("dependence", [0.0, 0.01])
def test_metric_is_its_definition(n, k, step, dependence):
    scores, mass = sample(n)
    scores = scores + dependence * mass
    assert cvm_metric(scores, mass, k, step) == pytest.approx(plain_metric(scores, mass, k, step), abs=1e-12)


def test_metric_of_an_independent_score_and_of_the_mass():
    scores, mass = sample(5000)
    assert cvm_metric(scores, mass) == pytest.approx(1 / 1200, rel=0.3)
    assert cvm_metric(mass.astype(np.float64) + 1e-9 * scores, mass) == pytest.approx(0.155, abs=0.001)


@pytest.mark.filterwarnings("ignore")
def test_metric_is_hep_mls_where_the_groups_are_the_same():
    """Clusters of k events in mass are the windows of step k, and the neighbours of each of their events.

    `hep_ml` takes distribution functions at the middle of their steps, (F(s) + F(s-)) / 2, ours at the top.
    Reversing the score turns tops into bottoms, so its value is the mean of the two, less the constant
    that the halves of the steps leave.
    """
    hep_ml = pytest.importorskip("hep_ml.metrics")
    import pandas

    n, k = 600, 50
    random = np.random.default_rng(3)
    mass = np.repeat(100 + 50.0 * np.arange(n // k), k) + random.random(n)
    scores = random.random(n) + mass / 500
    theirs = hep_ml.KnnBasedCvM(["mass"], uniform_label=1, n_neighbours=k)
    theirs.fit(pandas.DataFrame({"mass": mass}), np.ones(n))
    value = theirs(np.ones(n), np.stack([-scores, scores], axis=1), np.ones(n))
    ours = (cvm_metric(scores, mass, k, step=k) + cvm_metric(-scores, mass, k, step=k)) / 2
    assert ours - (1 / k - 1 / n) / (4 * n) == pytest.approx(value, abs=1e-12)


def test_metric_depends_on_neither_order_nor_scale():
    scores, mass = sample(600)
    mass = np.round(mass, -1)
    scores[::3] = 0.5
    order = np.random.default_rng(0).permutation(600)
    assert cvm_metric(scores[order], mass[order]) == cvm_metric(scores, mass)
    assert cvm_metric(4 * scores, mass) == cvm_metric(scores, mass)


def test_equal_scores_are_no_dependence():
    _, mass = sample(400)
    assert cvm_metric(np.ones(400), mass) == pytest.approx(0, abs=1e-12)
    # An untrained or saturated classifier: two values, dealt at random.
    two = np.random.default_rng(0).integers(2, size=400)
    assert cvm_metric(two, mass) < 2e-3


def test_metric_refuses_what_it_cannot_read():
    scores, mass = sample(100)
    with pytest.raises(ValueError, match=r"windows of 200 events .* only 100"):
        cvm_metric(scores, mass)
    scores[4] = np.nan
    with pytest.raises(ValueError, match="score of event 4 is nan"):
        cvm_metric(scores, mass, neighbors=20)
    with pytest.raises(ValueError, match=r"\[n\]"):
        cvm_metric(scores[:, None], mass, neighbors=20)
    with pytest.raises(ValueError, match="step = 0"):
        cvm_metric(scores, mass, neighbors=20, step=0)
