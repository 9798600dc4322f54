"""Optimizers, schedules of the learning rate, and averages of the parameters, by plain arguments."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

OPTIMIZERS = ("adam", "adamw")
SCHEDULES = ("constant", "cosine", "one_cycle")
ONE_CYCLE_RISE, ONE_CYCLE_START = 0.3, 25.0
"""Fraction of the steps in which the rate of one cycle rises; the highest rate over the first."""


def learning_rate(schedule: str, highest: float, steps: int, warmup: float = 0.0) -> optax.Schedule | float:
    """The learning rate by step.

    Args:
      schedule: "constant"; "cosine", down to zero at the last step; or "one_cycle", a cosine up from a 25th
        in the first 30 % of the steps and down to zero (L. Smith and N. Topin, arXiv:1708.07120).
      highest: the highest rate.
      steps: of the whole training.
      warmup: fraction of the steps in which the rate rises in a straight line from 0 before the schedule
        starts, from 0 to below 1.

    Returns:
      A schedule of optax, or the number itself where it never changes.

    Raises:
      ValueError: there is no such schedule, or the warm-up is out of its range.
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
    """The optimizer; with the defaults exactly `optax.adam`.

    Args:
      name: one of `OPTIMIZERS`.
      rate: from `learning_rate`.
      weight_decay: of "adamw", times the rate; biases and scales, of one axis, do not decay.
      clip_norm: gradients whose norm over all parameters is above this are scaled down to it; 0: none are.

    Raises:
      ValueError: there is no such optimizer, a number is negative, or "adam" has a weight decay.
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
    """The exponential moving average of the parameters after one more step.

    The decay starts at a tenth and approaches its value, min(decay, (1 + step) / (10 + step)), so that the
    first parameters do not stay in a short training's average.

    Args:
      average: that before the step.
      params: the parameters after the step.
      step: steps done before it, int32 scalar.
      decay: from 0 (the parameters themselves) to below 1.

    Raises:
      ValueError: the decay is out of its range.
    """
    if not 0 <= decay < 1:
        raise ValueError(f"config.train.average is {decay}; it is a decay from 0 to below 1.")
    kept = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda old, new: old * kept + new * (1 - kept), average, params)
