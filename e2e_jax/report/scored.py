"""The events of a run with what its classifier predicted for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from e2e_jax.evaluation.weights import of_events
from e2e_jax.study import Task


class Regressed(NamedTuple):
    """A target: true values, predictions, and optional predicted uncertainties; `[n]`."""

    truth: np.ndarray
    predicted: np.ndarray
    sigma: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Scored:
    """Events with the predictions of a network.

    Attributes:
      probabilities: `[n, classes]`, in the order of `task.names`; no columns without classes.
      labels: int `[n]`, indices into `task.labels`.
      observables: name -> `[n]`, the observables from which the task decorrelates.
      task: the task.
      weights: `[n]`, event weights; None for equal weights.
      members: the scores of each network of an ensemble.
      regressed: the targets by name.
    """

    probabilities: np.ndarray
    labels: np.ndarray
    observables: Mapping[str, np.ndarray]
    task: Task
    weights: np.ndarray | None = None
    members: tuple[Scored, ...] = ()
    regressed: Mapping[str, Regressed] = dataclasses.field(default_factory=dict)

    @classmethod
    def of_predictions(
        cls,
        task: Task,
        predictions: np.ndarray,
        labels: np.ndarray,
        observables: Mapping[str, np.ndarray],
        weights: np.ndarray | None = None,
        targets: Mapping[str, np.ndarray] | None = None,
    ) -> Scored:
        """The events with predictions `[n, columns]` and true values of the targets."""
        predictions = np.asarray(predictions, np.float64)
        columns = dict(zip(task.columns, predictions.T))
        regressed = {
            name: Regressed(
                np.asarray(truth, np.float64), columns[f"predicted_{name}"], columns.get(f"sigma_{name}")
            )
            for name, truth in (targets or {}).items()
        }
        probabilities = predictions[:, : len(task.names)]
        return cls(probabilities, labels, observables, task, weights, regressed=regressed)

    @property
    def signal(self) -> np.ndarray:
        """P(signal) `[n]`."""
        return self.probabilities[:, self.task.signal_index]

    @property
    def is_signal(self) -> np.ndarray:
        """Whether each event is signal, bool `[n]`."""
        return self.targets == self.task.signal_index

    @property
    def targets(self) -> np.ndarray:
        """The true class of each event `[n]`, an index into `task.names`; -1 for unused events."""
        return self.task.of_labels(self.labels)

    @property
    def counts(self) -> np.ndarray:
        """The weight of each event `[n]`; 1 by default."""
        return of_events(self.weights, len(self.labels))

    def of(self, label: str) -> np.ndarray:
        """Whether each event has the label, bool `[n]`."""
        return self.labels == self.task.labels.index(label)
