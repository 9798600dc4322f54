"""Events sorted by score, for the computation of cuts and areas."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from e2e_jax.evaluation.weights import sums_below


class Ordered(NamedTuple):
    """Events in ascending order of score.

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
        """Summed weight below each threshold plus that at or below it: twice the lower, with half ties."""
        sums = sums_below(self.weights)
        lower, not_higher = (np.searchsorted(self.scores, thresholds, side) for side in ("left", "right"))
        return sums[lower] + sums[not_higher]

    def passed(self, thresholds: np.ndarray | float) -> np.ndarray:
        """Summed weight of the events with a score of at least each threshold."""
        sums = sums_below(self.weights)
        return sums[-1] - sums[np.searchsorted(self.scores, thresholds, side="left")]

    def cut(self, efficiency: float) -> float:
        """The highest score that at least this fraction of the weight reaches."""
        reached = np.cumsum(self.weights[::-1])
        last = np.searchsorted(reached, efficiency * reached[-1] * (1 - 1e-9), side="left")
        return float(self.scores[len(self.scores) - 1 - min(last, len(reached) - 1)])

    def drawn(self, random: np.random.Generator) -> Ordered:
        """A sample of the same size, drawn with replacement."""
        # Sorted indices into a sorted sample, so the values need no sorting.
        rows = np.sort(random.integers(len(self.scores), size=len(self.scores)))
        return Ordered(self.scores[rows], self.weights[rows])
