"""Moment decomposition: a penalty that allows a polynomial dependence of a score on an observable.

Source: O. Kitouni, B. Nachman, C. Weisser and M. Williams, "Enhancing searches for resonances with machine
learning and moment decomposition", JHEP 04 (2021) 070, arXiv:2010.09745.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from e2e_jax.models.decorrelation.cvm import mid_ranks, scramble

ORDERS = (0, 1, 2)
"""Allowed dependence of the pass fraction of any cut on the observable: flat, linear or quadratic."""


@functools.partial(jax.jit, static_argnames=("order", "neighbors"))
def mode_penalty(
    scores: jax.Array,
    observable: jax.Array,
    mask: jax.Array,
    weights: jax.Array | None = None,
    order: int = 1,
    neighbors: int = 12,
) -> jax.Array:
    """Mean squared distance of the scores' distributions in bins of an observable from a polynomial in it.

    The events are divided into bins of about k neighboring events in the observable. F_b(s) is the fraction
    of bin b with scores below s (equal scores count half), and x_b the middle of the bin by rank, from -1 to
    1. R_b(s) is the residual of F_b(s) after a least-squares fit of a polynomial of the given order in x. The
    value is the mean of R_b(s_i)^2 over bins and events.

    As in `cvm.cvm_penalty`, ranks have no useful derivative. The gradient is that of the integral over s,
    dL / ds_i = -2 R_b(i)(s_i), with b(i) the bin of event i. At order 0 the polynomial is the mean over bins,
    and the penalty is the flatness loss of bins.

    Args:
      scores, observable: `[n]`, finite where the mask is true.
      mask: `[n]`, the events to use.
      weights: `[n]`, event weights, not negative; 1 by default.
      order: one of `ORDERS`.
      neighbors: k, events per bin. At least order + 2 bins are used; fewer would leave no residual.

    Returns:
      A scalar, differentiable in the scores.

    Raises:
      ValueError: the order is not in `ORDERS`.
    """
    if order not in ORDERS:
        raise ValueError(f"The order of the moment decomposition is {order}; it is one of 0, 1, 2.")
    weights = jnp.ones_like(scores) if weights is None else weights
    kept = jax.lax.stop_gradient((scores, observable, mask.astype(bool), weights))
    value, gradient = _value_and_gradient(*kept, order, neighbors)
    # The value, with `gradient` as its derivative.
    return value + jnp.sum(gradient * (scores - jax.lax.stop_gradient(scores)))


def _value_and_gradient(scores, observable, mask, weights, order, neighbors):
    n = len(scores)
    most = max(n // neighbors, order + 2)
    total = jnp.sum(mask)
    bins = jnp.clip(total // neighbors, order + 2, most)
    weights = jnp.where(mask, weights, 0)
    # Events with equal observable are ordered by a hash, independent of score and order of the events.
    scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).max)
    hashed = scramble((2 * mid_ranks(scores)).astype(jnp.uint32))
    ranks = jnp.argsort(jnp.lexsort((hashed, jnp.where(mask, observable, 0), ~mask)))
    number = jnp.minimum(ranks * bins // jnp.maximum(total, 1), most)
    member = jnp.where(mask[None, :], number[None, :] == jnp.arange(most)[:, None], False) * weights[None, :]
    size = jnp.sum(member, axis=1)
    filled = size > 0
    lower, equal = scores[:, None] < scores[None, :], scores[:, None] == scores[None, :]
    below = jnp.where(lower, 1, jnp.where(equal, 0.5, 0)).astype(scores.dtype)
    passed = member @ below / jnp.where(filled, size, 1)[:, None]

    remains = jnp.where(filled[:, None], passed, 0)
    place = (2 * jnp.arange(most) + 1) / bins - 1
    for direction in _orthonormal(place, filled, order):
        remains = remains - direction[:, None] * (direction @ remains)[None, :]

    share = weights / jnp.maximum(jnp.sum(weights), jnp.finfo(weights.dtype).tiny)
    value = jnp.sum(remains**2 @ share) / jnp.maximum(jnp.sum(filled), 1)
    own = jnp.take_along_axis(remains, jnp.minimum(number, most - 1)[None, :], axis=0)[0]
    return value, jnp.where(mask, -2 * own * share * total, 0)


def _orthonormal(place, filled, order) -> list[jax.Array]:
    """Orthonormal polynomials up to the given order at the positions of the filled bins, each `[bins]`."""
    directions: list[jax.Array] = []
    for power in range(order + 1):
        column = jnp.where(filled, place**power, 0)
        for earlier in directions:
            column = column - earlier * (earlier @ column)
        norm = jnp.sqrt(column @ column)
        directions.append(jnp.where(norm > 1e-4, column / jnp.maximum(norm, 1e-4), 0))
    return directions
