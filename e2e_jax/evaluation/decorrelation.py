"""How far a cut on a score shapes an observable of the background, next to the CVM, and what the cut rejects.

1/JSD is the inverse of the Jensen-Shannon divergence between the distributions of the observable in the
background that passes and that fails a cut with a given signal efficiency (G. Kasieczka and D. Shih,
arXiv:2001.05310). R50 and R90 are the background rejections 1 / (false positive rate) at signal efficiencies
of 50 % and 90 %. Together they are the axes of a trade-off.
"""

from __future__ import annotations

import numpy as np

from e2e_jax.evaluation.metrics import background_rejection

BINS = 20
"""Of the observable's distribution, with equal numbers of background events."""
EFFICIENCY = 0.5
"""Signal efficiency of the cut of 1/JSD."""


def decorrelation_metrics(
    scores: np.ndarray,
    is_signal: np.ndarray,
    observable: np.ndarray,
    bins: int = BINS,
    replicas: int = 200,
    seed: int = 0,
) -> dict:
    """1/JSD, R50 and R90 of a score, with uncertainties and the values of an independent score.

    Args:
      scores: `[n]`, of signal and background events.
      is_signal: bool `[n]`.
      observable: `[n]`; that of the background is read.
      bins: of the observable, at least 2.
      replicas: of the bootstrap behind the uncertainties, and of the shuffles behind the floor; at least 2.
      seed: the same seed gives the same numbers.

    Returns:
      {"inverse_jsd", "r50", "r90"}, each {"value", "uncertainty", "independent"}: the last is what a score
      gives that depends neither on the class nor on the observable; of 1/JSD it is limited by the number of
      events, and {"value", "uncertainty"} of samples of this size. A value is None where no background
      passes, since the sample then tells only that it is large.

    Raises:
      ValueError: as `metrics.roc_auc`, or as `inverse_jsd`.
    """
    made = {"inverse_jsd": inverse_jsd(scores, is_signal, observable, EFFICIENCY, bins, replicas, seed)}
    for name, efficiency in (("r50", 0.5), ("r90", 0.9)):
        inverse = background_rejection(scores, is_signal, efficiency, replicas, seed)["inverse"]
        made[name] = (inverse or {"value": None, "uncertainty": None}) | {"independent": 1 / efficiency}
    return made


def inverse_jsd(
    scores: np.ndarray,
    is_signal: np.ndarray,
    observable: np.ndarray,
    efficiency: float = EFFICIENCY,
    bins: int = BINS,
    replicas: int = 200,
    seed: int = 0,
) -> dict:
    """1/JSD of the background's observable at a cut on the score; see `decorrelation_metrics`.

    The uncertainty is the spread of the divergence in a bootstrap of both classes, propagated to the inverse
    of the value.

    Raises:
      ValueError: an observable of the background is constant or not finite, there are too few bins or
        replicas, or the cut lets all of the background pass, or none.
    """
    scores, is_signal = np.asarray(scores, np.float64), np.asarray(is_signal, bool)
    if bins < 2 or replicas < 2:
        raise ValueError(f"1/JSD takes at least 2 bins and 2 replicas, not {bins} and {replicas}.")
    signal, background = scores[is_signal], scores[~is_signal]
    place = _places(np.asarray(observable, np.float64)[~is_signal], bins)
    passes = background >= _cut(signal, efficiency)
    if passes.all() or not passes.any():
        raise ValueError(
            f"The cut that keeps {efficiency:.0%} of the signal passes {int(passes.sum())} of {len(passes)} "
            "background events, so there are no two distributions to compare. Use a larger sample."
        )
    random = np.random.default_rng(seed)
    value, divergences, floors = 1 / _divergence(place, passes, bins), [], []
    for _ in range(replicas):
        drawn = random.integers(len(background), size=len(background))
        cut = _cut(signal[random.integers(len(signal), size=len(signal))], efficiency)
        divergences.append(_divergence(place[drawn], background[drawn] >= cut, bins))
        floors.append(1 / _divergence(place, random.permutation(passes), bins))
    return {
        "value": float(value),
        "uncertainty": float(value**2 * np.std(divergences, ddof=1)),
        "independent": {"value": float(np.mean(floors)), "uncertainty": float(np.std(floors, ddof=1))},
    }


def _cut(signal: np.ndarray, efficiency: float) -> float:
    """The highest score that at least this fraction of the signal reaches."""
    last = int(np.ceil(efficiency * len(signal) - 1e-9)) - 1
    return float(np.sort(signal)[::-1][last])


def _places(observable: np.ndarray, bins: int) -> np.ndarray:
    """The bin of each background event, of equal numbers of them."""
    bad = ~np.isfinite(observable)
    if bad.any():
        raise ValueError(
            f"The observable of background event {int(bad.argmax())} is {observable[bad.argmax()]}; "
            "1/JSD needs finite values."
        )
    if not len(observable) or observable.min() == observable.max():
        raise ValueError("The observable is the same in all background events: nothing depends on it.")
    edges = np.quantile(observable, np.linspace(0, 1, bins + 1)[1:-1])
    return np.searchsorted(edges, observable, side="right")


def _divergence(place: np.ndarray, passes: np.ndarray, bins: int) -> float:
    """The Jensen-Shannon divergence in bits, above zero because its inverse is used."""
    counts = [np.bincount(place[chosen], minlength=bins) for chosen in (passes, ~passes)]
    shares = [count / max(count.sum(), 1) for count in counts]
    middle = (shares[0] + shares[1]) / 2
    total = 0.0
    for share in shares:
        some = share > 0
        total += np.sum(share[some] * np.log2(share[some] / middle[some])) / 2
    return max(float(total), np.finfo(np.float64).tiny)
