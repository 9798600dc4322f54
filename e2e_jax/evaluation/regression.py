"""Metrics of a regression: errors, bias and resolution, for all events and in bins of the truth.

The error of an event is the prediction minus the truth. numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

BINS = 10
"""Number of bins of the truth, with equal numbers of events."""

LEAST_TRUTH = 0.1
"""Relative errors use only events whose absolute truth is at least this fraction of its median. Smaller
values would make the mean relative error unbounded."""

CENTRAL = (0.1587, 0.8413)
"""The quantiles of a normal distribution at plus and minus one standard deviation."""

NAMES = ("mae", "mre", "bias", "resolution")


def metrics(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """The metrics of some events.

    Args:
      truth, predicted: `[n]`, finite.

    Returns:
      "mae", the mean absolute error; "mre", the mean of the absolute error divided by the absolute truth, for
      events above `LEAST_TRUTH`; "bias", the mean error; "resolution", half the width of the central 68 % of
      the errors.

    Raises:
      ValueError: there are no events, the shapes differ, or a number is not finite.
    """
    truth, predicted = _checked(truth, predicted)
    return dict(zip(NAMES, _metrics(predicted - truth, _relative(truth, predicted))))


def results(
    truth: np.ndarray,
    predicted: np.ndarray,
    sigma: np.ndarray | None = None,
    replicas: int = 200,
    seed: int = 0,
    bins: int = BINS,
) -> dict:
    """The metrics of a target with uncertainties, from samples drawn with replacement.

    Args:
      truth, predicted: `[n]`.
      sigma: `[n]`, the predicted standard deviations, or None.
      replicas: number of samples.
      seed: seed of the samples.
      bins: number of bins of the truth.

    Returns:
      `NAMES`, each {"value", "uncertainty"}; "mae_constant", the mean absolute error of the best constant
      prediction, as a reference; "bins": the same metrics in bins of the truth with equal numbers of events,
      with their "low" and "high" edge and their number of "events". With `sigma` also "pull_width", the
      resolution of the error divided by sigma, which is 1 if sigma is correct. A metric is None if no event
      defines it.

    Raises:
      ValueError: as for `metrics`.
    """
    truth, predicted = _checked(truth, predicted)
    random = np.random.default_rng(seed)
    error, relative = predicted - truth, _relative(truth, predicted)
    edges = np.unique(np.quantile(truth, np.linspace(0, 1, bins + 1)))
    place = np.clip(np.searchsorted(edges, truth, side="right") - 1, 0, max(len(edges) - 2, 0))
    made = _with_uncertainties(error, relative, replicas, random)
    made["mae_constant"] = {"value": float(np.mean(abs(truth - np.median(truth))))}
    if sigma is not None:
        pull = error / np.maximum(sigma, np.finfo(np.float32).tiny)
        made["pull_width"] = _with_uncertainties(pull, relative, replicas, random)["resolution"]
    made["bins"] = [
        {
            "low": float(edges[number]),
            "high": float(edges[min(number + 1, len(edges) - 1)]),
            "events": int(inside.sum()),
            **_with_uncertainties(error[inside], relative[inside], replicas, random),
        }
        for number in range(max(len(edges) - 1, 1))
        if (inside := place == number).any()
    ]
    return made


def of_targets(
    columns: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], replicas: int, seed: int
) -> dict[str, dict]:
    """`results` of each target, by name.

    Args:
      columns: predictions, with "predicted_<target>" and optionally "sigma_<target>".
      truth: target -> its true values.
      replicas, seed: as for `results`.
    """
    return {
        name: results(values, columns[f"predicted_{name}"], columns.get(f"sigma_{name}"), replicas, seed)
        for name, values in truth.items()
    }


def row(columns: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The metrics of an epoch, without uncertainties: "mae_<target>", "bias_<target>", ..."""
    return {
        f"{metric}_{name}": value
        for name, values in truth.items()
        for metric, value in metrics(values, columns[f"predicted_{name}"]).items()
        if np.isfinite(value)
    }


def _with_uncertainties(error, relative, replicas, random) -> dict:
    values = _metrics(error, relative)
    drawn = np.array(
        [
            _metrics(error[rows], relative[rows])
            for rows in (random.integers(len(error), size=len(error)) for _ in range(replicas))
        ]
    )
    return {
        name: {"value": float(value), "uncertainty": float(np.std(spread[np.isfinite(spread)], ddof=1))}
        if np.isfinite(value)
        else None
        for name, value, spread in zip(NAMES, values, drawn.T)
    }


def _metrics(error, relative) -> tuple[float, ...]:
    low, high = np.quantile(error, CENTRAL)
    defined = relative[np.isfinite(relative)]
    mre = float(np.mean(defined)) if len(defined) else np.nan
    return float(np.mean(abs(error))), mre, float(np.mean(error)), float((high - low) / 2)


def _relative(truth, predicted) -> np.ndarray:
    """The relative errors; NaN if the truth is below `LEAST_TRUTH`."""
    size = abs(truth)
    counted = (size > 0) & (size >= LEAST_TRUTH * np.median(size))
    return np.where(counted, abs(predicted - truth) / np.where(counted, size, 1), np.nan)


def _checked(truth, predicted):
    truth, predicted = np.asarray(truth, np.float64), np.asarray(predicted, np.float64)
    if truth.ndim != 1 or truth.shape != predicted.shape or not len(truth):
        raise ValueError(
            f"Expected the truth and the predictions of one or more events, each [n]; got {truth.shape} and "
            f"{predicted.shape}."
        )
    for name, values in (("truth", truth), ("prediction", predicted)):
        if (bad := ~np.isfinite(values)).any():
            raise ValueError(
                f"The {name} of event {int(bad.argmax())} is {values[bad.argmax()]} ({int(bad.sum())} of "
                f"{len(values)} are not finite). Look for such values in the sample, or for a training that "
                "diverged."
            )
    return truth, predicted
