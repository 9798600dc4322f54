"""The heads of a task: parts of a network's outputs, and the predictions computed from them.

The outputs of an event are the logits of the classes, the predictions of the targets, and, with a Gaussian
loss, the logarithms of their variances. Targets are predicted in units of `Task.scales`, of order one.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from e2e_jax.study import Task

LARGEST_LOG_VARIANCE = 12.0
"""Smooth bound on the absolute log variance; it keeps a Gaussian loss finite."""


class Outputs(NamedTuple):
    """The outputs of a network by head.

    Attributes:
      logits: `[n, classes]`.
      targets: `[n, targets]`, in units of `Task.scales`.
      log_variances: `[n, targets]`, in the same units; `[n, 0]` without a Gaussian loss.
    """

    logits: jax.Array
    targets: jax.Array
    log_variances: jax.Array


def split(outputs: jax.Array, task: Task) -> Outputs:
    """The parts of a network's outputs `[n, task.outputs]`."""
    classes, targets = len(task.names), len(task.targets)
    bound = LARGEST_LOG_VARIANCE
    return Outputs(
        outputs[:, :classes],
        outputs[:, classes : classes + targets],
        bound * jnp.tanh(outputs[:, classes + targets :] / bound),
    )


def predictions(outputs: jax.Array, task: Task) -> jax.Array:
    """The predictions from a network's outputs: f4 `[n, len(task.columns)]`, in the order of `task.columns`.

    Args:
      outputs: `[n, task.outputs]`.
      task: the task, with `scales` if it has targets.

    Returns:
      Probabilities of the classes, the targets in their units, and their standard deviations.
    """
    if not task.targets:
        return jax.nn.softmax(outputs, axis=-1)
    parts = split(outputs, task)
    center, width = jnp.asarray([task.scales[name] for name in task.targets], jnp.float32).T
    columns = [center[None, :] + width[None, :] * parts.targets]
    if task.classifies:
        columns.insert(0, jax.nn.softmax(parts.logits, axis=-1))
    if parts.log_variances.shape[1]:
        columns.append(width[None, :] * jnp.exp(parts.log_variances / 2))
    return jnp.concatenate(columns, axis=-1)
