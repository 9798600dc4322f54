"""The training loss: the sum over the heads of a task, each of which is a mean over events.

Classes have the cross-entropy, plus the penalty that decorrelates the score from an observable. Targets have
Huber's loss or the negative logarithm of a Gaussian likelihood.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from e2e_jax.models import heads
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


def regression_loss(targets: jax.Array, log_variances: jax.Array, truth: jax.Array) -> jax.Array:
    """The loss of each event, the mean over its targets; all in units of the targets' widths.

    Args:
      targets: `[n, targets]`, the predictions.
      log_variances: `[n, targets]` for the negative logarithm of a Gaussian likelihood, without its constant;
        `[n, 0]` for Huber's loss, quadratic up to one width and linear beyond.
      truth: `[n, targets]`.

    Returns:
      `[n]`.
    """
    if log_variances.shape[1]:
        each = (log_variances + (targets - truth) ** 2 * jnp.exp(-log_variances)) / 2
    else:
        each = optax.losses.huber_loss(targets, truth)
    return jnp.mean(each, axis=-1)


def standardized(values: Mapping[str, jax.Array], task: Task) -> jax.Array:
    """The targets `[n, targets]` of a batch or sample, in units of `Task.scales`."""
    center, width = jnp.asarray([task.scales[name] for name in task.targets], jnp.float32).T
    truth = jnp.stack([jnp.asarray(values[name]) for name in task.targets], axis=-1)
    return (truth - center[None, :]) / width[None, :]


def loss(
    outputs: jax.Array,
    batch: Mapping[str, jax.Array],
    task: Task,
    penalty: Penalty,
    axis_name: str | None = None,
    label_smoothing: float = 0.0,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The sum of the losses of the task's heads.

    That of the classes is the mean cross-entropy + strength * penalty of the signal's score in the events
    that decorrelate it. A task without decorrelation has no penalty. That of the targets is the mean of
    `regression_loss`, in a joint task times `Task.weight`. With weights all are those of weighted events.

    The penalty is not a sum over events: it sees the whole batch. Under `jit` over a mesh that is so by
    itself; under `pmap` or `shard_map` give the name of the mapped axis, and every device computes the
    penalty of all devices' events.

    Args:
      outputs: `[n, task.outputs]`; of a classification the logits.
      batch: "label" int `[n]`, index into the task's labels; the targets, and with a penalty the task's
        observables, each `[n]`; optionally "valid" bool `[n]`, false for padding, which counts nowhere, and
        `weights.COLUMN` `[n]`, not negative.
      task: what is learnt.
      penalty: on the dependence on the task's observable. Strength 0 computes none.
      axis_name: mapped axis over which the batch is spread, if any.
      label_smoothing: as for `cross_entropy`.

    Returns:
      The loss, a scalar, and metrics of the whole batch: "loss"; of classes "cross_entropy", "accuracy", and,
      with a penalty, "cvm_penalty" or that of another method (undivided, without the strength); of targets
      "regression_loss" and "error", the mean absolute error in widths. With `axis_name` the loss is this
      device's share: its mean over devices, and so the mean of its gradients (`pmean`), is that of one device
      on the whole batch. The metrics are already the same on every device.
    """
    valid = batch.get("valid", jnp.ones(batch["label"].shape, bool)).astype(bool)
    counted = jnp.where(valid, batch.get(COLUMN, 1), 0).astype(outputs.dtype)

    def over_devices(local_sum):
        return local_sum if axis_name is None else jax.lax.pmean(local_sum, axis_name)

    def mean(values):
        """Numerator of this device over the denominator of all, whose mean over devices is the mean."""
        count = jnp.maximum(over_devices(jnp.sum(counted)), jnp.finfo(counted.dtype).tiny)
        return jnp.sum(counted * jnp.where(valid, values, 0)) / count

    parts, total, metrics = heads.split(outputs, task), jnp.float32(0), {}
    if task.classifies:
        total, metrics = _classification(
            parts.logits, batch, task, penalty, valid, mean, axis_name, label_smoothing
        )
    if task.targets:
        truth = standardized(batch, task)
        value = mean(regression_loss(parts.targets, parts.log_variances, truth))
        error = mean(jnp.mean(jnp.abs(parts.targets - truth), axis=-1))
        total = total + (task.weight if task.classifies else 1.0) * value
        metrics |= {"regression_loss": value, "error": error}
    metrics["loss"] = total
    return total, {name: over_devices(jax.lax.stop_gradient(value)) for name, value in metrics.items()}


def _classification(logits, batch, task, penalty, valid, mean, axis_name, label_smoothing):
    """The loss of the classes and its metrics."""
    labels = batch["label"]
    targets = task.of_labels(labels, jnp)
    classification = mean(cross_entropy(logits, targets, label_smoothing))
    accuracy = mean((jnp.argmax(logits, axis=-1) == targets).astype(logits.dtype))
    metrics = {"cross_entropy": classification, "accuracy": accuracy}
    if not (penalty.strength and task.decorrelate and penalty.method in penalties.PENALTIES):
        return classification, metrics
    scores = jax.nn.softmax(logits, axis=-1)[:, task.signal_index]
    mask = valid & task.decorrelated(labels, jnp)
    value = penalties.penalty(
        penalty.method,
        scores,
        {name: batch[name] for name in task.decorrelate},
        mask,
        batch.get(COLUMN),
        neighbors=penalty.neighbors,
        order=penalty.order,
        axis_name=axis_name,
    )
    metrics[f"{penalty.method}_penalty"] = value
    if penalty.reduction == "mean":
        events = jnp.sum(mask) if axis_name is None else jax.lax.psum(jnp.sum(mask), axis_name)
        value = value / jnp.maximum(events, 1)
    return classification + penalty.strength * value, metrics
