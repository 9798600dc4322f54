"""Optimizers, learning rate schedules and parameter averages, with plain arguments."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

OPTIMIZERS = ("adam", "adamw")
SCHEDULES = ("constant", "cosine", "one_cycle")
ONE_CYCLE_RISE, ONE_CYCLE_START = 0.3, 25.0
"""Of "one_cycle": fraction of the steps with a rising rate; ratio of the highest to the first rate."""


def learning_rate(schedule: str, highest: float, steps: int, warmup: float = 0.0) -> optax.Schedule | float:
    """The learning rate by step.

    Args:
      schedule: "constant"; "cosine", down to zero at the last step; or "one_cycle", a cosine up from a 25th
        in the first 30 % of the steps and down to zero (L. Smith and N. Topin, arXiv:1708.07120).
      highest: the highest rate.
      steps: number of steps of the whole training.
      warmup: fraction of the steps, from 0 to below 1, in which the rate rises linearly from 0 before the
        schedule starts.

    Returns:
      An optax schedule, or a number if the rate is constant.

    Raises:
      ValueError: the schedule is unknown, or the warm-up is out of range.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"config.train.schedule is {schedule!r}; it is one of {', '.join(SCHEDULES)}.")
    if not 0 <= warmup < 1:
        raise ValueError(f"config.train.warmup is {warmup}; it is a fraction from 0 to below 1.")
    if schedule == "one_cycle":
        if warmup:
            raise ValueError(
                "The schedule 'one_cycle' has a warm-up of its own: set config.train.warmup to 0."
            )
        return optax.cosine_onecycle_schedule(steps, highest, ONE_CYCLE_RISE, ONE_CYCLE_START)
    rising = round(warmup * steps)
    rate = highest if schedule == "constant" else optax.cosine_decay_schedule(highest, steps - rising)
    if not rising:
        return rate
    after = rate if callable(rate) else optax.constant_schedule(rate)
    return optax.join_schedules([optax.linear_schedule(0.0, highest, rising), after], [rising])


def optimizer(
    name: str, rate: optax.Schedule | float, weight_decay: float = 0.0, clip_norm: float = 0.0
) -> optax.GradientTransformation:
    """The optimizer; the defaults give exactly `optax.adam`.

    Args:
      name: one of `OPTIMIZERS`.
      rate: result of `learning_rate`.
      weight_decay: weight decay of "adamw", times the rate; one-dimensional biases and scales do not decay.
      clip_norm: maximum norm of the gradient of all parameters; larger ones are scaled down. 0: no limit.

    Raises:
      ValueError: the optimizer is unknown, a number is negative, or "adam" has a weight decay.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"config.train.optimizer is {name!r}; it is one of {', '.join(OPTIMIZERS)}.")
    if min(weight_decay, clip_norm) < 0:
        raise ValueError(f"Weight decay {weight_decay} and clipping norm {clip_norm} must not be negative.")
    if name == "adam" and weight_decay:
        raise ValueError("config.train.optimizer 'adam' has no weight decay; choose 'adamw', or set it to 0.")
    decaying = optax.adamw(rate, weight_decay=weight_decay, mask=_kernels)
    made = optax.adam(rate) if name == "adam" else decaying
    return optax.chain(optax.clip_by_global_norm(clip_norm), made) if clip_norm else made


def _kernels(params: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def averaged(average: Any, params: Any, step: jax.Array, decay: float) -> Any:
    """The exponential moving average of the parameters after a step.

    The decay is min(decay, (1 + step) / (10 + step)): it starts at a tenth, so that the initial parameters do
    not dominate the average of a short training.

    Args:
      average: the average before the step.
      params: the parameters after the step.
      step: number of previous steps, int32 scalar.
      decay: from 0 (no averaging) to below 1.

    Raises:
      ValueError: the decay is out of range.
    """
    if not 0 <= decay < 1:
        raise ValueError(f"config.train.average is {decay}; it is a decay from 0 to below 1.")
    kept = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda old, new: old * kept + new * (1 - kept), average, params)
