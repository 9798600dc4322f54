"""Which epoch of a training is the best, and when a training stops.

A history is a list of rows, one dict per epoch. The selection reads "auc_<signal>", the AUC of the signal
against the rest, and "cvm", which a task without decorrelation lacks: then the AUC alone decides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from e2e_jax.study import Task


class Best(NamedTuple):
    """The best epoch's place in the history, and the rule that chose it."""

    index: int
    rule: str


EXCESS_PRICE = 10.0
"""AUC that an excess of 1 over the CVM limit costs, where no epoch keeps the limit: 0.01 for 0.001.
The paper does not define this case. The price favors neither untrained epochs nor sculpted spectra."""


def selection_key(row: Mapping, limit: float, signal: str) -> tuple[bool, float]:
    """Larger is better: epochs under the limit first, by AUC; then the others, by AUC less their excess."""
    cvm = row.get("cvm", -math.inf)
    excess = max(0.0, cvm - limit)
    return (cvm < limit, row[f"auc_{signal}"] - EXCESS_PRICE * excess)


def best_epoch(history: Sequence[Mapping], limit: float, task: Task) -> Best:
    """The best epoch: best AUC of the signal vs rest among those whose CVM is below the limit.

    This is the rule of the paper, Section 5.3.

    Args:
      history: one row per epoch, at least one.
      limit: of the CVM; it has no effect where the rows have no CVM.
      task: names the signal.

    Returns:
      `Best`; its rule says in words when no epoch is below the limit. The earlier of two equal epochs wins.
    """
    index = max(range(len(history)), key=lambda i: (selection_key(history[i], limit, task.signal), -i))
    area = f"best AUC of {task.title(task.signal)} vs rest"
    if "cvm" not in history[index]:
        return Best(index, area)
    if history[index]["cvm"] < limit:
        return Best(index, f"{area} among the epochs with CVM < {limit:g}")
    return Best(index, f"no epoch has CVM < {limit:g}, so {area} - {EXCESS_PRICE:g} x excess")


def epochs_without_progress(history: Sequence[Mapping], limit: float, signal: str) -> int:
    """Epochs since the last that was the best so far, by the selection or by the plain AUC of the signal.

    The plain AUC counts too: an untrained network has a low CVM, and the first trained epochs may all be
    worse by the selection.
    """
    best_key, best_auc, since = None, None, 0
    for row in history:
        key, auc = selection_key(row, limit, signal), row[f"auc_{signal}"]
        progress = best_key is None or key > best_key or auc > best_auc
        since = 0 if progress else since + 1
        if progress:
            best_key, best_auc = max(key, best_key or key), max(auc, best_auc or auc)
    return since


def finished(history: Sequence[Mapping], task: Task, limit: float, epochs: int, patience: int) -> bool:
    """Whether a training is over: the last epoch was reached, or early stopping ended it."""
    stale = epochs_without_progress(history, limit, task.signal)
    return len(history) >= epochs or stale >= patience
