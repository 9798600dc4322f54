"""The training loss: cross-entropy, plus the mass-decorrelation penalty."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from e2e_jax.classes import ALL, Classes
from e2e_jax.models.decorrelation.cvm import cvm_penalty


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Cross-entropy of each event, in nats.

    Args:
      logits: `[n, classes]`.
      labels: int `[n]`, the true class; unspecified where it is no class.

    Returns:
      `[n]`, -log of the softmax probability of the true class.
    """
    chosen = jnp.take_along_axis(logits, labels[:, None], axis=-1)[:, 0]
    return jax.nn.logsumexp(logits, axis=-1) - chosen


def loss(
    logits: jax.Array,
    batch: Mapping[str, jax.Array],
    cvm,
    axis_name: str | None = None,
    classes: Classes = ALL,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Mean cross-entropy + strength * CVM penalty of the true gamma gamma events' P(H).

    A category whose samples have no mass has no penalty.

    The strength's normalisation over a batch is not published, so it is a choice, `cvm.reduction`:

    * "sum": the penalty's gradient as it is. Each gamma gamma event is pushed by an amount of order
      strength * 0.1, whatever the size of the batch, while the mean cross-entropy pushes each by about
      1 / batch size: strong.
    * "mean": the penalty divided by the number of its events, so that both terms are means over
      events: weak at the same strength.

    The penalty is not a sum over events: it sees the whole batch. Under `jit` over a mesh that is so by
    itself; under `pmap` or `shard_map` give the name of the mapped axis, and every device computes the
    penalty of all devices' events.

    Args:
      logits: `[n, classes]`.
      batch: "label" int `[n]`, index into the category's labels; with a penalty, "mass" `[n]` in GeV;
        optionally "valid" bool `[n]`, false for padding, which counts nowhere.
      cvm: the config's fields `strength`, `neighbors` and `reduction`. Strength 0 computes no penalty.
      axis_name: mapped axis over which the batch is spread, if any.
      classes: what the logits tell apart; every label by default.

    Returns:
      The loss, a scalar, and metrics of the whole batch: "loss", "cross_entropy", "accuracy", and
      "cvm_penalty" (undivided, without the strength) unless the strength is 0. With `axis_name` the
      loss is this device's share: its mean over devices, and so the mean of its gradients (`pmean`),
      is that of one device on the whole batch. The metrics are already the same on every device.

    Raises:
      ValueError: an unknown reduction, a negative strength, or one above 0 where there is no mass.
    """
    if cvm.reduction not in ("sum", "mean"):
        raise ValueError(f'config.cvm.reduction is {cvm.reduction!r}; choose "sum" or "mean".')
    if cvm.strength < 0:
        raise ValueError(
            f"config.cvm.strength is {cvm.strength}; use 0 for no penalty, or a positive number."
        )
    category = classes.category
    if cvm.strength and not category.decorrelated:
        raise ValueError(
            f"config.cvm.strength is {cvm.strength}, but {' and '.join(category.labels)} have no mass to "
            "decorrelate the score from: set it to 0."
        )
    labels = batch["label"]
    targets = classes.of_labels(labels, jnp)
    valid = batch.get("valid", jnp.ones(labels.shape, bool)).astype(bool)

    def over_devices(local_sum):
        return local_sum if axis_name is None else jax.lax.pmean(local_sum, axis_name)

    def mean(values):
        """Numerator of this device over the denominator of all, whose mean over devices is the mean."""
        count = jnp.maximum(over_devices(jnp.sum(valid).astype(logits.dtype)), jnp.finfo(logits.dtype).tiny)
        return jnp.sum(jnp.where(valid, values, 0)) / count

    classification = mean(cross_entropy(logits, targets))
    accuracy = mean((jnp.argmax(logits, axis=-1) == targets).astype(logits.dtype))
    metrics = {"cross_entropy": classification, "accuracy": accuracy}
    total = classification
    if cvm.strength:
        scores = jax.nn.softmax(logits, axis=-1)[:, classes.signal]
        decorrelated = labels == category.labels.index(category.decorrelated)
        columns = scores, batch["mass"], valid & decorrelated
        if axis_name is not None:
            columns = tuple(jax.lax.all_gather(column, axis_name, tiled=True) for column in columns)
        penalty = cvm_penalty(*columns, neighbors=cvm.neighbors)
        metrics["cvm_penalty"] = penalty
        if cvm.reduction == "mean":
            penalty = penalty / jnp.maximum(jnp.sum(columns[2]), 1)
        total = total + cvm.strength * penalty
    metrics["loss"] = total
    return total, {name: over_devices(jax.lax.stop_gradient(value)) for name, value in metrics.items()}
