"""How well observables are predicted: errors, bias and resolution, in all events and in bins of the truth.

The error of an event is the prediction minus the truth. numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

BINS = 10
"""Bins of the truth; each holds as many events."""

LEAST_TRUTH = 0.1
"""Relative errors are of events whose truth is at least this part of the median of its size. Below, they are
divisions by almost nothing, whose mean has no limit."""

CENTRAL = (0.1587, 0.8413)
"""The quantiles one standard deviation around the middle of a normal distribution."""

NAMES = ("mae", "mre", "bias", "resolution")


def metrics(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """The metrics of some events.

    Args:
      truth, predicted: `[n]`, finite.

    Returns:
      "mae", the mean absolute error; "mre", the mean of the absolute error over the size of the truth, of the
      events above `LEAST_TRUTH`; "bias", the mean error; "resolution", half of the width of the central 68 %
      of the errors.

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
      sigma: `[n]`, the predicted standard deviations; None where there are none.
      replicas: number of samples.
      seed: of the samples.
      bins: of the truth.

    Returns:
      `NAMES`, each {"value", "uncertainty"}; "mae_constant", the mean absolute error of the best constant
      prediction, which a network must beat; "bins": the same metrics in bins of the truth with as many events
      each, with their "low" and "high" edge and their number of "events". With `sigma` also "pull_width", the
      resolution of the error divided by sigma, 1 where sigma is right. A metric is None where no event
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
    """`results` of each target, by its name.

    Args:
      columns: predictions, with "predicted_<target>" and perhaps "sigma_<target>".
      truth: target -> its true values.
      replicas, seed: as for `results`.
    """
    return {
        name: results(values, columns[f"predicted_{name}"], columns.get(f"sigma_{name}"), replicas, seed)
        for name, values in truth.items()
    }


def row(columns: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The metrics without uncertainties, for every epoch: "mae_<target>", "bias_<target>", ..."""
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
    """The relative errors; NaN where the truth is below `LEAST_TRUTH`."""
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
