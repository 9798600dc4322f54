"""Areas under ROC curves, raw and pair-normalized, and rejections, with their uncertainties. numpy only."""

from __future__ import annotations

import numpy as np


def roc_auc(scores: np.ndarray, is_signal: np.ndarray) -> float:
    """Area under the ROC curve: the chance that a signal event scores above a background event.

    Ties count one half (the Mann-Whitney statistic), so events in any order give the same number.

    Args:
      scores: `[n]`, higher is more like signal.
      is_signal: `[n]`, bool or 0/1.

    Returns:
      The area, 0 to 1.

    Raises:
      ValueError: a score is not finite, the shapes differ, or there is no signal or no background.
    """
    scores, is_signal = _checked(scores, is_signal)
    signal, background = scores[is_signal], scores[~is_signal]
    ordered = np.sort(background)
    lower = np.searchsorted(ordered, signal, side="left").sum()
    not_higher = np.searchsorted(ordered, signal, side="right").sum()
    return float((lower + not_higher) / 2 / (len(signal) * len(background)))


def pair_scores(
    probabilities: np.ndarray, labels: np.ndarray, signal: int, background: int, normalized: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Scores that tell one class from one other, for the events of these two classes.

    Args:
      probabilities: `[n, classes]`, not negative.
      labels: `[n]`, the true class.
      signal, background: the two classes.
      normalized: P(signal) / (P(signal) + P(background)), the best score of a perfect classifier for
        these two; one half where both are 0. Otherwise the raw P(signal).

    Returns:
      Scores `[m]` and whether each event is signal, bool `[m]`.

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
    """ROC AUC of one class against one other; see `pair_scores` for the arguments and errors.

    On balanced classes the one-vs-rest AUC of a class is the mean of its two raw one-vs-one AUCs.
    Published one-vs-one numbers that break this rule were made with the pair-normalized score.
    """
    return roc_auc(*pair_scores(probabilities, labels, signal, background, normalized))


def roc_curve(scores: np.ndarray, is_signal: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ROC curve, one point for each different score.

    Args:
      scores, is_signal: as for `roc_auc`, with its errors.

    Returns:
      False positive rate, true positive rate and threshold, each `[points]`, from (0, 0) at an infinite
      threshold to (1, 1); an event passes where its score is at least the threshold.
    """
    scores, is_signal = _checked(scores, is_signal)
    thresholds = np.unique(scores)[::-1]
    rates = []
    for ordered in (np.sort(scores[~is_signal]), np.sort(scores[is_signal])):
        passed = len(ordered) - np.searchsorted(ordered, thresholds, side="left")
        rates.append(np.concatenate([[0.0], passed / len(ordered)]))
    return rates[0], rates[1], np.concatenate([[np.inf], thresholds])


def bootstrap_uncertainty(
    scores: np.ndarray,
    is_signal: np.ndarray,
    replicas: int = 200,
    seed: int = 0,
    strata: np.ndarray | None = None,
) -> float:
    """Standard error of `roc_auc` by the bootstrap: spread over samples drawn with replacement.

    Args:
      scores, is_signal: as for `roc_auc`, with its errors.
      replicas: number of samples, at least 2.
      seed: the same seed gives the same number.
      strata: `[n]`, the class of each event: each class keeps its number of events in every replica.
        `is_signal` by default; pass the labels where signal or background is a mixture of classes.

    Returns:
      The standard deviation over the replicas.
    """
    scores, is_signal = _checked(scores, is_signal)
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
    cells = [key[strata == stratum] for stratum in np.unique(strata)]
    random = np.random.default_rng(seed)
    areas = np.empty(replicas)
    for replica in range(replicas):
        drawn = np.concatenate([cell[random.integers(len(cell), size=len(cell))] for cell in cells])
        background, signal = np.bincount(drawn, minlength=2 * len(values)).reshape(2, -1)
        # Only where a stratum mixes signal and background can a replica lose one of them.
        pairs = signal.sum() * background.sum()
        lower = np.cumsum(background) - background / 2
        areas[replica] = signal @ lower / pairs if pairs else 0.5
    return float(np.std(areas, ddof=1))


def delong_uncertainty(scores: np.ndarray, is_signal: np.ndarray) -> float:
    """Standard error of `roc_auc` in closed form (E. DeLong et al., Biometrics 44 (1988) 837).

    The variance is that of the placements: for a signal event the fraction of background below it,
    for a background event the fraction of signal above it.

    Args:
      scores, is_signal: as for `roc_auc`, with its errors.

    Returns:
      The standard error; at least 2 events of each kind are needed.
    """
    scores, is_signal = _checked(scores, is_signal)
    signal, background = scores[is_signal], scores[~is_signal]
    if min(len(signal), len(background)) < 2:
        raise ValueError(
            f"DeLong's variance needs 2 events of each kind; there are {len(signal)} signal and "
            f"{len(background)} background events."
        )
    variance = 0.0
    for these, others in ((signal, background), (background, signal)):
        ordered = np.sort(others)
        placed = np.searchsorted(ordered, these, side="left") + np.searchsorted(ordered, these, side="right")
        variance += np.var(placed / (2 * len(others)), ddof=1) / len(these)
    return float(np.sqrt(variance))


def background_rejection(
    scores: np.ndarray, is_signal: np.ndarray, efficiency: float, replicas: int = 200, seed: int = 0
) -> dict:
    """What a cut on the score rejects of the background where it keeps so much of the signal.

    The cut is the highest score that at least this fraction of the signal reaches, and the false positive
    rate the fraction of the background that reaches it. Uncertainties are from the bootstrap, in which the
    cut moves with the signal drawn; that of the rate is at least the one of a single event.

    Args:
      scores, is_signal: as for `roc_auc`, with its errors.
      efficiency: of the signal, above 0 and at most 1.
      replicas, seed: as for `bootstrap_uncertainty`.

    Returns:
      "value", 1 - false positive rate, as ROC curves have it; "uncertainty"; and "inverse", {"value",
      "uncertainty"} of 1 / false positive rate: how many background events one costs that passes. None where
      no background passes, since the sample then tells only that it is large.
    """
    scores, is_signal = _checked(scores, is_signal)
    if not 0 < efficiency <= 1:
        raise ValueError(f"A signal efficiency is above 0 and at most 1, not {efficiency}.")
    signal, background = np.sort(scores[is_signal])[::-1], np.sort(scores[~is_signal])
    last = int(np.ceil(efficiency * len(signal) - 1e-9)) - 1

    def rate(signal, background):
        passed = len(background) - np.searchsorted(background, signal[last], side="left")
        return passed / len(background)

    random = np.random.default_rng(seed)

    def drawn(ordered):
        # Sorted places in a sorted sample: no values to sort.
        return ordered[np.sort(random.integers(len(ordered), size=len(ordered)))]

    false = rate(signal, background)
    spread = np.std([rate(drawn(signal), drawn(background)) for _ in range(replicas)], ddof=1)
    error = float(max(spread, np.sqrt(1 - 1 / len(background)) / len(background)))
    inverse = {"value": float(1 / false), "uncertainty": float(error / false**2)} if false else None
    return {"value": float(1 - false), "uncertainty": error, "inverse": inverse}


def _checked(scores, is_signal):
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
    for name, count in (("signal", is_signal.sum()), ("background", (~is_signal).sum())):
        if count == 0:
            raise ValueError(
                f"There are no {name} events among these {len(scores)}, so there is no ROC "
                "curve. Check the sample."
            )
    return scores, is_signal
