"""Events in the order of their scores: what cuts and areas are counted from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from e2e_jax.evaluation.weights import sums_below


class Ordered(NamedTuple):
    """Events by rising score.

    Attributes:
      scores: `[n]`.
      weights: `[n]`.
    """

    scores: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, weights: np.ndarray) -> Ordered:
        order = np.argsort(scores, kind="stable")
        return cls(scores[order], weights[order])

    def at_or_below(self, thresholds: np.ndarray) -> np.ndarray:
        """The summed weight below each threshold plus that at or below it: twice the lower, ties half."""
        sums = sums_below(self.weights)
        lower, not_higher = (np.searchsorted(self.scores, thresholds, side) for side in ("left", "right"))
        return sums[lower] + sums[not_higher]

    def passed(self, thresholds: np.ndarray | float) -> np.ndarray:
        """The summed weight of the events that score at least each threshold."""
        sums = sums_below(self.weights)
        return sums[-1] - sums[np.searchsorted(self.scores, thresholds, side="left")]

    def cut(self, efficiency: float) -> float:
        """The highest score that at least this fraction of the weight reaches."""
        reached = np.cumsum(self.weights[::-1])
        last = np.searchsorted(reached, efficiency * reached[-1] * (1 - 1e-9), side="left")
        return float(self.scores[len(self.scores) - 1 - min(last, len(reached) - 1)])

    def drawn(self, random: np.random.Generator) -> Ordered:
        """A sample of as many events, drawn with replacement."""
        # Sorted places in a sorted sample: no values to sort.
        rows = np.sort(random.integers(len(self.scores), size=len(self.scores)))
        return Ordered(self.scores[rows], self.weights[rows])
