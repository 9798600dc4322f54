"""Distance correlation of a score with observables; zero only if they are independent.

Sources: G. Szekely, M. Rizzo and N. Bakirov, Ann. Stat. 35 (2007) 2769, arXiv:0803.4101; as a penalty,
G. Kasieczka and D. Shih, "DisCo fever", Phys. Rev. Lett. 125 (2020) 122001, arXiv:2001.05310.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

CHUNK = 512
"""Rows of the matrix of pairs that are in memory at a time."""


@functools.partial(jax.jit, static_argnames="chunk")
def distance_correlation(
    first: jax.Array, second: jax.Array, weights: jax.Array, chunk: int = CHUNK
) -> jax.Array:
    """The squared distance correlation of two samples, dCov^2(x, y) / sqrt(dCov^2(x, x) dCov^2(y, y)).

    With weights that sum to one and the Euclidean distances a_ij = |x_i - x_j| and b_ij = |y_i - y_j|,

        dCov^2(x, y) = sum_ij w_i w_j A_ij B_ij,    A_ij = a_ij - a_i. - a_.j + a..

    where a dot is a weighted mean. With equal weights it is `dcor.distance_correlation_sqr`.
    For n independent events it is about 1 / n on average, not 0.

    Args:
      first, second: `[n]`, or `[n, d]` with d coordinates; finite.
      weights: `[n]`, not negative; events of weight 0 are ignored and may hold any value.
      chunk: rows of the `[n, n]` pairs that are in memory at a time.

    Returns:
      A scalar from 0 to 1, differentiable in `first` and `second`; 0 if one of them is constant.
    """
    weights = weights / jnp.maximum(jnp.sum(weights), jnp.finfo(weights.dtype).tiny)
    counted = weights > 0
    x, y = (_scaled(values.reshape(len(values), -1), counted, weights) for values in (first, second))
    length = len(x)
    chunk = min(chunk, length)
    rows = -(-length // chunk) * chunk
    columns = (jnp.pad(c, [(0, rows - length), *[(0, 0)] * (c.ndim - 1)]) for c in (x, y, weights))
    padded = tuple(column.reshape(-1, chunk, *column.shape[1:]) for column in columns)

    @jax.checkpoint
    def sums_of(rows_of_pairs):
        """The weighted means of some rows, and the sums over pairs of a b, a a and b b."""
        own_x, own_y, own_weight = rows_of_pairs
        a, b = _distances(own_x, x), _distances(own_y, y)
        products = [own_weight @ (c * d) @ weights for c, d in ((a, b), (a, a), (b, b))]
        return a @ weights, b @ weights, jnp.stack(products)

    a_mean, b_mean, products = jax.lax.map(sums_of, padded)
    a_mean, b_mean = (mean.reshape(-1)[:length] for mean in (a_mean, b_mean))
    covariances = [
        product - 2 * weights @ (left * right) + (weights @ left) * (weights @ right)
        for product, left, right in zip(
            jnp.sum(products, axis=0), (a_mean, a_mean, b_mean), (b_mean, a_mean, b_mean)
        )
    ]
    covariance, of_x, of_y = covariances
    # For constant columns rounding leaves a small remainder; the columns have unit width.
    varies = (of_x > 1e-6) & (of_y > 1e-6)
    norm = jnp.sqrt(jnp.where(varies, of_x * of_y, 1))
    return jnp.where(varies, jnp.maximum(covariance, 0) / norm, 0)


def _scaled(values, counted, weights):
    """Values `[n, d]` minus their mean, in units of their common width, to reduce rounding errors."""
    values = jnp.where(counted[:, None], values, 0)
    values = values - jax.lax.stop_gradient(weights @ values)[None, :]
    width = jnp.sqrt(jnp.sum(weights @ jax.lax.stop_gradient(values) ** 2))
    return values / jnp.where(width > 0, width, 1)


def _distances(some, others):
    """Euclidean distances `[rows, n]`, with the derivative 0 at 0."""
    difference = some[:, None, :] - others[None, :, :]
    if difference.shape[-1] == 1:
        return abs(difference[..., 0])
    squared = jnp.sum(difference**2, axis=-1)
    apart = squared > 0
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, squared, 1)), 0)


def disco_penalty(
    scores: jax.Array,
    observables: Sequence[jax.Array],
    mask: jax.Array,
    weights: jax.Array | None = None,
) -> jax.Array:
    """The squared distance correlation of score and observables, times the number of events.

    Several observables are the coordinates of one point, each in units of its width. The penalty thus covers
    a dependence on any function of them.

    The correlation is a mean over pairs, so the gradient per event falls with the number of events. The
    factor compensates for this: as in the other penalties, the gradient of an event has the same order for
    any number of events.

    Args:
      scores: `[n]`.
      observables: each `[n]`.
      mask: `[n]`, the events to use.
      weights: `[n]`, event weights; 1 by default.

    Returns:
      A scalar, differentiable in the scores.
    """
    weights = jnp.where(mask, 1.0 if weights is None else weights, 0.0).astype(scores.dtype)
    share = weights / jnp.maximum(jnp.sum(weights), jnp.finfo(weights.dtype).tiny)
    points = [_scaled(jax.lax.stop_gradient(values)[:, None], mask, share) for values in observables]
    squared = distance_correlation(scores, jnp.concatenate(points, axis=1), weights)
    return squared * jnp.sum(mask.astype(scores.dtype))
