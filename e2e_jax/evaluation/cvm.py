"""The CVM metric: the dependence of scores on an observable. numpy only.

The definition is that of the public evaluation code of the LHCb "Flavours of physics" challenge. See also
`models.decorrelation.cvm`.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from e2e_jax.evaluation.weights import of_events, sums_below
from e2e_jax.models.decorrelation.cvm import scramble


def cvm_metric(
    scores: np.ndarray,
    observable: np.ndarray,
    neighbors: int = 200,
    step: int = 50,
    weights: np.ndarray | None = None,
) -> float:
    """The CVM metric: mean distance between the score distributions of windows and of all events.

    The N events are sorted by the observable. Windows of k consecutive events start at 0, step, 2 step, ...
    With F and F_w the fractions of all events and of the window's events that score at most s,

        C_w = mean over all events j of (F(s_j) - F_w(s_j))^2,

    and the metric is the mean of C_w. Without ties F(s_j) = j / N for the event of rank j. An independent
    score gives about 1 / (6 k); the observable itself gives about 0.155 for small k / N. Equal scores are
    compared together, so a constant score gives 0. Events with equal observable are ordered by a hash of the
    score's rank, so the result does not depend on the order of the events.

    Args:
      scores: `[N]`, the score.
      observable: `[N]`, finite.
      neighbors: k, events in a window.
      step: events between the starts of two windows.
      weights: `[N]`, event weights, not negative; 1 by default. F, F_w and the mean over j are weighted;
        windows hold k events with a weight above 0, and all windows have the same weight.

    Returns:
      The metric, between 0 and 1/3.

    Raises:
      ValueError: fewer than k events, values that are not finite, or shapes that differ.
    """
    sample = checked_sample(scores, observable, neighbors, step, weights)
    rising = np.argsort(sample.scores, kind="stable")
    ordered, own = sample.scores[rising], sample.weights[rising]
    sums = sums_below(own)
    total, at_most = sums[-1], sums[np.searchsorted(ordered, ordered, side="right")]
    at_most_before = sums_below(own * at_most)
    below = np.searchsorted(ordered, sample.scores, side="left")
    view = functools.partial(np.lib.stride_tricks.sliding_window_view, window_shape=neighbors)
    windows, inside = view(below)[::step], view(sample.weights)[::step]
    rising = np.argsort(windows, axis=1, kind="stable")
    windows, inside = (np.take_along_axis(values, rising, axis=1) for values in (windows, inside))

    # mean_j F^2 + mean_j F_w^2 - 2 mean_j F F_w. For the i-th event of a window, the sums over all events j
    # with at least its score, of weights and of weighted at_most, are differences of cumulative sums. Without
    # weights these are exact integers.
    inside_sums = np.cumsum(inside, axis=1)
    of_window = inside_sums[:, -1]
    steps = inside * (2 * inside_sums - inside)
    all_squared = own @ at_most**2 / total**2
    window_squared = np.sum((total - sums[windows]) * steps, axis=1) / of_window**2
    product = np.sum(inside * (at_most_before[-1] - at_most_before[windows]), axis=1) / (of_window * total)
    return float(np.mean(all_squared + window_squared - 2 * product) / total)


class Sample(NamedTuple):
    """The events of the metric, sorted by the observable; weights above 0, integers if all are equal."""

    scores: np.ndarray
    observable: np.ndarray
    weights: np.ndarray


def checked_sample(scores, observable, neighbors, step, weights=None) -> Sample:
    """The sample sorted by the observable; raises the errors of `cvm_metric`.

    Events with equal observable are ordered by a hash of the score's rank.
    """
    scores, observable = np.asarray(scores), np.asarray(observable)
    if scores.ndim != 1 or scores.shape != observable.shape:
        raise ValueError(
            f"The CVM metric takes scores [n] and an observable [n], and got {scores.shape} and "
            f"{observable.shape}."
        )
    if neighbors < 1 or step < 1:
        raise ValueError(f"Window and step must be at least 1 event; neighbors = {neighbors}, step = {step}.")
    if len(scores) < neighbors:
        raise ValueError(
            f"The CVM metric compares windows of {neighbors} events (config.cvm.window), but there are only "
            f"{len(scores)} events of the labels in which the score is decorrelated. Use a larger sample or "
            "a smaller window."
        )
    for name, values in (("score", scores), ("observable", observable)):
        bad = ~np.isfinite(values)
        if bad.any():
            raise ValueError(
                f"The CVM metric needs finite values, but the {name} of event {int(bad.argmax())} is "
                f"{values[bad.argmax()]} ({int(bad.sum())} such values in {len(values)}). Look for the "
                "events or the training step they come from."
            )
    weights = of_events(weights, len(scores))
    if not weights.all():
        kept = weights > 0
        return checked_sample(scores[kept], observable[kept], neighbors, step, weights[kept])
    below = np.searchsorted(np.sort(scores), scores, side="left")
    order = np.lexsort((scramble(below.astype(np.uint32)), observable))
    return Sample(scores[order], observable[order], weights[order])
