"""Choice of the best epoch of a training, and early stopping.

A history is a list of rows, one dict per epoch. The selection uses the figure of merit of the task and "cvm".
Without decorrelation there is no "cvm", and only the figure of merit is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from e2e_jax.study import Task


class Best(NamedTuple):
    """Index of the best epoch in the history, and the rule that selected it."""

    index: int
    rule: str


EXCESS_PRICE = 10.0
"""Penalty on the AUC per unit of excess over the CVM limit, if no epoch is below the limit: 0.01 for 0.001.
The paper does not define this case. The value favors neither untrained epochs nor sculpted spectra."""


def merit(row: Mapping, task: Task) -> float:
    """The figure of merit of an epoch, larger is better.

    It is the AUC of the signal vs rest; with targets, the negative validation loss, which includes all heads.
    """
    return -row["validation_loss"] if task.targets else row[f"auc_{task.signal}"]


def selection_key(row: Mapping, limit: float, task: Task) -> tuple[bool, float]:
    """Sort key, larger is better: first epochs below the limit by merit; then others, minus their excess."""
    cvm = row.get("cvm", -math.inf)
    excess = max(0.0, cvm - limit)
    return (cvm < limit, merit(row, task) - EXCESS_PRICE * excess)


def best_epoch(history: Sequence[Mapping], limit: float, task: Task) -> Best:
    """The best epoch: best AUC of the signal vs rest among those whose CVM is below the limit.

    This is the rule of the paper, Section 5.3. With targets, the smallest validation loss replaces the AUC.

    Args:
      history: one row per epoch, at least one.
      limit: limit on the CVM; ignored if the rows have no CVM.
      task: defines the figure of merit.

    Returns:
      `Best`; its rule mentions if no epoch is below the limit. The earlier of two equal epochs is chosen.
    """
    index = max(range(len(history)), key=lambda i: (selection_key(history[i], limit, task), -i))
    best = "smallest validation loss" if task.targets else f"best AUC of {task.title(task.signal)} vs rest"
    if "cvm" not in history[index]:
        return Best(index, best)
    if history[index]["cvm"] < limit:
        return Best(index, f"{best} among the epochs with CVM < {limit:g}")
    sign = "+" if task.targets else "-"
    return Best(index, f"no epoch has CVM < {limit:g}, so {best} {sign} {EXCESS_PRICE:g} x excess")


def epochs_without_progress(history: Sequence[Mapping], limit: float, task: Task) -> int:
    """Epochs since the last one that was the best so far, by the selection or by the figure of merit alone.

    The figure of merit counts too, because an untrained network has a low CVM, so that the first trained
    epochs may all be worse in the selection.
    """
    best_key, best_merit, since = None, -math.inf, 0
    for row in history:
        key, of_row = selection_key(row, limit, task), merit(row, task)
        progress = best_key is None or key > best_key or of_row > best_merit
        since = 0 if progress else since + 1
        if progress:
            best_key, best_merit = max(key, best_key or key), max(of_row, best_merit)
    return since


def finished(history: Sequence[Mapping], task: Task, limit: float, epochs: int, patience: int) -> bool:
    """Whether a training is over: the last epoch was reached, or early stopping ended it."""
    stale = epochs_without_progress(history, limit, task)
    return len(history) >= epochs or stale >= patience
