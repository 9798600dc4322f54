"""What the epochs of a training reach on the validation events, which stay on the devices where they fit."""

import jax
import jax.numpy as jnp
import numpy as np

from e2e_jax.devices import distributed, placement
from e2e_jax.evaluation.results import validation_metrics
from e2e_jax.experiment import Experiment
from e2e_jax.inference.prediction import Predictor
from e2e_jax.training.losses import cross_entropy


class Validation:
    """The validation sample of a training.

    Attributes:
      labels: [n], of the events.
      observables: name -> [n], those that the task decorrelates from.
      weights: [n], of the events; None where all count alike.
    """

    def __init__(self, events, run: Experiment, before_batch=lambda: None):
        """
        Args:
          events: the sample.
          run: task, inputs and network.
          before_batch: called before each batch; what it raises ends a prediction.
        """
        self.labels, self.observables = events.label, run.decorrelated_from(events)
        self.weights = run.event_weights(events)
        self._run, self._before_batch = run, before_batch
        self._targets = run.task.of_labels(events.label)
        self._own = distributed.part(events)
        self._predictor = Predictor(run.network, run.inputs, run.together, run.setup)
        batch = jax.tree.leaves(next(self._predictor.batches(self._own))[0])
        size = sum(column.nbytes for column in batch) / len(batch[0]) * len(self._own)
        fits = placement.fits(size, self._predictor.devices)
        self._resident = list(self._predictor.batches(self._own)) if fits else None

    def predict(self, params):
        """Probabilities of the events, f4 [n, classes]; of several processes each computes a part."""
        own = self._predictor.of_batches(params, self._batches())
        return distributed.gathered(own, len(self.labels))

    def metrics(self, probabilities):
        """What a row of metrics.jsonl holds of the validation events."""
        # The logarithm of a probability is a logit. One that underflowed to 0 counts as the smallest number.
        logits = jnp.log(jnp.maximum(probabilities, jnp.finfo(jnp.float32).tiny))
        loss = cross_entropy(logits, jnp.asarray(self._targets))
        return {
            "validation_cross_entropy": float(jnp.average(loss, weights=self.weights)),
            "validation_accuracy": float(
                np.average(np.argmax(probabilities, axis=1) == self._targets, weights=self.weights)
            ),
            **validation_metrics(
                self._run.task,
                probabilities,
                self.labels,
                self.observables,
                self._run.metrics,
                self.weights,
            ),
        }

    def _batches(self):
        fresh = self._resident is None
        for batch in self._predictor.batches(self._own) if fresh else self._resident:
            self._before_batch()
            yield batch
