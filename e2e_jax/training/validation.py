"""Predictions and metrics on the validation events, which stay on the devices if they fit."""

import jax
import jax.numpy as jnp
import numpy as np

from e2e_jax.devices import distributed, placement
from e2e_jax.evaluation.results import validation_metrics
from e2e_jax.experiment import Experiment
from e2e_jax.inference.prediction import Predictor
from e2e_jax.training.losses import cross_entropy, regression_loss, standardized


class Validation:
    """The validation sample of a training.

    Attributes:
      labels: [n], labels of the events.
      observables: name -> [n], the observables from which the task decorrelates.
      targets: target -> [n], its true values.
      weights: [n], event weights; None for equal weights.
    """

    def __init__(self, events, run: Experiment, before_batch=lambda: None):
        """
        Args:
          events: the sample.
          run: task, inputs and network.
          before_batch: called before each batch; an exception ends the prediction.
        """
        self.labels, self.observables = events.label, run.decorrelated_from(events)
        self.targets, self.weights = run.targets(events), run.event_weights(events)
        self._run, self._before_batch = run, before_batch
        self._own = distributed.part(events)
        self._predictor = Predictor(run.task, run.network, run.inputs, run.together, run.setup)
        batch = jax.tree.leaves(next(self._predictor.batches(self._own))[0])
        size = sum(column.nbytes for column in batch) / len(batch[0]) * len(self._own)
        fits = placement.fits(size, self._predictor.devices)
        self._resident = list(self._predictor.batches(self._own)) if fits else None

    def predict(self, params):
        """Predictions for the events, f4 [n, columns]; with several processes each computes a part."""
        own = self._predictor.of_batches(params, self._batches())
        return distributed.gathered(own, len(self.labels))

    def metrics(self, predictions):
        """The validation metrics of a row of metrics.jsonl."""
        task = self._run.task
        row = self._losses(predictions)
        if task.classifies:
            right = np.argmax(predictions[:, : len(task.names)], axis=1) == task.of_labels(self.labels)
            row["validation_accuracy"] = float(np.average(right, weights=self.weights))
        measured = self.labels, self.observables, self._run.metrics, self.weights, self.targets
        return row | validation_metrics(task, predictions, *measured)

    def _losses(self, predictions):
        """The mean loss of each head; with targets also "validation_loss", their sum."""
        task, row = self._run.task, {}
        if task.classifies:
            # The logarithm of a probability is a logit. A probability that underflowed to 0 is replaced by
            # the smallest number.
            probabilities = predictions[:, : len(task.names)]
            logits = jnp.log(jnp.maximum(probabilities, jnp.finfo(jnp.float32).tiny))
            losses = cross_entropy(logits, jnp.asarray(task.of_labels(self.labels)))
            row["validation_cross_entropy"] = total = float(jnp.average(losses, weights=self.weights))
        if task.targets:
            columns = dict(zip(task.columns, predictions.T))
            width = np.array([task.scales[name][1] for name in task.targets], np.float32)
            predicted = standardized({name: columns[f"predicted_{name}"] for name in task.targets}, task)
            sigmas = [columns[name] for name in task.columns if name.startswith("sigma_")]
            sigma = np.stack(sigmas, axis=1) / width if sigmas else np.zeros((len(predictions), 0))
            losses = regression_loss(predicted, 2 * jnp.log(sigma), standardized(self.targets, task))
            row["validation_regression_loss"] = loss = float(jnp.average(losses, weights=self.weights))
            row["validation_loss"] = total + task.weight * loss if task.classifies else loss
        return row

    def _batches(self):
        fresh = self._resident is None
        for batch in self._predictor.batches(self._own) if fresh else self._resident:
            self._before_batch()
            yield batch
