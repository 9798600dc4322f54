"""Penalties by name: definitions, gradients, several observables, and independence of the devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from e2e_jax.models.decorrelation.cvm import cvm_penalty
from e2e_jax.models.decorrelation.disco import distance_correlation
from e2e_jax.models.decorrelation.mode import mode_penalty
from e2e_jax.models.decorrelation.penalties import METHODS, PENALTIES, penalty
from e2e_jax.models.decorrelation.planing import planing_weights


def columns(n=96, slope=0.0, seed=0):
    random = np.random.default_rng(seed)
    mass = random.uniform(100, 180, n)
    scores = random.normal(size=n) + slope * (mass - 140) / 40
    return jnp.asarray(scores, jnp.float32), jnp.asarray(mass, jnp.float32)


def plain_distance_correlation(x, y, weights):
    """The squared distance correlation by its definition, with the whole matrices."""
    x, y, weights = (np.asarray(values, np.float64) for values in (x, y, weights))
    weights = weights / weights.sum()
    centred = []
    for values in (x, y):
        distance = abs(values[:, None] - values[None, :])
        mean = distance @ weights
        centred.append(distance - mean[:, None] - mean[None, :] + weights @ mean)
    a, b = centred
    covariance, of_x, of_y = (weights @ (c * d) @ weights for c, d in ((a, b), (a, a), (b, b)))
    return covariance / np.sqrt(of_x * of_y)


@pytest.mark.parametrize("chunk", [7, 96, 500])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_distance_correlation_is_its_definition_for_any_chunk(chunk, weighted):
    scores, mass = columns(slope=0.5)
    weights = jnp.asarray(
        np.random.default_rng(1).uniform(0, 2, 96) if weighted else np.ones(96), jnp.float32
    )
    got = distance_correlation(scores, mass, weights, chunk=chunk)
    assert float(got) == pytest.approx(plain_distance_correlation(scores, mass, weights), rel=1e-4)


def test_the_distance_correlation_is_one_for_a_linear_dependence_and_zero_for_a_constant():
    _, mass = columns()
    ones = jnp.ones(96)
    assert float(distance_correlation(3 - 2 * mass, mass, ones)) == pytest.approx(1, abs=1e-4)
    assert float(distance_correlation(ones, mass, ones)) == 0
    gradient = jax.grad(distance_correlation)(ones, mass, ones)
    assert np.isfinite(gradient).all()


def test_a_weight_of_two_is_an_event_that_comes_twice():
    scores, mass = columns(slope=1.0)
    weights = jnp.ones(96).at[:10].set(2)
    twice = jnp.concatenate([jnp.arange(96), jnp.arange(10)])
    got = distance_correlation(scores, mass, weights)
    expected = distance_correlation(scores[twice], mass[twice], jnp.ones(106))
    assert float(got) == pytest.approx(float(expected), rel=1e-4)


def test_the_gradient_of_the_distance_correlation_is_its_slope():
    scores, mass = columns(slope=0.5)
    weights, step = jnp.ones(96), 1e-5
    gradient = jax.grad(distance_correlation)(scores, mass, weights)
    for event in (0, 17, 95):
        direction = step * (np.arange(96) == event)
        exact = np.asarray(scores, np.float64)
        moved = [plain_distance_correlation(exact + d, mass, weights) for d in (direction, -direction)]
        assert float(gradient[event]) == pytest.approx((moved[0] - moved[1]) / (2 * step), rel=1e-2)


def plain_mode(scores, mass, order, neighbors):
    """Value of the moment decomposition by its definition, for values without ties and full bins."""
    scores, mass = np.asarray(scores), np.asarray(mass)
    bins = np.array_split(np.argsort(mass), len(mass) // neighbors)
    passed = np.stack(
        [
            np.mean((scores[b][:, None] < scores[None]) + 0.5 * (scores[b][:, None] == scores[None]), axis=0)
            for b in bins
        ]
    )
    place = (2 * np.arange(len(bins)) + 1) / len(bins) - 1
    fitted = np.polynomial.polynomial.polyfit(place, passed, order)
    remains = passed - np.polynomial.polynomial.polyval(place, fitted).T
    return np.mean(remains**2), remains, bins


@pytest.mark.parametrize("order", [0, 1, 2])
def test_the_moment_decomposition_is_its_definition(order):
    scores, mass = columns(slope=0.7)
    mask = jnp.ones(96, bool)
    value, gradient = jax.value_and_grad(mode_penalty)(scores, mass, mask, order=order, neighbors=12)
    expected, remains, bins = plain_mode(scores, mass, order, 12)
    assert float(value) == pytest.approx(expected, rel=1e-4)
    for number, members in enumerate(bins):
        np.testing.assert_allclose(gradient[members], -2 * remains[number, members], atol=1e-5)


def test_a_linear_dependence_is_free_at_order_one_and_costs_at_order_zero():
    """The fraction that passes a cut is linear in the mass where scores are drawn from a linear mixture."""
    random = np.random.default_rng(0)
    n = 4000
    mass = random.uniform(-1, 1, n)
    scores = np.where(random.random(n) < (1 + mass) / 2, random.uniform(0.5, 1, n), random.uniform(0, 0.5, n))
    values = [
        float(mode_penalty(jnp.asarray(scores), jnp.asarray(mass), jnp.ones(n, bool), order=o, neighbors=200))
        for o in (0, 1)
    ]
    assert values[1] < 0.05 * values[0]


@pytest.mark.slow
@pytest.mark.parametrize("method", PENALTIES)
def test_descent_removes_the_dependence(method):
    scores, mass = columns(192, slope=1.0)
    mask = jnp.ones(192, bool)

    def value(scores):
        return penalty(method, scores, {"mass": mass}, mask, neighbors=24, order=0)

    step = jax.jit(jax.value_and_grad(value))
    start = float(value(scores))
    for _ in range(200):
        scores = scores - 0.02 * step(scores)[1]
    assert float(value(scores)) < 0.4 * start


@pytest.mark.slow
@pytest.mark.parametrize("method", PENALTIES)
def test_events_outside_of_the_mask_count_nowhere_and_the_order_of_events_does_not_matter(method):
    scores, mass = columns(slope=0.5)
    mask = jnp.arange(96) % 3 != 0

    def value(scores, mass, mask):
        return penalty(method, scores, {"mass": mass}, mask)

    plain, gradient = jax.value_and_grad(value)(scores, mass, mask)
    hidden = jnp.where(mask, scores, 1e3), jnp.where(mask, mass, -7)
    other, changed = jax.value_and_grad(value)(*hidden, mask)
    assert float(plain) == pytest.approx(float(other), rel=1e-4)
    np.testing.assert_allclose(gradient, changed, atol=1e-6)
    assert not gradient[~mask].any()
    order = np.random.default_rng(2).permutation(96)
    shuffled, moved = jax.value_and_grad(value)(scores[order], mass[order], mask[order])
    assert float(shuffled) == pytest.approx(float(plain), rel=1e-4)
    np.testing.assert_allclose(moved, gradient[order], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("method", PENALTIES)
def test_the_penalty_over_devices_is_that_of_one(method):
    scores, mass = columns(slope=0.5)
    mask, weights = jnp.arange(96) % 4 != 0, 1.0 + jnp.arange(96) % 2
    arrays = scores, mass, mask, weights.astype(jnp.float32)

    def value(scores, mass, mask, weights, axis_name=None):
        return penalty(method, scores, {"mass": mass}, mask, weights, axis_name=axis_name)

    expected = jax.grad(value)(*arrays)
    split = PartitionSpec("events")

    def local(*arrays):
        # The mean over devices of the gradients of their shares.
        return jax.grad(lambda s: value(s, *arrays[1:], axis_name="events"))(arrays[0]) / jax.device_count()

    mesh = Mesh(np.array(jax.devices()), ("events",))
    spread = jax.shard_map(local, mesh=mesh, in_specs=split, out_specs=split, check_vma=False)
    np.testing.assert_allclose(spread(*arrays), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", ["cvm", "mode"])
def test_several_observables_add_up(method):
    scores, mass = columns(slope=0.5)
    other, mask = jnp.cos(mass), jnp.ones(96, bool)
    both = penalty(method, scores, {"mass": mass, "pt": other}, mask)
    alone = [penalty(method, scores, {"any": values}, mask) for values in (mass, other)]
    assert float(both) == pytest.approx(float(alone[0] + alone[1]), rel=1e-5)


def test_disco_sees_a_dependence_on_two_observables_together():
    """The score is the sign of their product: independent of each alone."""
    random = np.random.default_rng(0)
    one, two = (jnp.asarray(random.normal(size=400), jnp.float32) for _ in range(2))
    scores, mask = jnp.sign(one * two), jnp.ones(400, bool)
    alone = max(float(penalty("disco", scores, {"any": values}, mask)) for values in (one, two))
    both = float(penalty("disco", scores, {"mass": one, "pt": two}, mask))
    assert both > 4 * alone
    # Each observable is in units of its own width.
    scaled = penalty("disco", scores, {"mass": 1000 * one, "pt": two}, mask)
    assert float(scaled) == pytest.approx(both, rel=1e-3)


@pytest.mark.parametrize("coordinates", [1, 3])
def test_the_distance_correlation_is_that_of_dcor(coordinates):
    dcor = pytest.importorskip("dcor")
    random = np.random.default_rng(0)
    points = random.normal(size=(200, coordinates))
    scores = points[:, 0] ** 2 + random.normal(size=200)
    got = distance_correlation(*(jnp.asarray(x, jnp.float32) for x in (scores, points, np.ones(200))))
    assert float(got) == pytest.approx(
        dcor.distance_correlation_sqr(scores, points, method="naive"), rel=1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize("method", PENALTIES)
def test_the_scale_of_weights_does_not_matter_and_events_without_weight_count_nowhere(method):
    scores, mass = columns(slope=0.5)
    other, mask = jnp.cos(mass), jnp.ones(96, bool)
    weights = jnp.asarray(np.random.default_rng(1).uniform(0.5, 2, 96), jnp.float32)
    weights = jnp.where(jnp.arange(96) % 4 == 0, 0, weights)
    kept = np.flatnonzero(weights)

    def value(scores, mass, other, mask, weights):
        return penalty(method, scores, {"mass": mass, "pt": other}, mask, weights, order=0)

    plain, gradient = jax.value_and_grad(value)(scores, mass, other, mask, weights)
    scaled, same = jax.value_and_grad(value)(scores, mass, other, mask, 7 * weights)
    alone, part = jax.value_and_grad(value)(*(x[kept] for x in (scores, mass, other, mask, weights)))
    assert float(plain) == pytest.approx(float(scaled), rel=1e-3) == pytest.approx(float(alone), rel=1e-3)
    np.testing.assert_allclose(same, gradient, atol=1e-4)
    np.testing.assert_allclose(gradient[kept], part, atol=1e-4)
    assert not gradient[weights == 0].any()


@pytest.mark.slow
@pytest.mark.parametrize("method", PENALTIES)
def test_descent_with_weights_removes_the_weighted_dependence(method):
    """Half of the events have no say: their scores stay, and follow the observable as before."""
    scores, mass = columns(192, slope=1.0)
    mask, weights = jnp.ones(192, bool), jnp.where(jnp.arange(192) % 2 == 0, 1.0, 0.0)

    def value(scores, weights):
        return penalty(method, scores, {"mass": mass}, mask, weights, neighbors=24, order=0)

    step, start, moved = jax.jit(jax.value_and_grad(value)), scores, scores
    for _ in range(150):
        moved = moved - 0.02 * step(moved, weights)[1]
    assert float(value(moved, weights)) < 0.5 * float(value(start, weights))
    np.testing.assert_array_equal(moved[1::2], start[1::2])


def plain_weighted_cvm(scores, mass, weights, k):
    """The value by its definition, group by group, for values without ties."""
    scores, mass, weights = (np.asarray(values, np.float64) for values in (scores, mass, weights))
    weights, total = weights * len(weights) / weights.sum(), 0.0

    def at_most(of, weight, value):
        return weight[of <= value].sum() / weight.sum()

    for center, own in zip(mass, weights):
        group = np.argsort(abs(mass - center))[:k]
        distances = [
            (at_most(scores[group], weights[group], s) - at_most(scores, weights, s)) ** 2
            for s in scores[group]
        ]
        total += own * np.average(distances, weights=weights[group])
    return total / len(weights)


def test_the_weighted_cvm_penalty_is_its_definition():
    scores, mass = columns(slope=0.5)
    weights = jnp.asarray(np.random.default_rng(1).uniform(0.2, 3, 96), jnp.float32)
    got = cvm_penalty(scores, mass, jnp.ones(96, bool), 12, weights)
    assert float(got) == pytest.approx(plain_weighted_cvm(scores, mass, weights, 12), rel=1e-4)


def test_cvm_by_name_is_the_cvm_penalty_and_methods_without_a_term_add_nothing():
    scores, mass = columns(slope=0.5)
    mask = jnp.ones(96, bool)
    assert penalty("cvm", scores, {"mass": mass}, mask, neighbors=6) == cvm_penalty(scores, mass, mask, 6)
    for method in set(METHODS) - set(PENALTIES):
        assert penalty(method, scores, {}, mask) == 0


def test_what_makes_no_penalty_is_refused():
    scores, mass = columns()
    mask = jnp.ones(96, bool)
    with pytest.raises(ValueError, match="'flat'"):
        penalty("flat", scores, {"mass": mass}, mask)
    with pytest.raises(ValueError, match="observable"):
        penalty("disco", scores, {}, mask)
    with pytest.raises(ValueError, match=r"mass"):
        penalty("disco", scores, {"mass": mass[:5]}, mask)
    with pytest.raises(ValueError, match="order"):
        penalty("mode", scores, {"mass": mass}, mask, order=3)


def test_planing_makes_observables_alike_in_all_classes():
    random = np.random.default_rng(0)
    labels = np.arange(6000) % 3 - 0
    mass = np.where(labels == 1, random.normal(125, 8, 6000), random.uniform(100, 150, 6000))
    pt = random.exponential(30 + 10 * labels)
    weights = planing_weights({"mass": mass, "pt": pt}, labels)
    assert (weights >= 0).all()
    for values, cut in ((mass, 120), (mass, 130), (pt, 20), (pt, 60)):
        passed = [np.average(values[labels == c] > cut, weights=weights[labels == c]) for c in range(3)]
        raw = [np.mean(values[labels == c] > cut) for c in range(3)]
        assert np.ptp(passed) < 0.35 * np.ptp(raw)
    for label in range(3):
        assert weights[labels == label].mean() == pytest.approx(1, rel=1e-5)


def test_planing_leaves_out_events_without_a_class():
    labels = np.array([0, 1, -1] * 100)
    mass = np.random.default_rng(0).uniform(100, 180, 300)
    mass[labels < 0] = np.nan
    assert not planing_weights({"mass": mass}, labels)[labels < 0].any()


@pytest.mark.parametrize("bad", [np.full(300, 125.0), np.where(np.arange(300) == 5, np.nan, 125.0)])
def test_planing_refuses_what_tells_nothing(bad):
    with pytest.raises(ValueError, match="mass"):
        planing_weights({"mass": bad}, np.arange(300) % 3)


def test_planing_refuses_classes_that_share_no_range():
    labels = np.arange(320) % 2
    with pytest.raises(ValueError, match="mass"):
        planing_weights({"mass": labels + np.random.default_rng(0).uniform(0, 0.1, 320)}, labels)


def test_planing_multiplies_the_weights_that_events_have():
    random = np.random.default_rng(0)
    labels = np.arange(4000) % 2
    mass, given = random.normal(125 + 4 * labels, 8), random.exponential(size=4000)
    weights = planing_weights({"mass": mass}, labels, weights=given)
    assert not planing_weights({"mass": mass}, labels, weights=np.where(mass > 125, given, 0))[
        mass < 125
    ].any()
    passed = [np.average(mass[labels == c] > 127, weights=weights[labels == c]) for c in range(2)]
    assert abs(passed[0] - passed[1]) < 0.03
    # Neighbors in a bin keep the ratio of their weights.
    ratio = weights / given
    assert len(np.unique(np.round(ratio / ratio[0], 4))) < 100


def test_planing_without_an_observable_is_refused():
    with pytest.raises(ValueError, match="decorrelate"):
        planing_weights({}, np.arange(10) % 2)
