"""Progress of a training: sums of the current epoch, rows of the finished ones, metrics.jsonl."""

import dataclasses
import json
import math
import sys

from tqdm import tqdm

from e2e_jax.devices import distributed
from e2e_jax.errors import TrainingError
from e2e_jax.files.atomic import write_whole
from e2e_jax.runs.folder import METRICS
from e2e_jax.study import Task


@dataclasses.dataclass
class Progress:
    """Progress of the epochs; saved with every checkpoint, as JSON.

    Attributes:
      history: one row per finished epoch.
      steps: number of steps in the current epoch so far.
      sums: sum of each metric over those steps.
      seconds: wall time of the current epoch so far.
      timed: [steps, seconds] of the current epoch, without steps that included compilation.
      train_events: number of events in the training sample.
      started_from: the run that provided the initial parameters, see `start.started`; empty for none.
    """

    history: list = dataclasses.field(default_factory=list)
    steps: int = 0
    sums: dict = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    timed: list = dataclasses.field(default_factory=lambda: [0, 0.0])
    train_events: int = 0
    started_from: dict = dataclasses.field(default_factory=dict)

    @property
    def epoch(self):
        """The current epoch, counted from 0."""
        return len(self.history)

    def add(self, metrics):
        """Adds a step's metrics."""
        for name, value in metrics.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value)
        self.steps += 1

    def means(self):
        """Mean of each metric over the steps of the current epoch."""
        return {name: total / self.steps for name, total in self.sums.items()}


def require_finite(progress, learning_rate):
    """Raises a TrainingError if a metric of the current epoch is not finite.

    The norm of the parameters is one of the metrics, so parameters that are not finite are never saved.
    """
    _require_finite(progress.sums, f"at step {progress.steps} of epoch {progress.epoch + 1}", learning_rate)


def require_finite_row(row, learning_rate):
    """Raises a TrainingError if a number of a finished epoch is not finite."""
    _require_finite(row, f"after epoch {row['epoch']}", learning_rate)


def _require_finite(numbers, when, learning_rate):
    if broken := [name for name, number in numbers.items() if not math.isfinite(number)]:
        raise TrainingError(
            f"{', '.join(broken)} is not finite {when}. The training stopped; everything in its checkpoints "
            "is finite. Train into a new folder with a smaller config.train.learning_rate (now "
            f"{learning_rate:g}) or smaller config.inputs.scale."
        )


def write_metrics(path, history):
    """Rewrites metrics.jsonl, one line per epoch, so that a resumed run neither misses nor repeats a line."""
    write_whole(path, "".join(json.dumps(row) + "\n" for row in history))


def report(workdir, rows, new, task):
    """Writes all rows to metrics.jsonl and prints the new ones, in the process that writes."""
    if not distributed.first():
        return
    write_metrics(workdir / METRICS, rows)
    for row in new:
        say(line(row, task))


def line(row, task: Task):
    """A row of the history as a line for the screen."""
    seen = "loss" if task.targets else "cross_entropy"
    parts = [
        f"Epoch {row['epoch']}: loss {row['train_loss']:.4f}, validation {seen.replace('_', '-')} "
        f"{row[f'validation_{seen}']:.4f}"
    ]
    if task.classifies:
        areas = ", ".join(f"{task.title(name)} {row[f'auc_{name}']:.3f}" for name in task.scored)
        parts.append(f"AUC vs rest: {areas}")
    if task.targets:
        errors = [f"{name} {row[f'mae_{name}']:.4g} {task.target(name).unit}" for name in task.targets]
        parts.append(f"mean absolute error: {', '.join(error.rstrip() for error in errors)}")
    if "cvm" in row:
        parts.append(f"CVM {row['cvm']:.4f}")
    return "; ".join([*parts, f"{row['events_per_second']:.0f} events/s, {row['seconds']:.0f} s"])


def say(text):
    """Prints a line above the progress bar, in the process that writes."""
    if distributed.first():
        tqdm.write(text, file=sys.stderr)
