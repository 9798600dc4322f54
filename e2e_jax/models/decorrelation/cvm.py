"""The training penalty on a dependence of scores on an observable, such as the mass.

It is a Cramer-von Mises distance (CVM) between the score distribution of all events and that of events that
are close in the observable. For a score that does not depend on the observable it is zero, up to a floor from
counting statistics. `evaluation.cvm.cvm_metric` is the distance that is reported.

Source: A. Rogozhnikov et al., "New approaches for boosting to uniformity", arXiv:1410.4140 (flatness loss and
its gradient; its implementation is `hep_ml`).
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp


@functools.partial(jax.jit, static_argnames="neighbors")
def cvm_penalty(
    scores: jax.Array,
    observable: jax.Array,
    mask: jax.Array,
    neighbors: int = 12,
    weights: jax.Array | None = None,
) -> jax.Array:
    """Flatness penalty over k-nearest-neighbor groups in an observable, with a signed gradient.

    Each of the N events in the mask is the center of a group g: the k events nearest to it in the observable,
    itself included. With r the rank of a score among all N events and r_g its rank in the group (1 is the
    lowest, equal scores share their mean rank), the value is

        mean over groups and their members of (r_g / k - r / N)^2.

    Ranks are piecewise constant, so descent uses the gradient of the flatness loss with exponent 2,
    sum_g w_g Integral (F_g - F)^2 ds with the global distribution F held fixed:

        dL / ds_i = -2 mean over the groups that contain i of (f_g(s_i) - F(s_i)),

    where f_g = (r_g - 1/2) / k and F = (r - 1/2) / N are `hep_ml`'s mid-point positions. (r_g / k and r / N
    would push every event upwards by 1/k - 1/N, even for a perfectly flat score.) If f_g > F, the group's
    scores are too low at s_i, and descent raises s_i. Each event's gradient is of order 0.1 for any N;
    `losses.loss` optionally divides it by N.

    Neither value nor gradient depends on the order of the events. Events with equal observable are ordered by
    a hash of their score's rank, which is unbiased; events equal in both share their gradient. At equal
    distance the group stays centered on its event. With k events or fewer in the mask, each group is the
    whole sample, and penalty and gradient are zero. The penalty is not a sum over events: scores distributed
    over devices must be gathered first.

    Args:
      scores: `[n]`, the score to make independent of the observable, e.g. P(H).
      observable: `[n]`, finite.
      mask: `[n]`, bool or 0/1: the events to use; other events get no gradient and may hold any value.
      neighbors: k, the number of events in a group, at least 2.
      weights: `[n]`, event weights, above 0 for events in the mask; 1 by default. Ranks, k and N become sums
        of weights in units of their mean; means over events and groups become weighted means.

    Returns:
      The penalty, a scalar; differentiable in `scores`, constant in the other arguments. The cost is
      O(n (k^2 + log n)).

    Raises:
      ValueError: the shapes differ or are not `[n]`, or `neighbors` is below 2.
    """
    if scores.ndim != 1 or not scores.shape == observable.shape == mask.shape:
        raise ValueError(
            f"The CVM penalty takes scores, observable and mask of one shape [n], and got "
            f"{scores.shape}, {observable.shape} and {mask.shape}. Pass the score of one class, e.g. "
            "probabilities[:, 1]."
        )
    if neighbors < 2:
        raise ValueError(f"The CVM penalty needs groups of at least 2 events; neighbors = {neighbors}.")
    if scores.size == 0:
        return jnp.zeros((), scores.dtype)
    weights = jnp.ones_like(scores) if weights is None else weights.astype(scores.dtype)
    given = jax.lax.stop_gradient((scores, observable, mask, weights))
    value, gradient = _value_and_gradient(*given, neighbors)
    return _with_gradient(scores, value, gradient)


@jax.custom_vjp
def _with_gradient(scores, value, gradient):
    """`value`, with `gradient` as its derivative with respect to `scores`."""
    del scores, gradient
    return value


def _with_gradient_forward(scores, value, gradient):
    del scores
    return value, gradient


def _with_gradient_backward(gradient, cotangent):
    return cotangent * gradient, jnp.zeros_like(cotangent), jnp.zeros_like(gradient)


_with_gradient.defvjp(_with_gradient_forward, _with_gradient_backward)


def _value_and_gradient(scores, observable, mask, weights, neighbors):
    """Value and gradient `[n]` of the penalty; see `cvm_penalty`."""
    mask = mask.astype(bool)
    n, k = len(scores), min(neighbors, len(scores))
    scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).max)
    observable = jnp.where(mask, observable, jnp.finfo(observable.dtype).max)
    total = jnp.sum(mask)
    events = jnp.maximum(total, 1).astype(scores.dtype)
    weights = jnp.where(mask, weights, 0)
    weights = weights * (events / jnp.where(total > 0, jnp.sum(weights), 1))

    below = mid_ranks(scores, weights)
    order = jnp.lexsort((scramble((2 * mid_ranks(scores)).astype(jnp.uint32)), observable))
    scores, observable, below, weights = (x[order] for x in (scores, observable, below, weights))
    start = _window_starts(observable, total, k)
    index = start[:, None] + jnp.arange(k)[None, :]
    member = (index < total) & (jnp.arange(n) < total)[:, None]

    # For small groups, comparing all pairs is faster than sorting.
    group = scores[index]
    own = jnp.where(member, weights[index], 0)
    size = jnp.where(jnp.arange(n) < total, jnp.sum(own, axis=1), 1)[:, None]
    lower = jnp.sum(jnp.where(group[:, None, :] < group[:, :, None], own[:, None, :], 0), axis=-1)
    not_higher = jnp.sum(jnp.where(group[:, None, :] <= group[:, :, None], own[:, None, :], 0), axis=-1)
    below_in_group = (lower + not_higher) / 2
    excess = below_in_group / size - below[index] / events
    distance = excess + (0.5 / size - 0.5 / events) * own
    value = jnp.sum(weights[:, None] * own * distance**2 / size) / events

    push, groups = _sums_over_groups(jnp.where(member, excess, 0), member, start, weights)
    twin = jnp.cumsum((jnp.diff(observable) != 0) | (jnp.diff(scores) != 0))
    twin = jnp.concatenate([jnp.zeros(1, twin.dtype), twin])
    push, groups = (jax.ops.segment_sum(x, twin, num_segments=n)[twin] for x in (push, groups))
    sorted_gradient = -2 * weights * push / jnp.where(groups > 0, groups, 1)
    gradient = jnp.zeros_like(scores).at[order].set(sorted_gradient, unique_indices=True)
    return value, jnp.where(mask, gradient, 0)


def _sums_over_groups(excess, member, start, weights):
    """For each event `[n]`: the sum of its `excess[group, place]` and its number of groups, both weighted.

    The groups of an event are centered less than k places away. Gathering from the groups, instead of
    scattering to their members, adds in a fixed order, so results on a GPU are reproducible bit for bit.
    """
    n, k = excess.shape
    event = jnp.arange(n)[:, None]
    center = event + jnp.arange(1 - k, k)[None, :]
    exists = (center >= 0) & (center < n)
    center = jnp.clip(center, 0, n - 1)
    place = event - start[center]
    inside = exists & (place >= 0) & (place < k)
    place = jnp.clip(place, 0, k - 1)
    inside &= member[center, place]
    own = jnp.where(inside, weights[center], 0)
    return jnp.sum(own * excess[center, place], axis=1), jnp.sum(own, axis=1)


def _window_starts(observable, total, k):
    """First index `[n]` of the k events nearest in the observable to each event, for sorted `observable`.

    The k events are contiguous. Moving a window up by one improves it if its first event is further from the
    center than the event after its last. All windows that cannot be improved in either direction are equally
    good; the most centered one is taken.
    """
    n = len(observable)
    padded = jnp.concatenate([observable, jnp.full(k, jnp.finfo(observable.dtype).max, observable.dtype)])
    center = jnp.arange(n)
    lowest = jnp.clip(center - k + 1, 0, jnp.maximum(total - k, 0))
    window = lowest[:, None] + jnp.arange(k)[None, :]
    down, up = observable[:, None] - padded[window], padded[window + k] - observable[:, None]
    first = lowest + jnp.sum(down > up, axis=1)
    last = lowest + jnp.sum((down >= up) & (window < center[:, None]), axis=1)
    return jnp.clip(jnp.clip(center - k // 2, first, last), 0, n - k)


def mid_ranks(values, weights=None):
    """Number (or weight) of lower values for each of `[n]`, plus half of the equal ones, itself included."""
    order = jnp.argsort(values)
    lower, not_higher = (jnp.searchsorted(values[order], values, side=side) for side in ("left", "right"))
    if weights is None:
        return (lower + not_higher).astype(values.dtype) / 2
    sums = jnp.concatenate([jnp.zeros(1, weights.dtype), jnp.cumsum(weights[order])])
    return (sums[lower] + sums[not_higher]) / 2


def scramble(bits):
    """A bijective hash of uint32 (MurmurHash3's finalizer), the same for numpy and jax arrays."""
    dtype = bits.dtype.type
    bits = (bits ^ (bits >> dtype(16))) * dtype(0x85EBCA6B)
    bits = (bits ^ (bits >> dtype(13))) * dtype(0xC2B2AE35)
    return bits ^ (bits >> dtype(16))
