"""Images of showers (`events.showers.Showers`) from their crystals, on the device."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from e2e_jax.detector.crops import GEV_PER_COUNT, PEDESTAL, SAMPLES, SHAPES, SIDE, check_view


def shower_images(batch: Mapping, view: str = "crop", channels: Sequence[str] = ("energy",)) -> jax.Array:
    """Images of the rec hits, one pixel per crystal; may be called inside `jit`.

    Args:
      batch: `Showers`, or the padded batch of `Showers.to_batch`; reads "crystals".
      view: key of `crops.SHAPES`, the view of the batch's cells.
      channels: some of `crops.CHANNELS`, in the order wanted. Hits with energy <= 0 are skipped in both.

    Returns:
      float32 `[n, rows, columns, channels]` in GeV and ns.

    Raises:
      ValueError: the view or a channel does not exist, or the batch has no crystals.
    """
    channels = check_view(view, channels)
    hits = _collection(batch, "crystals", ("cell", *channels, "energy"))
    return _scatter(hits, view, channels)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _scatter(hits: Mapping, view: str, channels: tuple[str, ...]) -> jax.Array:
    rows, columns = SHAPES[view]

    def one_shower(hits):
        cell, shown = hits["cell"].astype(jnp.int32), hits["energy"] > 0
        values = jnp.stack([jnp.where(shown, hits[name], 0) for name in channels], axis=-1)
        image = jnp.zeros((rows, columns, len(channels)), jnp.float32)
        return image.at[cell // columns, cell % columns].add(values.astype(jnp.float32), mode="drop")

    return jax.vmap(one_shower)(hits)


def digi_images(batch: Mapping) -> jax.Array:
    """Images of the ten samples of each crystal of a crop, pedestals subtracted; may be called inside `jit`.

    Args:
      batch: `Showers`, or the padded batch of `Showers.to_batch`, in the view "crop"; reads "digis".

    Returns:
      float32 `[n, 10, 32, 32]`, in GeV of a pulse with its maximum there; 0 for crystals without a digi.

    Raises:
      ValueError: the batch has no digis.
    """
    return _digi_scatter(_collection(batch, "digis", ("cell", "samples")))


@jax.jit
def _digi_scatter(digis: Mapping) -> jax.Array:
    def one_shower(digis):
        # Padding is all 0; the samples of a crystal never are, because of the pedestal.
        counts = digis["samples"].astype(jnp.float32)
        read = jnp.any(counts > 0, axis=-1, keepdims=True)
        energy = jnp.where(read, (counts - PEDESTAL) * GEV_PER_COUNT, 0)
        image = jnp.zeros((SAMPLES, SIDE * SIDE), jnp.float32)
        return image.at[:, digis["cell"].astype(jnp.int32)].add(energy.T, mode="drop")

    flat = jax.vmap(one_shower)(digis)
    return flat.reshape(flat.shape[0], SAMPLES, SIDE, SIDE)


def _collection(batch, name: str, columns: Sequence[str]) -> dict:
    batch = batch.to_batch() if hasattr(batch, "to_batch") else batch
    if missing := sorted(set(columns) - set(batch.get(name, {}))):
        raise ValueError(
            f"The batch has no {name!r} with {', '.join(map(repr, missing))}; it holds {sorted(batch)}. "
            "Make it with Showers.to_batch()."
        )
    return {column: batch[name][column] for column in columns}
