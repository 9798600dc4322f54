"""The epochs of a training: steps, validation, and the choice of the best one."""

import dataclasses
import time
from typing import Any

from tqdm import tqdm

from e2e_jax.devices import distributed
from e2e_jax.evaluation.selection import best_epoch, finished
from e2e_jax.experiment import Experiment
from e2e_jax.runs.checkpoints import Checkpoints, host_copy
from e2e_jax.training import stopping
from e2e_jax.training.options import Options
from e2e_jax.training.progress import Progress, report, require_finite, require_finite_row
from e2e_jax.training.validation import Validation


@dataclasses.dataclass
class Standing:
    """Current status of a training: the state on the devices, the best parameters, and the epochs."""

    state: Any
    best: Any
    progress: Progress

    def save(self, checkpoints, after=None):
        """Saves a checkpoint, see `Checkpoints.save`."""
        progress = dataclasses.asdict(self.progress)
        checkpoints.save(int(self.state.step), self.state, self.best, progress, after)


@dataclasses.dataclass(frozen=True)
class Epochs:
    """The loop over the epochs of a training.

    Attributes:
      run: task, inputs and network.
      options: options of the training.
      feed: feed of the training sample (`placement.Feed`).
      steps: steps per epoch.
      validation: the validation events.
      checkpoints: checkpoints of the run.
      requests: requests to end the training early.
    """

    run: Experiment
    options: Options
    feed: Any
    steps: int
    validation: Validation
    checkpoints: Checkpoints
    requests: stopping.Requests

    def train(self, standing: Standing, workdir, board=None):
        """Trains to the end; saves and reports each epoch.

        Args:
          standing: status at the start; updated during the training.
          workdir: the run's folder.
          board: draws each epoch (`report.board.Board`), if any.
        """
        while not self.finished(standing):
            self.train_epoch(standing)
            row, predictions = self.close_epoch(standing)
            seen = self.validation
            sample = seen.labels, seen.observables, seen.weights, seen.targets
            drawn = board and board.add_epoch(row, predictions, *sample)
            # Saved after drawing, so that a resumed run does not draw an epoch twice.
            standing.save(self.checkpoints, after=drawn)
            report(workdir, standing.progress.history, [row], self.run.task)

    def finished(self, standing: Standing) -> bool:
        """Whether the training is over."""
        options, history = self.options, standing.progress.history
        return finished(history, self.run.task, self.run.metrics.limit, options.epochs, options.patience)

    def train_epoch(self, standing: Standing):
        """Trains to the end of the current epoch."""
        size, progress = self.options.batch_size, standing.progress
        bar = tqdm(
            total=self.steps * size,
            initial=progress.steps * size,
            desc=f"Epoch {progress.epoch + 1}/{self.options.epochs}",
            unit=" events",
            dynamic_ncols=True,
            disable=not distributed.first(),
        )
        compiled, start = False, time.perf_counter()
        saved = start
        with bar:
            for piece in self.feed(standing.state, progress.epoch, progress.steps):
                standing.state, metrics = piece
                for of_step in metrics:
                    progress.add(of_step)
                require_finite(progress, self.options.learning_rate)
                end = time.perf_counter()
                if compiled:
                    progress.timed = [progress.timed[0] + len(metrics), progress.timed[1] + end - start]
                progress.seconds += end - start
                compiled, start = True, end
                bar.update(len(metrics) * size)
                bar.set_postfix(loss=f"{progress.sums['loss'] / progress.steps:.4f}")
                self.requests.check()
                # The last step of an epoch is saved together with the validation.
                if progress.steps < self.steps and end - saved >= self.options.checkpoint_seconds:
                    standing.save(self.checkpoints)
                    saved = end

    def close_epoch(self, standing: Standing):
        """Validates the finished epoch and begins the next one; returns the row and the predictions."""
        progress, start = standing.progress, time.perf_counter()
        predictions = self.validation.predict(standing.state.evaluated)
        steps, seconds = progress.timed if progress.timed[0] else (progress.steps, progress.seconds)
        row = {
            "epoch": progress.epoch + 1,
            "step": int(standing.state.step),
            **{f"train_{name}": value for name, value in progress.means().items()},
            **self.validation.metrics(predictions),
            "events_per_second": round(steps * self.options.batch_size / seconds, 1),
            "seconds": round(progress.seconds + time.perf_counter() - start, 3),
        }
        require_finite_row(row, self.options.learning_rate)
        # Times may differ between processes, because no decision depends on them. Metrics must not differ.
        row = distributed.of_first(lambda: row)
        done = [*progress.history, row]
        if best_epoch(done, self.run.metrics.limit, self.run.task).index == progress.epoch:
            standing.best = host_copy(standing.state.evaluated)
        kept = {"train_events": progress.train_events, "started_from": progress.started_from}
        standing.progress = Progress(history=done, **kept)
        return row, predictions
