"""Event weights in metrics: checks and sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def checked_weights(
    weights: np.ndarray, targets: np.ndarray, names: Sequence[str], observable: str
) -> np.ndarray:
    """Checked weights for metrics and losses, float64 `[n]`.

    Args:
      weights: `[n]`, event weights.
      targets: int `[n]`, the class of each event; negative for no class.
      names: names of the classes.
      observable: the observable that holds the weights (config.train.weights).

    Raises:
      ValueError: a weight is negative or not finite, or all events of a class have the weight 0.
    """
    weights = np.asarray(weights, np.float64)
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        raise ValueError(
            f"The weights of the events are {observable!r} (config.train.weights), which is "
            f"{weights[bad.argmax()]} in event {int(bad.argmax())} ({int(bad.sum())} of {len(weights)} are "
            "negative or not finite). Weights are finite and at least 0: mend the dataset, or name another "
            "observable."
        )
    for target, name in enumerate(names):
        own = weights[targets == target]
        if len(own) and not own.any():
            raise ValueError(
                f"All events of the class {name!r} have the weight 0 in {observable!r} "
                "(config.train.weights), so nothing can be learned of it. Name another observable."
            )
    return weights


def of_events(weights: np.ndarray | None, events: int) -> np.ndarray:
    """The event weights `[n]`; integer ones, whose sums are exact, if there are no weights.

    Raises:
      ValueError: the weights have another shape, or one is negative or not finite.
    """
    if weights is None:
        return np.ones(events, np.int64)
    weights = np.asarray(weights, np.float64)
    if weights.shape != (events,):
        raise ValueError(f"Expected the weights of {events} events, got the shape {weights.shape}.")
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise ValueError("Weights of events must be finite and at least 0.")
    return weights


def sums_below(ordered_weights: np.ndarray) -> np.ndarray:
    """`[n + 1]`: summed weight of the first 0, 1, ..., n events."""
    return np.concatenate([np.zeros(1, ordered_weights.dtype), np.cumsum(ordered_weights)])


def effective_number(weights: np.ndarray) -> float:
    """Number of events of equal weight with the same uncertainty of the mean: (sum of w)^2 / sum of w^2."""
    weights = np.asarray(weights, np.float64)
    return float(weights.sum() ** 2 / (weights**2).sum())
