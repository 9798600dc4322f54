"""Decorrelation penalties by name, under one interface."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from e2e_jax.models.decorrelation.cvm import cvm_penalty
from e2e_jax.models.decorrelation.disco import disco_penalty
from e2e_jax.models.decorrelation.mode import mode_penalty

PENALTIES = ("cvm", "disco", "mode")
"""Methods that add a term to the loss: `cvm.cvm_penalty`, `disco.disco_penalty` and `mode.mode_penalty`."""
METHODS = (*PENALTIES, "planing", "none")
"""All methods; "planing" uses event weights (`planing.planing_weights`) and adds no term."""


def check_method(method: str) -> None:
    """Raises a ValueError for an unknown method."""
    if method not in METHODS:
        raise ValueError(f"The decorrelation method is {method!r}; it is one of {', '.join(METHODS)}.")


def penalty(
    method: str,
    scores: jax.Array,
    observables: Mapping[str, jax.Array],
    mask: jax.Array,
    weights: jax.Array | None = None,
    *,
    neighbors: int = 12,
    order: int = 1,
    axis_name: str | None = None,
) -> jax.Array:
    """The penalty on a score's dependence on some observables.

    "cvm" and "mode" add the penalties of the observables; "disco" uses one distance in all observables. A
    penalty is not a sum over events, so it uses the events of all devices.

    Args:
      method: one of `METHODS`.
      scores: `[n]`, the score to decorrelate.
      observables: name -> `[n]`.
      mask: `[n]`, bool or 0/1: the events to use.
      weights: `[n]`, event weights, not negative; 1 by default. Events of weight 0 are ignored.
      neighbors: events per group of "cvm" or per bin of "mode".
      order: order of "mode", see `mode.ORDERS`.
      axis_name: the mapped axis over which the events are distributed, if any.

    Returns:
      A scalar, differentiable in the scores; the gradient of an event has the same order for any number of
      events. 0 for "planing" and "none".

    Raises:
      ValueError: unknown method or order, no observables, or different shapes.
    """
    check_method(method)
    if method not in PENALTIES:
        return jnp.zeros((), scores.dtype)
    if not observables:
        raise ValueError(f"The decorrelation method {method!r} needs at least one observable; there is none.")
    columns = {"scores": scores, "mask": mask.astype(bool), "observables": dict(observables)}
    columns |= {} if weights is None else {"weights": weights}
    for path, column in jax.tree_util.tree_leaves_with_path(columns):
        if column.shape != scores.shape or column.ndim != 1:
            name = jax.tree_util.keystr(path, simple=True, separator=".")
            raise ValueError(f"A penalty takes columns [n]; {name} is {column.shape}, scores {scores.shape}.")
    if axis_name is not None:
        columns = jax.tree.map(lambda column: jax.lax.all_gather(column, axis_name, tiled=True), columns)
    scores, mask, weights = columns["scores"], columns["mask"], columns.get("weights")
    if weights is not None:
        mask &= weights > 0
    if method == "disco":
        return disco_penalty(scores, list(columns["observables"].values()), mask, weights)
    total = jnp.zeros((), scores.dtype)
    for observable in columns["observables"].values():
        if method == "cvm":
            total += cvm_penalty(scores, observable, mask, neighbors, weights)
        else:
            total += mode_penalty(scores, observable, mask, weights, order, neighbors)
    return total
