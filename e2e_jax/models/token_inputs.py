"""Tokens in GeV as numbers of order one: what `event_transformer` sees of an event.

Energies are in units of the event's mass scale, so that a network which is given the mass as the unit sees
none. Nothing here changes where an event is rotated in phi by a whole number of towers or reflected in eta.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from e2e_jax.detector.tokens import TOWERS, WINDOW, Tokens

UNIT = 125.0
"""GeV: the unit of energies that are not divided by a mass scale."""
GAIN = 50.0
"""log(1 + 50 E / unit) is linear for single GeV and logarithmic for photons."""
FREQUENCIES = (4.0, 8.0, 16.0, 32.0)
"""Of the sines and cosines of log(pair mass): the last resolves 1 %, as the calorimeter does."""
_SMALL = 1e-6


def token_inputs(tokens: Tokens, unit: jax.Array, channels: int, resolves_mass: bool) -> dict[str, jax.Array]:
    """The inputs of the network.

    Args:
      tokens: of n events.
      unit: GeV, `[n]`, or `[1]` for all events.
      channels: number of channels of the images.
      resolves_mass: whether pairs have sines and cosines of the logarithm of their mass, without which a
        small network is slow to find a narrow peak. They are of use where the unit is not the mass.

    Returns:
      {"tokens": f4[n, t, i], "pairs": f4[n, t, t, p], "filled": bool[n, t]}.
    """
    momentum = tokens.momentum / unit[:, None, None]
    return {
        "tokens": _each(tokens, momentum, unit, channels),
        "pairs": _pairs(momentum, resolves_mass),
        "filled": tokens.filled,
    }


def _each(tokens: Tokens, momentum, unit, channels: int) -> jax.Array:
    n, number = tokens.filled.shape
    pt, eta = _transverse(momentum)
    kind = np.eye(channels, dtype=np.float32)[tokens.channel]
    energy = tokens.windows / jnp.maximum(jnp.sum(tokens.windows, axis=(2, 3), keepdims=True), _SMALL)
    windows = tokens.windows / unit[:, None, None, None, None]
    towers = tokens.towers / unit[:, None, None, None, None]
    columns = [
        _root(energy).reshape(n, number, -1),
        _compressed(windows).reshape(n, number, -1),
        _compressed(towers).reshape(n, number, -1),
        tokens.offset,
        _compressed(pt)[..., None],
        abs(eta)[..., None],
        tokens.endcap[..., None].astype(jnp.float32),
        jnp.broadcast_to(kind[None], (n, *kind.shape)),
    ]
    return jnp.where(tokens.filled[..., None], jnp.concatenate(columns, axis=2), 0)


def _pairs(momentum, resolves_mass: bool) -> jax.Array:
    """|delta eta|, cos(delta phi), |eta + eta'|, log(1 + pair mass^2 / unit^2) of each pair."""
    pt, eta = _transverse(momentum)
    energy = jnp.sqrt(jnp.sum(momentum**2, axis=2) + _SMALL**2)
    transverse = jnp.einsum("nti,nui->ntu", momentum[..., :2], momentum[..., :2])
    along = momentum[:, :, None, 2] * momentum[:, None, :, 2]
    mass = jnp.maximum(2 * (energy[:, :, None] * energy[:, None, :] - transverse - along), 0)
    columns = [
        abs(eta[:, :, None] - eta[:, None, :]),
        transverse / (pt[:, :, None] * pt[:, None, :]),
        abs(eta[:, :, None] + eta[:, None, :]),
        jnp.log1p(mass),
    ]
    if resolves_mass:
        phase = jnp.log(mass + 1e-4) / 2
        for frequency in FREQUENCIES:
            columns += [jnp.sin(frequency * phase), jnp.cos(frequency * phase)]
    return jnp.stack(columns, axis=-1)


def _transverse(momentum):
    pt = jnp.sqrt(momentum[..., 0] ** 2 + momentum[..., 1] ** 2 + _SMALL**2)
    return pt, jnp.arcsinh(momentum[..., 2] / pt)


def _compressed(energy):
    return jnp.log1p(GAIN * jnp.maximum(energy, 0))


def _root(fraction):
    """The square root, with a gradient of 0 where there is nothing."""
    positive = fraction > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, fraction, 1)), 0)
