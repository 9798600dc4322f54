"""Planing: event weights that give all classes the same distributions of observables.

Source: S. Chang, T. Cohen and B. Ostdiek, "What is the machine learning?", Phys. Rev. D 97 (2018) 056009,
arXiv:1709.10106.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

BINS = 40
ROUNDS = 50
"""Iterations of the iterative proportional fitting for several observables."""


def planing_weights(
    observables: Mapping[str, np.ndarray],
    labels: np.ndarray,
    bins: int = BINS,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Event weights that give every class the same distribution of each observable.

    Bins hold equal numbers of events, counting all classes together. In each bin every class gets the same
    share of its weight, the mean of the classes' shares. Bins in which a class has no events get weight 0,
    because no weight can equalize the classes there. Several observables are equalized in turn, repeatedly.

    Args:
      observables: name -> `[n]`, finite.
      labels: int `[n]`, the class of each event; events with a negative label get weight 0.
      bins: maximum number of bins per observable; fewer if classes have few events.
      weights: `[n]`, existing event weights, not negative; 1 by default.

    Returns:
      float32 `[n]`, the product with `weights`, with mean 1 within each class.

    Raises:
      ValueError: there is no observable, one is not finite or constant, or its ranges in two classes do not
        overlap.
    """
    if not observables:
        raise ValueError(
            "Planing needs an observable to make alike (config.task.decorrelate); there is none."
        )
    labels = np.asarray(labels)
    classes = np.unique(labels[labels >= 0])
    smallest = min(int(np.sum(labels == label)) for label in classes)
    bins = int(np.clip(smallest // 20, 2, bins))
    places = {name: _bins(name, values, labels >= 0, bins) for name, values in observables.items()}
    weights = np.where(labels >= 0, 1.0 if weights is None else weights, 0.0)
    for _ in range(ROUNDS if len(places) > 1 else 1):
        for name, place in places.items():
            shares = np.stack([_shares(place, weights * (labels == label), bins) for label in classes])
            shared = np.where((shares > 0).all(axis=0), shares.mean(axis=0), 0)
            if not shared.sum():
                raise ValueError(
                    f"Planing in {name!r} is not possible: no bin of it holds events of every class. Leave "
                    "it out, or choose classes with overlapping ranges."
                )
            for share, label in zip(shares, classes):
                factor = np.divide(shared, share, out=np.zeros_like(share), where=share > 0)
                weights = np.where(labels == label, weights * factor[place], weights)
    for label in classes:
        own = labels == label
        weights[own] /= weights[own].mean()
    return weights.astype(np.float32)


def _bins(name: str, values, counted, bins: int) -> np.ndarray:
    """The bin of each event; all bins hold the same number of events."""
    values = np.asarray(values, np.float64)
    bad = counted & ~np.isfinite(values)
    if bad.any():
        raise ValueError(
            f"Planing needs finite values, but {name!r} of event {int(bad.argmax())} is "
            f"{values[bad.argmax()]}."
        )
    some = values[counted]
    if not len(some) or some.min() == some.max():
        raise ValueError(f"{name!r} is the same in all events: there is nothing to decorrelate from.")
    edges = np.quantile(some, np.linspace(0, 1, bins + 1)[1:-1])
    return np.searchsorted(edges, np.where(counted, values, some[0]), side="right")


def _shares(place, weights, bins: int) -> np.ndarray:
    """The share of a class's weight in each bin."""
    inside = np.bincount(place, weights, minlength=bins)
    return inside / inside.sum() if inside.sum() else inside
