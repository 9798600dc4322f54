"""The CVM metric: how much scores depend on an observable. numpy only.

It is that of the public evaluation code of the LHCb "Flavours of physics" challenge; see also
`models.decorrelation.cvm`.
"""

from __future__ import annotations

import numpy as np

from e2e_jax.models.decorrelation.cvm import scramble


def cvm_metric(scores: np.ndarray, observable: np.ndarray, neighbors: int = 200, step: int = 50) -> float:
    """The CVM metric: mean distance between the scores of windows in the observable and those of all events.

    With the N events sorted by the observable, windows of k consecutive events start at 0, step, 2 step, ...;
    with F and F_w the fractions of all events and of the window's that score at most s,

        C_w = mean over all events j of (F(s_j) - F_w(s_j))^2,

    and the metric is the mean of C_w. Without ties F(s_j) = j / N for the event of rank j. An independent
    score gives about 1 / (6 k), the observable itself about 0.155 at k / N small. Equal scores are compared
    together, so a constant score gives 0; events of equal observable are ordered by a hash of the score's
    rank, so the order of the events never matters.

    Args:
      scores: `[N]`, the score.
      observable: `[N]`, finite.
      neighbors: k, events in a window.
      step: events between the starts of two windows.

    Returns:
      The metric, between 0 and 1/3.

    Raises:
      ValueError: fewer than k events, values that are not finite, or shapes that differ.
    """
    scores, observable = checked_sample(scores, observable, neighbors, step)
    n, k = len(scores), neighbors
    ordered = np.sort(scores)
    at_most = np.searchsorted(ordered, ordered, side="right")
    at_most_before = np.concatenate([[0], np.cumsum(at_most)])
    below = np.searchsorted(ordered, in_order(scores, observable), side="left")
    windows = np.sort(np.lib.stride_tricks.sliding_window_view(below, k)[::step], axis=1)

    # mean_j F^2 + mean_j F_w^2 - 2 mean_j F F_w, the sums over j done in integers: event j scores at
    # least as high as the window's i-th, in N - below_i cases, whose at_most add up to a prefix sum.
    all_squared = np.sum(at_most**2) / n**2
    window_squared = (n - windows) @ (2 * np.arange(k) + 1) / k**2
    product = np.sum(at_most_before[-1] - at_most_before[windows], axis=1) / (k * n)
    return float(np.mean(all_squared + window_squared - 2 * product) / n)


def in_order(scores: np.ndarray, observable: np.ndarray) -> np.ndarray:
    """The scores by the observable; events of equal observable are ordered by a hash of the score's rank."""
    below = np.searchsorted(np.sort(scores), scores, side="left")
    return scores[np.lexsort((scramble(below.astype(np.uint32)), observable))]


def checked_sample(scores, observable, neighbors, step):
    """Scores and observable as arrays; raises as `cvm_metric` does."""
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
    return scores, observable
