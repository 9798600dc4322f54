"""Images from hits: fixed maps from detector cells to pixels, applied on the device.

The recipes are those of the end-to-end papers (M. Andrews et al., arXiv:1807.11916, Section 4).
Each channel keeps the energy of its hits; hits with energy <= 0 are skipped (zero suppression).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from e2e_jax.detector import geometry

CHANNELS = ("tracks", "ecal", "hcal")
"""Channels in the papers' order."""

HCAL_BARREL_RINGS = 17
"""HCAL towers up to this |ieta| lie over the ECAL barrel: 5 x 5 crystals each."""
HCAL_PHI_SHIFT = 2
"""HCAL iphi = 1 lies in front of the EB crystals iphi 11 to 15, two towers on."""
_CRYSTALS = 5

_DROP = geometry.EB_CELLS
"""A pixel outside the image: the scatter drops it."""


def make_images(
    events_or_batch, geometry: str = "barrel", channels: Sequence[str] = CHANNELS
) -> dict[str, jax.Array]:
    """Builds the images of a batch of events.

    Args:
      events_or_batch: `Events`, or the padded batch of `Events.to_batch`.
      geometry: one of `GEOMETRIES`.
      channels: some of `CHANNELS`, in the order wanted.

    Returns:
      `{"barrel": float32 [n, 170, 360, channels]}`, see `barrel_images`.

    Raises:
      ValueError: the geometry or a channel does not exist, or the batch lacks a collection.
    """
    if geometry not in GEOMETRIES:
        raise ValueError(f"No image geometry {geometry!r}; there is {', '.join(map(repr, GEOMETRIES))}.")
    batch = events_or_batch.to_batch() if hasattr(events_or_batch, "to_batch") else events_or_batch
    return GEOMETRIES[geometry](batch, channels)


def barrel_images(batch: Mapping, channels: Sequence[str] = CHANNELS) -> jax.Array:
    """Images of the ECAL barrel, one pixel a crystal.

    tracks: pT in GeV at the crystal that the track's direction points to, |eta| <= 1.479.
    ecal: energy of the barrel hits in GeV.
    hcal: energy in GeV of the tower over the crystal, depths summed, |ieta| <= 17; each of the tower's
      5 x 5 crystals shows the whole energy, so the channel sums to 25 times its hits.

    Args:
      batch: the padded batch of `Events.to_batch`; only the collections of the channels are read.
      channels: some of `CHANNELS`, in the order wanted.

    Returns:
      float32 `[n, 170, 360, len(channels)]`, row and column as in `geometry.EB_ROWS`.

    Raises:
      ValueError: a channel does not exist or comes twice, or the batch lacks its collection.
    """
    channels = _checked(channels)
    collections = {_COLLECTION[name]: _columns(batch, _COLLECTION[name]) for name in channels}
    return _barrel_images(collections, channels)


GEOMETRIES: dict[str, Callable[[Mapping, Sequence[str]], dict[str, jax.Array]]] = {
    "barrel": lambda batch, channels: {"barrel": barrel_images(batch, channels)},
}
"""What `make_images` can build: name -> function of (batch, channels)."""


@functools.partial(jax.jit, static_argnames="channels")
def _barrel_images(collections: Mapping, channels: tuple[str, ...]) -> jax.Array:
    def one_event(hits):
        entries = [_PIXELS[name](hits[_COLLECTION[name]]) for name in channels]
        # One scatter straight into the final shape writes the large array once; on a CPU, stacking one
        # image a channel or reshaping afterwards takes two to three times as long.
        pixel = jnp.concatenate([pixel for pixel, _ in entries])
        value = jnp.concatenate([value for _, value in entries])
        channel = jnp.concatenate([jnp.full_like(pixel, k) for k, (pixel, _) in enumerate(entries)])
        row, column = pixel // geometry.EB_COLUMNS, pixel % geometry.EB_COLUMNS
        image = jnp.zeros((geometry.EB_ROWS, geometry.EB_COLUMNS, len(channels)), jnp.float32)
        return image.at[row, column, channel].add(value, mode="drop")

    return jax.vmap(one_event)(collections)


def _track_pixels(tracks: Mapping) -> tuple[jax.Array, jax.Array]:
    cell = geometry.barrel_cell(tracks["eta"], tracks["phi"], jnp)
    return jnp.where((tracks["pt"] > 0) & (cell >= 0), cell, _DROP), tracks["pt"]


def _ecal_pixels(hits: Mapping) -> tuple[jax.Array, jax.Array]:
    return jnp.where(hits["energy"] > 0, hits["cell"].astype(jnp.int32), _DROP), hits["energy"]


def _hcal_pixels(hits: Mapping) -> tuple[jax.Array, jax.Array]:
    tower = hits["cell"].astype(jnp.int32) % geometry.HCAL_TOWERS
    row = tower // geometry.HCAL_COLUMNS - (geometry.HCAL_ROWS // 2 - HCAL_BARREL_RINGS)
    column = (tower + HCAL_PHI_SHIFT) % geometry.HCAL_COLUMNS
    kept = (hits["energy"] > 0) & (row >= 0) & (row < 2 * HCAL_BARREL_RINGS)
    corner = _CRYSTALS * (row * geometry.EB_COLUMNS + column)
    step = jnp.arange(_CRYSTALS, dtype=jnp.int32)
    block = (step[:, None] * geometry.EB_COLUMNS + step[None, :]).reshape(1, -1)
    pixel = jnp.where(kept[:, None], corner[:, None] + block, _DROP)
    return pixel.reshape(-1), jnp.repeat(hits["energy"], _CRYSTALS**2)


_COLLECTION = {"tracks": "tracks", "ecal": "eb", "hcal": "hcal"}
_COLUMNS = {"tracks": ("pt", "eta", "phi"), "eb": ("cell", "energy"), "hcal": ("cell", "energy")}
_PIXELS = {"tracks": _track_pixels, "ecal": _ecal_pixels, "hcal": _hcal_pixels}


def _checked(channels: Sequence[str]) -> tuple[str, ...]:
    names = (channels,) if isinstance(channels, str) else tuple(channels)
    for name in names:
        if name not in CHANNELS:
            raise ValueError(f"No image channel {name!r}; there are {', '.join(map(repr, CHANNELS))}.")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"Image channels {names}: name at least one of {CHANNELS}, each once.")
    return names


def _columns(batch: Mapping, collection: str) -> dict:
    missing = [name for name in _COLUMNS[collection] if name not in batch.get(collection, {})]
    if missing:
        raise ValueError(
            f"The batch has no {collection!r} with {', '.join(map(repr, missing))}; "
            f"it holds {sorted(batch)}. Make it with Events.to_batch()."
        )
    columns = {name: batch[collection][name] for name in _COLUMNS[collection]}
    shapes = {name: jnp.shape(column) for name, column in columns.items()}
    if len(set(shapes.values())) > 1 or len(next(iter(shapes.values()))) != 2:
        raise ValueError(f"The columns of {collection!r} must all be [events, length]; they are {shapes}.")
    return columns
