"""Areas under ROC curves, raw and pair-normalized, and rejections, with their uncertainties. numpy only."""

from __future__ import annotations

import numpy as np

from e2e_jax.evaluation.ordered import Ordered
from e2e_jax.evaluation.weights import effective_number, of_events


def roc_auc(scores: np.ndarray, is_signal: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Area under the ROC curve: the probability that a signal event scores above a background event.

    Ties count one half (the Mann-Whitney statistic), so the result does not depend on the order of the
    events.

    Args:
      scores: `[n]`, higher is more signal-like.
      is_signal: `[n]`, bool or 0/1.
      weights: `[n]`, event weights, not negative; 1 by default.

    Returns:
      The area, 0 to 1.

    Raises:
      ValueError: a score is not finite, the shapes differ, or there is no signal or no background.
    """
    signal, background = _halves(scores, is_signal, weights)
    pairs = signal.weights.sum() * background.weights.sum()
    return float(signal.weights @ background.at_or_below(signal.scores) / 2 / pairs)


def pair_scores(
    probabilities: np.ndarray, labels: np.ndarray, signal: int, background: int, normalized: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Scores that separate two classes, for the events of these two classes.

    Args:
      probabilities: `[n, classes]`, not negative.
      labels: `[n]`, the true class.
      signal, background: the two classes.
      normalized: whether to use P(signal) / (P(signal) + P(background)), the best score of a perfect
        classifier for these two classes, or one half if both are 0. Otherwise the raw P(signal).

    Returns:
      Scores `[m]`, and whether each event is signal, bool `[m]`.

    Raises:
      ValueError: a class has no events or no column, or a probability is negative or not finite.
    """
    probabilities, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        raise ValueError(
            f"Expected probabilities [n, classes] and labels [n], "
            f"got {probabilities.shape} and {labels.shape}."
        )
    if signal == background:
        raise ValueError(f"A pair is two different classes; signal and background are both {signal}.")
    for name, column in (("signal", signal), ("background", background)):
        if not 0 <= column < probabilities.shape[1]:
            raise ValueError(
                f"There is no {name} class {column}: the probabilities have {probabilities.shape[1]} columns."
            )
        if not np.any(labels == column):
            raise ValueError(
                f"No event has the {name} label {column}, so there is nothing to compare. Check the sample."
            )
    chosen = (labels == signal) | (labels == background)
    ours, theirs = probabilities[chosen, signal], probabilities[chosen, background]
    bad = ~(np.isfinite(ours) & np.isfinite(theirs) & (ours >= 0) & (theirs >= 0))
    if bad.any():
        row = np.flatnonzero(chosen)[bad.argmax()]
        raise ValueError(
            f"Event {row} has probabilities {probabilities[row]}: not finite, or negative (softmax missing?)."
        )
    if not normalized:
        return ours, labels[chosen] == signal
    both = ours + theirs
    return np.divide(ours, both, out=np.full_like(both, 0.5), where=both > 0), labels[chosen] == signal


def pairwise_auc(
    probabilities: np.ndarray, labels: np.ndarray, signal: int, background: int, normalized: bool = True
) -> float:
    """ROC AUC of one class against another; see `pair_scores` for the arguments and errors.

    With three balanced classes, the one-vs-rest AUC of a class is the mean of its two raw one-vs-one AUCs.
    Published one-vs-one numbers that violate this rule use the pair-normalized score.
    """
    return roc_auc(*pair_scores(probabilities, labels, signal, background, normalized))


def roc_curve(
    scores: np.ndarray, is_signal: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ROC curve, with one point per distinct score.

    Args:
      scores, is_signal, weights: as for `roc_auc`, with its errors.

    Returns:
      False positive rate, true positive rate and threshold, each `[points]`, from (0, 0) at an infinite
      threshold to (1, 1). An event passes if its score is at least the threshold.
    """
    signal, background = _halves(scores, is_signal, weights)
    thresholds = np.unique(np.asarray(scores, np.float64))[::-1]
    rates = [
        np.concatenate([[0.0], half.passed(thresholds) / half.weights.sum()]) for half in (background, signal)
    ]
    return rates[0], rates[1], np.concatenate([[np.inf], thresholds])


def bootstrap_uncertainty(
    scores: np.ndarray,
    is_signal: np.ndarray,
    replicas: int = 200,
    seed: int = 0,
    strata: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> float:
    """Standard error of `roc_auc` by the bootstrap: spread over samples drawn with replacement.

    Args:
      scores, is_signal: as for `roc_auc`, with its errors.
      replicas: number of samples, at least 2.
      seed: seed of the samples.
      strata: `[n]`, the class of each event: each class keeps its number of events in every replica.
        `is_signal` by default; pass the labels if signal or background is a mixture of classes.
      weights: `[n]`, event weights, not negative; 1 by default.

    Returns:
      The standard deviation over the replicas.
    """
    scores, is_signal, weights = _checked(scores, is_signal, weights)
    if replicas < 2:
        raise ValueError(
            f"A bootstrap needs at least 2 replicas (config.evaluate.bootstrap), not {replicas}."
        )
    strata = is_signal if strata is None else np.asarray(strata)
    if strata.shape != scores.shape:
        raise ValueError(
            f"Expected one stratum for each of the {len(scores)} events, got shape {strata.shape}."
        )
    values, tie = np.unique(scores, return_inverse=True)
    key = np.where(is_signal, len(values), 0) + tie
    cells = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    random = np.random.default_rng(seed)
    areas = np.empty(replicas)
    for replica in range(replicas):
        drawn = np.concatenate([cell[random.integers(len(cell), size=len(cell))] for cell in cells])
        sums = np.bincount(key[drawn], weights[drawn], minlength=2 * len(values))
        background, signal = sums.reshape(2, -1)
        # A replica can lose signal or background only if a stratum mixes them.
        pairs = signal.sum() * background.sum()
        lower = np.cumsum(background) - background / 2
        areas[replica] = signal @ lower / pairs if pairs else 0.5
    return float(np.std(areas, ddof=1))


def delong_uncertainty(scores: np.ndarray, is_signal: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Standard error of `roc_auc` in closed form (E. DeLong et al., Biometrics 44 (1988) 837).

    The variance is computed from the placements: for a signal event the fraction of background below it, for
    a background event the fraction of signal above it.

    Args:
      scores, is_signal, weights: as for `roc_auc`, with its errors.

    Returns:
      The standard error; at least 2 events of each kind are needed.
    """
    halves = _halves(scores, is_signal, weights)
    signal, background = (len(half.scores) for half in halves)
    if min(signal, background) < 2:
        raise ValueError(
            f"DeLong's variance needs 2 events of each kind; there are {signal} signal and {background} "
            "background events."
        )
    variance = 0.0
    for these, others in (halves, halves[::-1]):
        placed = others.at_or_below(these.scores) / (2 * others.weights.sum())
        share, number = these.weights / these.weights.sum(), len(these.scores)
        variance += share**2 @ (placed - share @ placed) ** 2 * number / (number - 1)
    return float(np.sqrt(variance))


def background_rejection(
    scores: np.ndarray,
    is_signal: np.ndarray,
    efficiency: float,
    replicas: int = 200,
    seed: int = 0,
    weights: np.ndarray | None = None,
) -> dict:
    """Background rejection of a cut on the score at a given signal efficiency.

    The cut is the highest score that at least this fraction of the signal reaches. The false positive rate
    is the fraction of the background that reaches it. Uncertainties are from the bootstrap, in which the cut
    moves with the drawn signal; the uncertainty of the rate is at least that of a single event.

    Args:
      scores, is_signal: as for `roc_auc`, with its errors.
      efficiency: signal efficiency, above 0 and at most 1.
      replicas, seed, weights: as for `bootstrap_uncertainty`.

    Returns:
      "value", 1 - false positive rate, as in ROC curves; "uncertainty"; and "inverse", {"value",
      "uncertainty"} of 1 / false positive rate, the number of background events per passing one. "inverse" is
      None if no background passes, because the sample then gives only a lower limit.
    """
    if not 0 < efficiency <= 1:
        raise ValueError(f"A signal efficiency is above 0 and at most 1, not {efficiency}.")
    signal, background = _halves(scores, is_signal, weights)

    def rate(signal, background):
        return background.passed(signal.cut(efficiency)) / background.weights.sum()

    random = np.random.default_rng(seed)
    false = rate(signal, background)
    spread = np.std([rate(signal.drawn(random), background.drawn(random)) for _ in range(replicas)], ddof=1)
    number = effective_number(background.weights)
    error = float(max(spread, np.sqrt(1 - 1 / number) / number))
    inverse = {"value": float(1 / false), "uncertainty": float(error / false**2)} if false else None
    return {"value": float(1 - false), "uncertainty": error, "inverse": inverse}


def _halves(scores, is_signal, weights) -> tuple[Ordered, Ordered]:
    """Signal and background."""
    scores, is_signal, weights = _checked(scores, is_signal, weights)
    return Ordered.of(scores[is_signal], weights[is_signal]), Ordered.of(
        scores[~is_signal], weights[~is_signal]
    )


def _checked(scores, is_signal, weights):
    scores, is_signal = np.asarray(scores, np.float64), np.asarray(is_signal)
    if scores.ndim != 1 or scores.shape != is_signal.shape:
        raise ValueError(f"Expected scores [n] and is_signal [n], got {scores.shape} and {is_signal.shape}.")
    if is_signal.dtype != bool:
        if not np.isin(is_signal, (0, 1)).all():
            raise ValueError(
                "is_signal must hold booleans, or 0 and 1, but holds "
                f"{np.unique(is_signal)[:5]}. From class labels, pass labels == signal."
            )
        is_signal = is_signal.astype(bool)
    bad = np.isnan(scores)
    if bad.any():
        raise ValueError(
            f"The score of event {int(bad.argmax())} is NaN ({int(bad.sum())} of {len(scores)} are), so it "
            "has no rank. Look for NaN energies in the sample, or for a training that diverged."
        )
    weights = of_events(weights, len(scores))
    for name, count in (("signal", weights[is_signal].sum()), ("background", weights[~is_signal].sum())):
        if count == 0:
            raise ValueError(
                f"There are no {name} events among these {len(scores)}, so there is no ROC "
                "curve. Check the sample."
            )
    return scores, is_signal, weights
