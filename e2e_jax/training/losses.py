"""The training loss: a sum over the heads of a task; each term is a mean over events.

The loss of the classes is the cross-entropy, plus the penalty that decorrelates the score from an observable.
The loss of the targets is Huber's loss or the negative logarithm of a Gaussian likelihood.
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

    The normalization of the strength over a batch is not published, so `reduction` is a choice:

    * "sum": the unscaled gradient of the penalty. It is of order strength * 0.1 per event for any batch size;
      the gradient of the mean cross-entropy is about 1 / batch size per event. The penalty is strong.
    * "mean": the penalty divided by the number of its events, so both terms are means over events. At the
      same strength the penalty is weak.

    Attributes:
      strength: weight of the penalty; 0 for none.
      neighbors: events per group of "cvm" (nearest in the observable) or per bin of "mode".
      reduction: "sum" or "mean".
      method: one of `penalties.METHODS`.
      order: order of "mode".

    Raises:
      ValueError: the method or the reduction is unknown, or the strength is negative.
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
    """Cross-entropy per event, in nats. The target is 1 - smoothing; all classes share the rest equally.

    Args:
      logits: `[n, classes]`.
      targets: int `[n]`, the true class; for an invalid class the result is unspecified.
      smoothing: from 0 to below 1.

    Returns:
      `[n]`.

    Raises:
      ValueError: the smoothing is out of range.
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"config.train.label_smoothing is {smoothing}; it is from 0 to below 1.")
    norm = jax.nn.logsumexp(logits, axis=-1)
    chosen = jnp.take_along_axis(logits, targets[:, None], axis=-1)[:, 0]
    if not smoothing:
        return norm - chosen
    return norm - (1 - smoothing) * chosen - smoothing * jnp.mean(logits, axis=-1)


def regression_loss(targets: jax.Array, log_variances: jax.Array, truth: jax.Array) -> jax.Array:
    """The loss per event, averaged over its targets; all values in units of the targets' widths.

    Args:
      targets: `[n, targets]`, the predictions.
      log_variances: `[n, targets]` for the negative logarithm of a Gaussian likelihood without its constant;
        `[n, 0]` for Huber's loss, which is quadratic up to one width and linear beyond.
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

    The loss of the classes is the mean cross-entropy + strength * penalty of the signal's score, in the
    events in which it is decorrelated. A task without decorrelation has no penalty. The loss of the targets
    is the mean of `regression_loss`, in a joint task times `Task.weight`. Weights of events apply to all
    terms.

    The penalty is not a sum over events: it needs the whole batch. Under `jit` over a mesh this is automatic.
    Under `pmap` or `shard_map` pass the name of the mapped axis; every device then computes the penalty of
    the events of all devices.

    Args:
      outputs: `[n, task.outputs]`; the logits in a classification.
      batch: "label" int `[n]`, index into the task's labels; the targets, and with a penalty the task's
        observables, each `[n]`; optionally "valid" bool `[n]`, false for padding, which is ignored, and
        `weights.COLUMN` `[n]`, not negative.
      task: the task.
      penalty: penalty on the dependence on the task's observable. With strength 0 it is not computed.
      axis_name: mapped axis over which the batch is distributed, if any.
      label_smoothing: as for `cross_entropy`.

    Returns:
      The loss, a scalar, and metrics of the whole batch: "loss"; for classes "cross_entropy", "accuracy",
      and, with a penalty, "cvm_penalty" or that of another method (undivided, without the strength); for
      targets "regression_loss" and "error", the mean absolute error in widths. With `axis_name` the loss is
      this device's share: its mean over devices equals the loss of one device on the whole batch, and so does
      the mean of its gradients (`pmean`). The metrics are already the same on every device.
    """
    valid = batch.get("valid", jnp.ones(batch["label"].shape, bool)).astype(bool)
    counted = jnp.where(valid, batch.get(COLUMN, 1), 0).astype(outputs.dtype)

    def over_devices(local_sum):
        return local_sum if axis_name is None else jax.lax.pmean(local_sum, axis_name)

    def mean(values):
        """This device's numerator over the mean denominator; its mean over devices is the global mean."""
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
