"""Mass decorrelation: how much a score tells about the mass, as a penalty and as a metric.

Both are Cramer-von Mises distances (CVM) between the distribution of the scores of all events and
that of events close in mass. They are zero, up to a floor from counting, for a score that does not
depend on the mass. `cvm_penalty` is what training descends; `cvm_metric` is what is reported.

Sources: A. Rogozhnikov et al., "New approaches for boosting to uniformity", arXiv:1410.4140
(flatness loss and its gradient; its implementation is `hep_ml`); the metric is that of the public
evaluation code of the LHCb "Flavours of physics" challenge.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np


@functools.partial(jax.jit, static_argnames="neighbors")
def cvm_penalty(scores: jax.Array, mass: jax.Array, mask: jax.Array, neighbors: int = 12) -> jax.Array:
    """Flatness penalty over k-nearest-neighbour groups in mass, with a signed gradient.

    Of the N events in the mask, each is the centre of a group g: the k events nearest to it in mass,
    itself included. With r the rank of a score among all N events and r_g its rank in the group
    (1 is the lowest, equal scores share their mean rank), the value is

        mean over groups and their members of (r_g / k - r / N)^2.

    Ranks are piecewise constant, so descent uses the gradient of the flatness loss with exponent 2,
    sum_g w_g Integral (F_g - F)^2 ds with the global distribution F held fixed:

        dL / ds_i = -2 mean over the groups that contain i of (f_g(s_i) - F(s_i)),

    where f_g = (r_g - 1/2) / k and F = (r - 1/2) / N are `hep_ml`'s mid-point positions. (With r_g / k
    and r / N every event, of a perfectly flat score too, would be pushed upwards by 1/k - 1/N.) f_g > F
    says that the group scores too low at s_i, and descent raises s_i. Each event's gradient is of order
    0.1 whatever N is; `losses.loss` divides it by N where that is wanted.

    Neither value nor gradient depends on the order of the events: events of equal mass are ordered by
    a hash of their score's rank, which favours none, and events equal in both share their gradient. At
    equal distance in mass the group stays centred on its event. With k events or fewer in the mask a
    group is the whole sample, and penalty and gradient are zero. The penalty is not a sum over events:
    scores spread over devices must be gathered first.

    Args:
      scores: `[n]`, the score to make independent of the mass, e.g. P(H).
      mass: `[n]`, diphoton mass in GeV, finite.
      mask: `[n]`, bool or 0/1: the events that count; the others get no gradient and may hold anything.
      neighbors: k, the number of events in a group, at least 2.

    Returns:
      The penalty, a scalar; differentiable in `scores`, constant in the rest. Costs O(n (k^2 + log n)).

    Raises:
      ValueError: the shapes differ, are not `[n]`, or `neighbors` is under 2.
    """
    if scores.ndim != 1 or not scores.shape == mass.shape == mask.shape:
        raise ValueError(
            f"The CVM penalty takes scores, mass and mask of one shape [n], and got {scores.shape}, "
            f"{mass.shape} and {mask.shape}. Pass the score of one class, e.g. probabilities[:, 1]."
        )
    if neighbors < 2:
        raise ValueError(f"The CVM penalty needs groups of at least 2 events; neighbors = {neighbors}.")
    if scores.size == 0:
        return jnp.zeros((), scores.dtype)
    value, gradient = _value_and_gradient(*jax.lax.stop_gradient((scores, mass, mask)), neighbors)
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


def _value_and_gradient(scores, mass, mask, neighbors):
    """Value and gradient `[n]` of the penalty; see `cvm_penalty`."""
    mask = mask.astype(bool)
    n, k = len(scores), min(neighbors, len(scores))
    scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).max)
    mass = jnp.where(mask, mass, jnp.finfo(mass.dtype).max)
    total = jnp.sum(mask)
    events = jnp.maximum(total, 1).astype(scores.dtype)
    size = jnp.minimum(events, k)

    below = mid_ranks(scores)
    order = jnp.lexsort((scramble((2 * below).astype(jnp.uint32)), mass))
    scores, mass, below = scores[order], mass[order], below[order]
    start = _window_starts(mass, total, k)
    index = start[:, None] + jnp.arange(k)[None, :]
    member = (index < total) & (jnp.arange(n) < total)[:, None]

    # Comparing all pairs of a small group beats sorting it.
    group = scores[index]
    lower = jnp.sum(group[:, None, :] < group[:, :, None], axis=-1)
    not_higher = jnp.sum(group[:, None, :] <= group[:, :, None], axis=-1)
    below_in_group = (lower + not_higher).astype(scores.dtype) / 2
    excess = below_in_group / size - below[index] / events
    distance = excess + (0.5 / size - 0.5 / events)
    value = jnp.sum(jnp.where(member, distance**2, 0)) / (events * size)

    push, groups = _sums_over_groups(jnp.where(member, excess, 0), member, start)
    twin = jnp.cumsum((jnp.diff(mass) != 0) | (jnp.diff(scores) != 0))
    twin = jnp.concatenate([jnp.zeros(1, twin.dtype), twin])
    push, groups = (jax.ops.segment_sum(x, twin, num_segments=n)[twin] for x in (push, groups))
    sorted_gradient = -2 * push / jnp.maximum(groups, 1)
    gradient = jnp.zeros_like(scores).at[order].set(sorted_gradient, unique_indices=True)
    return value, jnp.where(mask, gradient, 0)


def _sums_over_groups(excess, member, start):
    """For each event `[n]`: the sum of its `excess[group, place]`, and its number of groups.

    The groups of an event are centred less than k places away. Gathering them, rather than scattering
    to their members, adds in one fixed order, so a GPU gives the same bits every time.
    """
    n, k = excess.shape
    event = jnp.arange(n)[:, None]
    centre = event + jnp.arange(1 - k, k)[None, :]
    exists = (centre >= 0) & (centre < n)
    centre = jnp.clip(centre, 0, n - 1)
    place = event - start[centre]
    inside = exists & (place >= 0) & (place < k)
    place = jnp.clip(place, 0, k - 1)
    inside &= member[centre, place]
    push = jnp.sum(jnp.where(inside, excess[centre, place], 0), axis=1)
    return push, jnp.sum(inside, axis=1).astype(excess.dtype)


def _window_starts(mass, total, k):
    """First index `[n]` of the k events nearest in mass to each event, for `mass` sorted.

    They are contiguous. Moving a window up by one is a gain where its first event is further from the
    centre than the event after its last; the windows that neither direction improves are equally good,
    and the one closest to centred is taken.
    """
    n = len(mass)
    padded = jnp.concatenate([mass, jnp.full(k, jnp.finfo(mass.dtype).max, mass.dtype)])
    centre = jnp.arange(n)
    lowest = jnp.clip(centre - k + 1, 0, jnp.maximum(total - k, 0))
    window = lowest[:, None] + jnp.arange(k)[None, :]
    down, up = mass[:, None] - padded[window], padded[window + k] - mass[:, None]
    first = lowest + jnp.sum(down > up, axis=1)
    last = lowest + jnp.sum((down >= up) & (window < centre[:, None]), axis=1)
    return jnp.clip(jnp.clip(centre - k // 2, first, last), 0, n - k)


def mid_ranks(values):
    """For each of `[n]`, how many are lower, plus half of those equal (itself included)."""
    ordered = jnp.sort(values)
    lower, not_higher = (jnp.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    return (lower + not_higher).astype(values.dtype) / 2


def scramble(bits):
    """A bijective hash of uint32 (MurmurHash3's finaliser), the same for numpy and jax arrays."""
    dtype = bits.dtype.type
    bits = (bits ^ (bits >> dtype(16))) * dtype(0x85EBCA6B)
    bits = (bits ^ (bits >> dtype(13))) * dtype(0xC2B2AE35)
    return bits ^ (bits >> dtype(16))


def cvm_metric(scores: np.ndarray, mass: np.ndarray, neighbors: int = 200, step: int = 50) -> float:
    """The CVM metric: mean distance between the scores of windows in mass and those of all events.

    With the N events sorted by mass, windows of k consecutive events start at 0, step, 2 step, ...;
    with F and F_w the fractions of all events and of the window's that score at most s,

        C_w = mean over all events j of (F(s_j) - F_w(s_j))^2,

    and the metric is the mean of C_w. Without ties F(s_j) = j / N for the event of rank j. An independent
    score gives about 1 / (6 k), the mass itself about 0.155 at k / N small. Equal scores are compared
    together, so a constant score gives 0; events of equal mass are ordered by a hash of the score's
    rank, so the order of the events never matters.

    Args:
      scores: `[N]`, the score.
      mass: `[N]`, mass in GeV.
      neighbors: k, events in a window.
      step: events between the starts of two windows.

    Returns:
      The metric, between 0 and 1/3.

    Raises:
      ValueError: fewer than k events, values that are not finite, or shapes that differ.
    """
    scores, mass = checked_sample(scores, mass, neighbors, step)
    n, k = len(scores), neighbors
    ordered = np.sort(scores)
    at_most = np.searchsorted(ordered, ordered, side="right")
    at_most_before = np.concatenate([[0], np.cumsum(at_most)])
    below = np.searchsorted(ordered, in_order_of_mass(scores, mass), side="left")
    windows = np.sort(np.lib.stride_tricks.sliding_window_view(below, k)[::step], axis=1)

    # mean_j F^2 + mean_j F_w^2 - 2 mean_j F F_w, the sums over j done in integers: event j scores at
    # least as high as the window's i-th, in N - below_i cases, whose at_most add up to a prefix sum.
    all_squared = np.sum(at_most**2) / n**2
    window_squared = (n - windows) @ (2 * np.arange(k) + 1) / k**2
    product = np.sum(at_most_before[-1] - at_most_before[windows], axis=1) / (k * n)
    return float(np.mean(all_squared + window_squared - 2 * product) / n)


def in_order_of_mass(scores: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """The scores by mass; those of equal mass by a hash of their rank, which favours none."""
    below = np.searchsorted(np.sort(scores), scores, side="left")
    return scores[np.lexsort((scramble(below.astype(np.uint32)), mass))]


def checked_sample(scores, mass, neighbors, step):
    """Scores and masses as arrays; raises as `cvm_metric` does."""
    scores, mass = np.asarray(scores), np.asarray(mass)
    if scores.ndim != 1 or scores.shape != mass.shape:
        raise ValueError(
            f"The CVM metric takes scores [n] and mass [n], and got {scores.shape} and {mass.shape}."
        )
    if neighbors < 1 or step < 1:
        raise ValueError(f"Window and step must be at least 1 event; neighbors = {neighbors}, step = {step}.")
    if len(scores) < neighbors:
        raise ValueError(
            f"The CVM metric compares windows of {neighbors} events (config.cvm.window), but there are only "
            f"{len(scores)} gamma gamma events. Use a larger sample or a smaller window."
        )
    for name, values in (("score", scores), ("mass", mass)):
        bad = ~np.isfinite(values)
        if bad.any():
            raise ValueError(
                f"The CVM metric needs finite values, but the {name} of event {int(bad.argmax())} is "
                f"{values[bad.argmax()]} ({int(bad.sum())} such values in {len(values)}). Look for the "
                "events or the training step they come from."
            )
    return scores, mass
