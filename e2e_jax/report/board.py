"""TensorBoard logs of a training: numbers, ROC curves, the score against an observable, the config.

TensorBoard drops entries that an interrupted training wrote after its last checkpoint, and keeps the rest.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from e2e_jax.evaluation.tables import metrics, value_at
from e2e_jax.report.scored import Scored
from e2e_jax.study import Task

DOTS = 60
"""Dots per inch of the pictures: 600 pixels wide."""


class Board:
    """Writer of a training's TensorBoard files; a context manager."""

    def __init__(self, folder: Path, config, task: Task, history: Sequence[Mapping] = ()):
        """Continues from the last checkpoint.

        Args:
          folder: folder of the event files.
          config: config of the training; shown as text.
          task: the task.
          history: the rows of the finished epochs; written if the folder is empty.
        """
        # Imported here and below, because tensorboardX imports PyTorch if installed, which takes seconds.
        from tensorboardX import summary
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self._task, self._dataset = task, config.dataset.name
        earlier = len(list(folder.iterdir())) if folder.exists() else 0
        known = earlier > 0
        step = history[-1]["step"] + 1 if history and known else 0
        folder.mkdir(parents=True, exist_ok=True)
        # Not `SummaryWriter`: its thread hides the errors of a full disk, and then never ends.
        # The number keeps the order of two files of the same second, in which TensorBoard reads them.
        self._writer = EventsWriter(str(folder / f"events-{earlier:03d}"))
        self._writer.write_event(Event(step=step, file_version="brain.Event:2"))
        self._writer.write_event(Event(step=step, session_log=SessionLog(status=SessionLog.START)))
        self._add(summary.text("config", _as_code(config.to_dict())), step)
        for row in () if known else history:
            self._add_numbers(row)
        self._writer.flush()
        self._thread = ThreadPoolExecutor(1, "board")

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *error) -> None:
        self._thread.shutdown()
        # An error of the training, such as a full disk, takes precedence over the same error here.
        with contextlib.suppress(*([OSError] if any(error) else [])):
            self._writer.close()

    def add_epoch(
        self,
        row: Mapping,
        predictions: np.ndarray,
        labels: np.ndarray,
        observables: Mapping[str, np.ndarray],
        weights: np.ndarray | None = None,
        targets: Mapping[str, np.ndarray] | None = None,
    ) -> Future:
        """Draws and writes an epoch in a thread, while the next one trains.

        Args:
          row: of metrics.jsonl; its "step" and numbers.
          predictions, labels, observables, weights, targets: of the validation sample, as for
            `results.evaluate`.

        Returns:
          A future that is done when the epoch is in the file.
        """
        sample = predictions, labels, observables, weights, targets
        return self._thread.submit(self._draw, row, *sample)

    def add_results(self, results: Mapping, step: int) -> None:
        """Writes the metrics of the final evaluation as "results/<name>", at a step."""
        from tensorboardX import summary

        for place in metrics(self._task, results):
            self._add(summary.scalar(f"results/{'_'.join(place)}", value_at(results, place)["value"]), step)
        self._writer.flush()

    def _draw(self, row, *sample):
        # Imported here, because matplotlib loads slowly and the training should print its first line before.
        import matplotlib
        from tensorboardX import summary
        from tensorboardX.utils import figure_to_image

        from e2e_jax.report import decorrelation, pictures, regression, roc

        self._add_numbers(row)
        scored = Scored.of_predictions(self._task, *sample)
        origin, note = self._dataset, f"epoch {row['epoch']}"
        drawn = {}
        if self._task.classifies:
            drawn["roc"] = roc.draw(roc.by_class(scored, {}), origin, note)
        for target in map(self._task.target, self._task.targets):
            drawn[f"regression_{target.name}"] = regression.draw_map(scored, target, origin, note)
        for observable in self._task.decorrelate_observables:
            of = self._task.of[0]
            made = decorrelation.draw_score_map(scored, of, observable, origin, of=note)
            drawn[f"score_{observable.name}"] = made
        with matplotlib.rc_context(pictures.STYLE):
            for name, figure in drawn.items():
                figure.set_dpi(DOTS)
                self._add(summary.image(name, figure_to_image(figure, close=False)), row["step"])
        self._writer.flush()

    def _add_numbers(self, row: Mapping) -> None:
        from tensorboardX import summary

        for name, value in row.items():
            self._add(summary.scalar(name, value), row["step"])

    def _add(self, content, step: int) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._writer.write_event(Event(wall_time=time.time(), step=step, summary=content))


def _as_code(fields: Mapping) -> str:
    """JSON as a block of code in Markdown."""
    return "\n".join(f"    {line}" for line in json.dumps(fields, indent=2).splitlines())
