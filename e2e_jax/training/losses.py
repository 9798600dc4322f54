"""The training loss: cross-entropy, plus the penalty that decorrelates the score from an observable."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from e2e_jax.models.decorrelation import penalties
from e2e_jax.study import Task
from e2e_jax.training.weights import COLUMN


@dataclasses.dataclass(frozen=True)
class Penalty:
    """The penalty on a dependence of the signal's score on observables (`config.decorrelation`).

    The strength's normalization over a batch is not published, so it is a choice, `reduction`:

    * "sum": the penalty's gradient as it is. Each event is pushed by an amount of order strength * 0.1,
      whatever the size of the batch, while the mean cross-entropy pushes each by about 1 / batch size:
      strong.
    * "mean": the penalty divided by the number of its events, so that both terms are means over events: weak
      at the same strength.

    Attributes:
      strength: weight of the penalty; 0 for none.
      neighbors: events nearest in the observable that make a group of "cvm", or a bin of "mode".
      reduction: "sum" or "mean".
      method: one of `penalties.METHODS`.
      order: of "mode".

    Raises:
      ValueError: the method or the reduction is another word, or the strength is negative.
    """

    strength: float = 0.0
    neighbors: int = 12
    reduction: str = "sum"
    method: str = "cvm"
    order: int = 0

    def __post_init__(self):
        penalties.check_method(self.method)
        if self.reduction not in ("sum", "mean"):
            raise ValueError(f'config.decorrelation.reduction is {self.reduction!r}; choose "sum" or "mean".')
        if self.strength < 0:
            raise ValueError(
                f"config.decorrelation.strength is {self.strength}; use 0 for no penalty, or a positive "
                "number."
            )


def cross_entropy(logits: jax.Array, targets: jax.Array, smoothing: float = 0.0) -> jax.Array:
    """Cross-entropy of each event with a target of 1 - smoothing, the rest shared by all classes; in nats.

    Args:
      logits: `[n, classes]`.
      targets: int `[n]`, the true class; unspecified where it is no class.
      smoothing: from 0 to below 1.

    Returns:
      `[n]`.

    Raises:
      ValueError: the smoothing is out of its range.
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"config.train.label_smoothing is {smoothing}; it is from 0 to below 1.")
    norm = jax.nn.logsumexp(logits, axis=-1)
    chosen = jnp.take_along_axis(logits, targets[:, None], axis=-1)[:, 0]
    if not smoothing:
        return norm - chosen
    return norm - (1 - smoothing) * chosen - smoothing * jnp.mean(logits, axis=-1)


def loss(
    logits: jax.Array,
    batch: Mapping[str, jax.Array],
    task: Task,
    penalty: Penalty,
    axis_name: str | None = None,
    label_smoothing: float = 0.0,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Mean cross-entropy + strength * penalty of the signal's score in the events that decorrelate it.

    A task without decorrelation has no penalty. With weights both are those of weighted events.

    The penalty is not a sum over events: it sees the whole batch. Under `jit` over a mesh that is so by
    itself; under `pmap` or `shard_map` give the name of the mapped axis, and every device computes the
    penalty of all devices' events.

    Args:
      logits: `[n, classes]`.
      batch: "label" int `[n]`, index into the task's labels; with a penalty the task's observables `[n]`;
        optionally "valid" bool `[n]`, false for padding, which counts nowhere, and `weights.COLUMN` `[n]`,
        not negative.
      task: what is learnt.
      penalty: on the dependence on the task's observable. Strength 0 computes none.
      axis_name: mapped axis over which the batch is spread, if any.
      label_smoothing: as for `cross_entropy`.

    Returns:
      The loss, a scalar, and metrics of the whole batch: "loss", "cross_entropy", "accuracy", and, with a
      penalty, "cvm_penalty" or that of another method (undivided, without the strength). With `axis_name` the
      loss is this device's share: its mean over devices, and so the mean of its gradients (`pmean`), is that
      of one device on the whole batch. The metrics are already the same on every device.
    """
    labels = batch["label"]
    targets = task.of_labels(labels, jnp)
    valid = batch.get("valid", jnp.ones(labels.shape, bool)).astype(bool)
    weights = batch.get(COLUMN)
    counted = jnp.where(valid, 1 if weights is None else weights, 0).astype(logits.dtype)

    def over_devices(local_sum):
        return local_sum if axis_name is None else jax.lax.pmean(local_sum, axis_name)

    def mean(values):
        """Numerator of this device over the denominator of all, whose mean over devices is the mean."""
        count = jnp.maximum(over_devices(jnp.sum(counted)), jnp.finfo(logits.dtype).tiny)
        return jnp.sum(counted * jnp.where(valid, values, 0)) / count

    classification = mean(cross_entropy(logits, targets, label_smoothing))
    accuracy = mean((jnp.argmax(logits, axis=-1) == targets).astype(logits.dtype))
    metrics = {"cross_entropy": classification, "accuracy": accuracy}
    total = classification
    if penalty.strength and task.decorrelate and penalty.method in penalties.PENALTIES:
        scores = jax.nn.softmax(logits, axis=-1)[:, task.signal_index]
        mask = valid & task.decorrelated(labels, jnp)
        value = penalties.penalty(
            penalty.method,
            scores,
            {name: batch[name] for name in task.decorrelate},
            mask,
            weights,
            neighbors=penalty.neighbors,
            order=penalty.order,
            axis_name=axis_name,
        )
        metrics[f"{penalty.method}_penalty"] = value
        if penalty.reduction == "mean":
            events = jnp.sum(mask) if axis_name is None else jax.lax.psum(jnp.sum(mask), axis_name)
            value = value / jnp.maximum(events, 1)
        total = total + penalty.strength * value
    metrics["loss"] = total
    return total, {name: over_devices(jax.lax.stop_gradient(value)) for name, value in metrics.items()}
