"""Sums the entries of hits into images on the device: plainly, in blocks, or in a fixed order.

Hits are padded, one row per event, or flat: the hits of a group of events in one row (`layout.Layout`).
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from e2e_jax.detector.pixels import Canvas

COUNT = "count"
"""The column of a collection of flat hits with the number of hits of each event."""


@dataclasses.dataclass(frozen=True)
class Drawing:
    """How images are computed; their content does not depend on it.

    Attributes:
      blocks: whether to return blocks of 2 x 2 pixels, see `in_blocks`.
      deterministic: whether to sum the hits of a pixel in a fixed order. A CPU always does.
    """

    blocks: bool = False
    deterministic: bool = False


PLAIN = Drawing()
_TRUE = np.ones(1, bool)


def in_blocks(images: jax.Array) -> jax.Array:
    """Images [n, r, c, k] as blocks of 2 x 2 pixels, [n, r / 2, c / 2, 4 * k], row by row within a block."""
    n, rows, columns, channels = images.shape
    blocks = images.reshape(n, rows // 2, 2, columns // 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(n, rows // 2, columns // 2, 4 * channels)


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4))
def draw(
    hits: Mapping, canvas: Canvas, channels: tuple[str, ...], matches_authors: bool, drawing: Drawing
) -> jax.Array:
    """The images `[n, rows, columns, channels]` of padded or flat hits, see `images.make_images`.

    Padded hits are treated as groups of one event.
    """
    columns = {name: {c: v for c, v in of.items() if c != COUNT} for name, of in hits.items()}
    # Exported programs have symbolic sizes, which `len` does not take.
    groups = jax.tree.leaves(columns)[0].shape[0]
    counts = {name: of[COUNT].reshape(groups, -1) for name, of in hits.items() if COUNT in of}

    def draw_group(columns, counts):
        lengths = {name: jax.tree.leaves(of)[0].shape[0] for name, of in columns.items()}
        places = {
            name: events_of_hits(counts[name], length) if name in counts else jnp.zeros(length, jnp.int32)
            for name, length in lengths.items()
        }
        events = next((len(count) for count in counts.values()), 1)
        entries = {name: canvas.entries[name](columns, jnp, matches_authors) for name in channels}
        return _draw_entries(entries, places, events, canvas, drawing)

    images = jax.vmap(draw_group)(columns, counts)
    return images.reshape(-1, *images.shape[2:])


def _draw_entries(entries: Mapping, places: Mapping, events: int, canvas, drawing: Drawing) -> jax.Array:
    """The images of a group of events.

    Args:
      entries: channel -> its list of `pixels.Entries`.
      places: collection -> the event of each hit, int32 `[hits]`.
      events: number of events of the group.
      canvas: the map from hits to pixels.
      drawing: how images are computed.
    """
    channels = tuple(entries)
    image = jnp.zeros((events, *canvas.shape, len(channels)), jnp.float32)
    # A channel of blocks is summed with one pixel per block and then repeated.
    for number, name in enumerate(channels):
        if name in canvas.side:
            (event, pixel, _), value = _together(entries[name], number, places)
            rows, columns = canvas.shape_of(name)
            coarse = jnp.zeros((events, rows, columns), jnp.float32)
            coarse = _add(coarse, (event, pixel // columns, pixel % columns), value, drawing)
            image = _with_blocks(image, coarse, number)
    if drawing.blocks:
        image = in_blocks(image)
    fine = [
        _together(entries[name], number, places)
        for number, name in enumerate(channels)
        if name not in canvas.side
    ]
    if not fine:
        return image
    # One scatter for all channels into the final shape writes the large array once. On a CPU, stacking one
    # image per channel or reshaping afterwards takes two to three times as long.
    (event, pixel, channel), value = jax.tree.map(lambda *parts: jnp.concatenate(parts), *fine)
    row, column = pixel // canvas.shape[1], pixel % canvas.shape[1]
    if drawing.blocks:
        channel = (row % 2 * 2 + column % 2) * len(channels) + channel
        row, column = row // 2, column // 2
    return _add(image, (event, row, column, channel), value, drawing)


def _together(parts: Sequence, channel: int, places: Mapping):
    """((event, pixel, channel), value) of all entries of a channel, each `[m]`."""
    event = jnp.concatenate([_like(part.pixel, places[part.collection]) for part in parts])
    pixel = jnp.concatenate([part.pixel.reshape(-1) for part in parts])
    value = jnp.concatenate([_like(part.pixel, part.value) for part in parts])
    return (event, pixel, jnp.full_like(pixel, channel)), value


def events_of_hits(count: jax.Array, length: int) -> jax.Array:
    """The event of each hit of a group, int32 `[length]`, from the hits per event, int32 `[events]`.

    Places after the last hit get the value `events`.
    """
    place = jnp.arange(length, dtype=jnp.int32)
    # Unrolled: on a GPU a loop costs more than its few steps.
    return jnp.searchsorted(jnp.cumsum(count), place, side="right", method="scan_unrolled").astype(jnp.int32)


def _like(pixel, values):
    """The value of each hit, repeated for each of its pixels, `[m]`."""
    values = values.reshape(*values.shape, *(1,) * (pixel.ndim - values.ndim))
    return jnp.broadcast_to(values, pixel.shape).reshape(-1)


def _with_blocks(image, coarse, channel: int):
    """Images [n, r, c, channels] in which one channel is `coarse`, each pixel of it repeated in a block."""
    n, rows, columns = coarse.shape
    channels, side = image.shape[3], image.shape[1] // rows
    image = image.reshape(n, rows, side, columns, side, channels)
    image = jnp.where(jnp.arange(channels) == channel, coarse[:, :, None, :, None, None], image)
    return image.reshape(n, rows * side, columns * side, channels)


def _add(image, where: tuple, value, drawing: Drawing):
    """Adds values [m] at places [m] of an image; values outside of it are dropped."""
    if drawing.deterministic:
        return _add_sorted(image, where, value)
    return image.at[where].add(value, mode="drop")


def _add_sorted(image, where: tuple, value):
    """`_add` in a fixed order. Without it, a GPU adds colliding values in any order.

    Entries are sorted by pixel, the entries of a pixel are summed by a scan, and each sum is written once.
    """
    inside = functools.reduce(operator.and_, (w < size for w, size in zip(where, image.shape)))
    flat = functools.reduce(lambda index, axis: index * axis[1] + axis[0], zip(where, image.shape), 0)
    flat = jnp.where(inside, flat, image.size)
    flat, value = jax.lax.sort((flat, value), num_keys=1, is_stable=True)
    changes = flat[1:] != flat[:-1]
    first, last = (jnp.concatenate(edge) for edge in ((_TRUE, changes), (changes, _TRUE)))

    def add(left, right):
        return jnp.where(right[1], right[0], left[0] + right[0]), left[1] | right[1]

    total, _ = jax.lax.associative_scan(add, (value, first))
    # Entries that write nothing get distinct places outside of the image.
    own = jnp.where(last & (flat < image.size), flat, image.size + jnp.arange(len(flat), dtype=jnp.int32))
    added = image.reshape(-1).at[own].add(total, mode="drop", unique_indices=True)
    return added.reshape(image.shape)
