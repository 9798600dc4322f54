"""Mean and spread of the metrics of several networks of one config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

SEEDS = "seeds"
"""Key in the results of an ensemble for its networks and the mean and spread of their metrics."""

NO_METRICS = ("config", "task", "dataset", "events", "epoch", "epoch_selection", "provenance", SEEDS)
"""Keys of the results that are not metrics."""


def spread(results: Sequence[Mapping]) -> dict:
    """Mean and spread of every metric over networks that were evaluated on the same events.

    Args:
      results: the content of results.json of each network.

    Returns:
      The metrics at their places in the results, each with its "mean", its "spread" (the standard deviation
      over the networks) and its "values". Metrics that are missing in a network are omitted.
    """
    return _spread([{name: one[name] for name in one if name not in NO_METRICS} for one in results])


def _spread(parts: Sequence[Mapping]) -> dict:
    made = {}
    if all(isinstance(part.get("value"), int | float) for part in parts):
        values = [float(part["value"]) for part in parts]
        made = {"mean": float(np.mean(values)), "spread": float(np.std(values, ddof=1)), "values": values}
    for name in parts[0]:
        inside = [part.get(name) for part in parts]
        if all(isinstance(part, Mapping) for part in inside) and (found := _spread(inside)):
            made[name] = found
    return made
