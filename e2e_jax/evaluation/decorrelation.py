"""The effect of a cut on the background's observable, in addition to the CVM, and the rejection of the cut.

1/JSD is the inverse of the Jensen-Shannon divergence between the distributions of the observable in the
background that passes and that fails a cut at a given signal efficiency (G. Kasieczka and D. Shih,
arXiv:2001.05310). R50 and R90 are the background rejections 1 / (false positive rate) at signal efficiencies
of 50 % and 90 %. Together they are the axes of a trade-off.
"""

from __future__ import annotations

import numpy as np

from e2e_jax.evaluation.metrics import background_rejection
from e2e_jax.evaluation.ordered import Ordered
from e2e_jax.evaluation.weights import effective_number, of_events

BINS = 20
"""Bins of the observable's distribution, with equal numbers of background events."""
LEAST = 1e-9
"""Minimum divergence in bits, below the resolution of any sample."""
EFFICIENCY = 0.5
"""Signal efficiency of the cut for 1/JSD."""
REJECTIONS = {"r50": 0.5, "r90": 0.9}
"""Signal efficiencies of the rejections."""


def rejections(
    scores: np.ndarray,
    is_signal: np.ndarray,
    weights: np.ndarray | None = None,
    replicas: int = 200,
    seed: int = 0,
) -> dict[str, dict | None]:
    """R50 and R90 of a score.

    Args:
      scores: `[n]`, of signal and background events.
      is_signal: bool `[n]`.
      weights: `[n]`, event weights, not negative; 1 by default.
      replicas: bootstrap replicas for the uncertainties; at least 2.
      seed: seed of the bootstrap.

    Returns:
      {"r50", "r90"}, each {"value", "uncertainty", "floor", "floor_uncertainty"}. The last two are the mean
      and spread, over samples of this size, for a score that does not depend on the class. None if no
      background passes, because the sample then gives only a lower limit.

    Raises:
      ValueError: as `metrics.roc_auc`.
    """
    is_signal = np.asarray(is_signal, bool)
    weights = of_events(weights, len(is_signal))
    spread = np.sqrt(sum(1 / effective_number(weights[of]) for of in (is_signal, ~is_signal)))
    made: dict[str, dict | None] = {}
    for name, efficiency in REJECTIONS.items():
        found = background_rejection(scores, is_signal, efficiency, replicas, seed, weights)["inverse"]
        error = np.sqrt(efficiency * (1 - efficiency)) * spread / efficiency**2
        floor = {"floor": 1 / efficiency, "floor_uncertainty": float(error)}
        made[name] = found and found | floor
    return made


def inverse_jsd(
    scores: np.ndarray,
    is_signal: np.ndarray,
    observable: np.ndarray,
    weights: np.ndarray | None = None,
    efficiency: float = EFFICIENCY,
    bins: int = BINS,
    replicas: int = 200,
    seed: int = 0,
) -> dict | None:
    """1/JSD of the background's observable at a cut on the score.

    Args:
      scores, is_signal, weights, replicas, seed: as for `rejections`.
      observable: `[n]`; only the values of the background are used.
      efficiency: signal efficiency of the cut.
      bins: bins of the observable, at least 2.

    Returns:
      {"value", "uncertainty", "floor", "floor_uncertainty"}. The last two are the mean and spread for a score
      that does not depend on the observable, from shuffling which background events pass. The uncertainty is
      the spread of the divergence in a bootstrap of both classes, propagated to its inverse. None if all or
      none of the background passes, because there are no two distributions.

    Raises:
      ValueError: an observable of the background is constant or not finite, or there are too few bins or
        replicas.
    """
    scores, is_signal = np.asarray(scores, np.float64), np.asarray(is_signal, bool)
    weights = of_events(weights, len(scores))
    if bins < 2 or replicas < 2:
        raise ValueError(f"1/JSD takes at least 2 bins and 2 replicas, not {bins} and {replicas}.")
    signal = Ordered.of(scores[is_signal], weights[is_signal])
    background, own = scores[~is_signal], weights[~is_signal]
    place = _places(np.asarray(observable, np.float64)[~is_signal], bins)
    passes = background >= signal.cut(efficiency)
    if not own[passes].sum() or not own[~passes].sum():
        return None
    random = np.random.default_rng(seed)
    value, divergences, floors = 1 / _divergence(place, passes, own, bins), [], []
    for _ in range(replicas):
        drawn, cut = random.integers(len(background), size=len(background)), signal.drawn(random)
        passed = background[drawn] >= cut.cut(efficiency)
        divergences.append(_divergence(place[drawn], passed, own[drawn], bins))
        floors.append(1 / _divergence(place, random.permutation(passes), own, bins))
    return {
        "value": float(value),
        "uncertainty": float(value**2 * np.std(divergences, ddof=1)),
        "floor": float(np.mean(floors)),
        "floor_uncertainty": float(np.std(floors, ddof=1)),
    }


def _places(observable: np.ndarray, bins: int) -> np.ndarray:
    """The bin of each background event; bins hold equal numbers of events."""
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


def _divergence(place: np.ndarray, passes: np.ndarray, weights: np.ndarray, bins: int) -> float:
    """The Jensen-Shannon divergence in bits; at least `LEAST`, because the inverse is reported."""
    sums = [np.bincount(place[of], weights[of], minlength=bins) for of in (passes, ~passes)]
    shares = [inside / (inside.sum() or 1) for inside in sums]
    middle = (shares[0] + shares[1]) / 2
    total = 0.0
    for share in shares:
        some = share > 0
        total += np.sum(share[some] * np.log2(share[some] / middle[some])) / 2
    return max(float(total), LEAST)
