"""What the epochs of a run reached: which is the best, when to stop, and metrics.jsonl.

A history is a list of rows, one dict an epoch; the selection reads the AUC of the signal against the rest,
"auc_h", and "cvm", which a category without a mass lacks: then the AUC alone decides.
"""

import dataclasses
import json
import math
from typing import NamedTuple

from e2e_jax.classes import SIGNAL, category_of
from e2e_jax.files.atomic import write_whole


@dataclasses.dataclass
class Progress:
    """Where the epochs stand; saved with every checkpoint, as JSON.

    Attributes:
      history: one row for each finished epoch.
      steps: steps done in the running epoch.
      sums: sum of each metric over those steps.
      seconds: wall time spent on the running epoch.
      timed: [steps, seconds] of the running epoch without those that had to compile.
      train_events: events in the training sample.
    """

    history: list = dataclasses.field(default_factory=list)
    steps: int = 0
    sums: dict = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    timed: list = dataclasses.field(default_factory=lambda: [0, 0.0])
    train_events: int = 0

    @property
    def epoch(self):
        """The running epoch, counted from 0."""
        return len(self.history)

    def add(self, metrics):
        """Adds a step's metrics."""
        for name, value in metrics.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value)
        self.steps += 1

    def means(self):
        """Mean of each metric over the steps of the running epoch."""
        return {name: total / self.steps for name, total in self.sums.items()}


class Best(NamedTuple):
    """The best epoch's place in the history, and the rule that chose it."""

    index: int
    rule: str


WORDS = {
    "auc_h": "H",
    "auc_gamma_gamma": "gamma gamma",
    "auc_gamma_jet": "gamma+jet",
    "auc_electron": "electron",
}
"""Areas that a line of the history tells, and what they are called there."""

EXCESS_PRICE = 10.0
"""AUC that an excess of 1 over the CVM limit costs, where no epoch keeps the limit: 0.01 for 0.001.
The paper does not say what to do then; this favours neither untrained epochs nor sculpted masses."""


class TrainingError(Exception):
    """The training cannot go on; the message says why, and the way out."""


def selection_key(row, limit, signal=SIGNAL):
    """Larger is better: epochs under the limit first, by AUC; then the others, by AUC less their excess."""
    cvm = row.get("cvm", -math.inf)
    excess = max(0.0, cvm - limit)
    return (cvm < limit, row[f"auc_{signal}"] - EXCESS_PRICE * excess)


def best_epoch(history, limit, signal=SIGNAL):
    """The best epoch (paper, Section 5.3): best AUC of H vs rest among those whose CVM is below the limit.

    Args:
      history: one row an epoch, at least one.
      limit: `config.cvm.limit`; where the rows have no CVM it has no say.
      signal: the category's signal (`classes.Category`).

    Returns:
      `Best`; its rule says in words when no epoch is below the limit. The earlier of two equal epochs wins.
    """
    index = max(range(len(history)), key=lambda i: (selection_key(history[i], limit, signal), -i))
    area = f"best AUC of {WORDS[f'auc_{signal}']} vs rest"
    if "cvm" not in history[index]:
        return Best(index, area)
    if history[index]["cvm"] < limit:
        return Best(index, f"{area} among the epochs with CVM < {limit:g}")
    return Best(index, f"no epoch has CVM < {limit:g}, so {area} - {EXCESS_PRICE:g} x excess")


def epochs_without_progress(history, limit, signal=SIGNAL):
    """Epochs since the last that was the best so far, by the selection or by the plain AUC of H vs rest.

    The plain AUC counts too: an untrained network has a low CVM, and the first trained epochs may all stand
    behind it.
    """
    best_key, best_auc, since = None, None, 0
    for row in history:
        key, auc = selection_key(row, limit, signal), row[f"auc_{signal}"]
        progress = best_key is None or key > best_key or auc > best_auc
        since = 0 if progress else since + 1
        if progress:
            best_key, best_auc = max(key, best_key or key), max(auc, best_auc or auc)
    return since


def finished(history, config):
    """Whether the training is over: the last epoch was reached, or early stopping ended it."""
    stale = epochs_without_progress(history, config.cvm.limit, category_of(config).signal)
    return len(history) >= config.train.epochs or stale >= config.train.patience


def write_metrics(path, history):
    """Writes metrics.jsonl whole, one line an epoch: after a resumption none is missing or there twice."""
    write_whole(path, "".join(json.dumps(row) + "\n" for row in history))


def require_finite(progress, config):
    """Raises a TrainingError where a metric of the running epoch is not finite.

    The norm of the parameters is among them, so what is not finite is never saved.
    """
    _require_finite(progress.sums, f"at step {progress.steps} of epoch {progress.epoch + 1}", config)


def require_finite_row(row, config):
    """Raises a TrainingError where a number of a finished epoch is not finite."""
    _require_finite(row, f"after epoch {row['epoch']}", config)


def _require_finite(numbers, when, config):
    if broken := [name for name, number in numbers.items() if not math.isfinite(number)]:
        raise TrainingError(
            f"{', '.join(broken)} is not finite {when}. The training stopped; everything in its checkpoints "
            "is finite. Train into a new folder with a smaller config.train.learning_rate (now "
            f"{config.train.learning_rate:g}) or smaller config.inputs.scale."
        )


def line(row):
    """A row of the history as a line for the screen."""
    areas = ", ".join(f"{words} {row[name]:.3f}" for name, words in WORDS.items() if name in row)
    cvm = f" CVM {row['cvm']:.4f};" if "cvm" in row else ""
    return (
        f"Epoch {row['epoch']}: loss {row['train_loss']:.4f}, validation cross-entropy "
        f"{row['validation_cross_entropy']:.4f}; AUC vs rest: {areas};{cvm} "
        f"{row['events_per_second']:.0f} events/s, {row['seconds']:.0f} s"
    )
