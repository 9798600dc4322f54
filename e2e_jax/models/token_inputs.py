"""The inputs of `event_transformer`: tokens in GeV scaled to order one.

Energies are in units of the event's mass scale, so tokens hide the mass like images that are divided by it.
The inputs are invariant under rotation in phi by a whole number of towers and under reflection in eta.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from e2e_jax.detector.tokens import WINDOW, Tokens

UNIT = 125.0
"""Unit of energies that are not divided by a mass scale, in GeV."""
GAIN = 50.0
"""log(1 + 50 E / unit) is linear for a few GeV and logarithmic for photons."""
FREQUENCIES = (4.0, 8.0, 16.0, 32.0)
"""Frequencies of the sines and cosines of log(pair mass); the last resolves 1 %, like the calorimeter."""
SHAPE = (7, WINDOW)
"""Side in pixels of the window whose energy fractions describe the shape of a shower."""
TRACK_RINGS = (0.0, 1.5, 3.5, 8.0)
TOWER_RINGS = (0.0, 0.5, 1.5, 2.5, 4.5)
"""Edges of the rings around a token, in pixels and in towers. Sums over rings measure the isolation; with
single pixels a network memorizes its training sample."""
_SMALL = 1e-6


def token_inputs(
    tokens: Tokens, unit: jax.Array, channels: Sequence[str], resolves_mass: bool
) -> dict[str, jax.Array]:
    """The inputs of the network.

    Args:
      tokens: tokens of n events.
      unit: GeV, `[n]`, or `[1]` for all events.
      channels: channels of the images.
      resolves_mass: whether pairs have sines and cosines of the logarithm of their mass. Without them a
        small network learns a narrow peak slowly. They are useful if the unit is not the mass.

    Returns:
      {"tokens": f4[n, t, i], "shapes": f4[n, t, s], "pairs": f4[n, t, t, p], "filled": bool[n, t]}.
    """
    momentum = tokens.momentum / unit[:, None, None]
    return {
        "tokens": _each(tokens, momentum, unit, channels),
        "shapes": _shapes(tokens, channels),
        "pairs": _pairs(momentum, resolves_mass),
        "filled": tokens.filled,
    }


def _each(tokens: Tokens, momentum, unit, channels) -> jax.Array:
    """Position, strength, sums of each channel over rings of towers and of tracks over rings of pixels."""
    n = tokens.filled.shape[0]
    pt, eta = _transverse(momentum)
    kind = np.eye(len(channels), dtype=np.float32)[tokens.channel]
    columns = [
        _compressed(_ring_sums(tokens.towers, TOWER_RINGS) / unit[:, None, None]),
        tokens.offset,
        _compressed(pt)[..., None],
        abs(eta)[..., None],
        tokens.endcap[..., None].astype(jnp.float32),
        jnp.broadcast_to(kind[None], (n, *kind.shape)),
    ]
    if "tracks" in channels:
        tracks = tokens.windows[..., _fine(channels).index("tracks"), None]
        columns.append(_compressed(_ring_sums(tracks, TRACK_RINGS) / unit[:, None, None]))
    return jnp.where(tokens.filled[..., None], jnp.concatenate(columns, axis=2), 0)


def _shapes(tokens: Tokens, channels) -> jax.Array:
    """Square roots of the crystals' fractions of the energy in their window, `[n, t, s]`."""
    n, number = tokens.filled.shape
    if "ecal" not in channels:
        return jnp.zeros((n, number, 0))
    energy = tokens.windows[..., _fine(channels).index("ecal")]
    share = energy / jnp.maximum(jnp.sum(energy, axis=(2, 3), keepdims=True), _SMALL)
    first, last = ((WINDOW - side) // 2 for side in SHAPE)
    share = share[:, :, first : WINDOW - first, last : WINDOW - last].reshape(n, number, -1)
    positive = share > 0
    # The root has no gradient at 0.
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, share, 1)), 0)


def _pairs(momentum, resolves_mass: bool) -> jax.Array:
    """|delta eta|, cos(delta phi), |eta + eta'|, log(1 + pair mass^2 / unit^2) of each pair."""
    pt, eta = _transverse(momentum)
    energy = jnp.sqrt(jnp.sum(momentum**2, axis=2) + _SMALL**2)
    transverse = jnp.einsum("nti,nui->ntu", momentum[..., :2], momentum[..., :2])
    along = momentum[:, :, None, 2] * momentum[:, None, :, 2]
    mass_squared = jnp.maximum(2 * (energy[:, :, None] * energy[:, None, :] - transverse - along), 0)
    columns = [
        abs(eta[:, :, None] - eta[:, None, :]),
        transverse / (pt[:, :, None] * pt[:, None, :]),
        abs(eta[:, :, None] + eta[:, None, :]),
        jnp.log1p(mass_squared),
    ]
    if resolves_mass:
        logarithm = jnp.log(mass_squared + 1e-4) / 2
        columns += [wave(f * logarithm) for f in FREQUENCIES for wave in (jnp.sin, jnp.cos)]
    return jnp.stack(columns, axis=-1)


def _ring_sums(values, edges) -> jax.Array:
    """Sums of windows `[n, t, side, side, c]` over rings around their center, `[n, t, c * rings]`."""
    side = values.shape[2]
    step = np.arange(side) - side // 2
    distance = np.hypot(step[:, None], step[None, :])
    rings = [(distance >= low) & (distance < high) for low, high in itertools.pairwise(edges)]
    sums = jnp.einsum("ntijc,rij->ntcr", values, np.stack(rings).astype(np.float32))
    return sums.reshape(*values.shape[:2], -1)


def _fine(channels) -> list[str]:
    """The channels of `Tokens.windows`."""
    return [name for name in channels if name != "hcal"]


def _transverse(momentum):
    pt = jnp.sqrt(momentum[..., 0] ** 2 + momentum[..., 1] ** 2 + _SMALL**2)
    return pt, jnp.arcsinh(momentum[..., 2] / pt)


def _compressed(energy):
    return jnp.log1p(GAIN * jnp.maximum(energy, 0))
