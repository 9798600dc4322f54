"""The mean and the spread of the metrics of several networks of one config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

SEEDS = "seeds"
"""Key of the results of an ensemble: its networks, and the mean and the spread of their metrics."""

NO_METRICS = ("config", "task", "dataset", "events", "epoch", "epoch_selection", "provenance", SEEDS)
"""What the results hold beside metrics."""


def spread(results: Sequence[Mapping]) -> dict:
    """The mean and the spread of every metric over networks that were evaluated on the same events.

    Args:
      results: of each network, the content of its results.json.

    Returns:
      The metrics at their places in the results, each with its "mean", its "spread", the standard deviation
      over the networks, and its "values". Metrics that a network does not have are left out.
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
