"""Images from hits: fixed maps from detector cells to pixels, applied on the device.

The recipes are those of the end-to-end papers (M. Andrews et al., arXiv:1807.11916, Section 4). Each channel
keeps the energy of its hits, the HCAL over crystals 25 times; hits with energy <= 0 are skipped (zero
suppression). The tables are in `detector.projections`, the entries of each channel in `detector.pixels`.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from e2e_jax.detector import geometry as cells
from e2e_jax.detector import pixels, projections

CHANNELS = ("tracks", "ecal", "hcal")
"""Channels in the papers' order."""

SHAPES = {
    "barrel": {"barrel": pixels.BARREL.shape},
    "ecal_centric": {
        "barrel": pixels.BARREL.shape,
        "endcap_minus": (cells.EE_SIDE, cells.EE_SIDE),
        "endcap_plus": (cells.EE_SIDE, cells.EE_SIDE),
    },
    "hcal_centric": {"full": pixels.FULL.shape},
}
"""What `make_images` can build: geometry -> its images in the networks' order -> (rows, columns)."""

GEOMETRIES = tuple(SHAPES)

COUNT = "count"
"""The column of a collection of flat hits that tells how many each event has."""


@dataclasses.dataclass(frozen=True)
class Drawing:
    """How images are drawn; what they show does not depend on it.

    Attributes:
      blocks: as blocks of 2 x 2 pixels, see `in_blocks`.
      deterministic: whether to add up the hits of a pixel in an order that is always the same. A CPU does so
        in any case.
    """

    blocks: bool = False
    deterministic: bool = False


PLAIN = Drawing()


def make_images(
    events_or_batch,
    geometry: str = "barrel",
    channels: Sequence[str] = CHANNELS,
    matches_authors: bool = False,
    drawing: Drawing = PLAIN,
) -> dict[str, jax.Array]:
    """Builds the images of a batch of events.

    Args:
      events_or_batch: `Events`, or the padded batch of `Events.to_batch`, or the flat one of
        `layout.Layout`; only the collections of the geometry and the channels are read.
      geometry: one of `GEOMETRIES`. "barrel" and "ecal_centric" have a pixel a crystal, "hcal_centric" sees
        HCAL towers as blocks of 5 x 5 pixels and puts both calorimeters on them.
      channels: some of `CHANNELS`, in the order wanted.
      matches_authors: the arithmetic of the paper's authors where it differs, see `detector.projections`; it
        loses half of the energy of the stitched image's outermost ECAL rows.
      drawing: how they are drawn; with `drawing.blocks` the shapes below are those of `in_blocks`.

    Returns:
      `{"barrel": float32 [n, 170, 360, channels]}`, see `barrel_images`; for "ecal_centric" with it
      `"endcap_minus"` and `"endcap_plus"`, `[n, 100, 100, channels]`, see `endcap_images`; for
      "hcal_centric" `{"full": [n, 280, 360, channels]}`, see `full_images`.

    Raises:
      ValueError: the geometry or a channel does not exist, or the batch lacks a collection.
    """
    check_geometry(geometry)
    batch = events_or_batch.to_batch() if hasattr(events_or_batch, "to_batch") else events_or_batch
    if geometry == "hcal_centric":
        return {"full": full_images(batch, channels, matches_authors, drawing)}
    made = {"barrel": barrel_images(batch, channels, drawing)}
    if geometry == "ecal_centric":
        both = endcap_images(batch, channels, matches_authors, drawing)
        made |= {"endcap_minus": both[:, 0], "endcap_plus": both[:, 1]}
    return made


def check_geometry(geometry: str) -> None:
    """Raises a ValueError where there is no such geometry."""
    if geometry not in SHAPES:
        raise ValueError(f"No image geometry {geometry!r}; there are {', '.join(map(repr, SHAPES))}.")


def barrel_images(batch: Mapping, channels: Sequence[str] = CHANNELS, drawing: Drawing = PLAIN) -> jax.Array:
    """Images of the ECAL barrel, one pixel a crystal.

    tracks: pT in GeV at the crystal that the track's direction points to, |eta| <= 1.479.
    ecal: energy of the barrel hits in GeV.
    hcal: energy in GeV of the tower over the crystal, depths summed, |ieta| <= 17; each of the tower's
      5 x 5 crystals shows the whole energy, so the channel sums to 25 times its hits.

    Args:
      batch: the padded batch of `Events.to_batch`; only the collections of the channels are read.
      channels: some of `CHANNELS`, in the order wanted.
      drawing: how they are drawn.

    Returns:
      float32 `[n, 170, 360, len(channels)]`, row and column as in `geometry.EB_ROWS`.

    Raises:
      ValueError: a channel does not exist or comes twice, or the batch lacks its collection.
    """
    return _drawn(batch, pixels.BARREL, channels, False, drawing)


def endcap_images(
    batch: Mapping,
    channels: Sequence[str] = CHANNELS,
    matches_authors: bool = False,
    drawing: Drawing = PLAIN,
) -> jax.Array:
    """Images of the two ECAL endcaps, one pixel a crystal.

    tracks: pT in GeV at the crystal that the track's direction points to, 1.479 < |eta| <= 3.
    ecal: energy of the endcap hits in GeV.
    hcal: energy in GeV of the towers with |ieta| > 17, depths summed and 29 read as part of 28, shared evenly
      over the crystals whose centres lie in the tower's box; `hcal_outside_crystals` is what finds none.

    Args, errors: as for `make_images`.

    Returns:
      float32 `[n, 2, 100, 100, len(channels)]`: EE-, then EE+; row = iy - 1, column = ix - 1.
    """
    both = _drawn(batch, pixels.ENDCAPS, channels, matches_authors, drawing)
    return both.reshape(both.shape[0], 2, both.shape[1] // 2, *both.shape[2:])


def full_images(
    batch: Mapping,
    channels: Sequence[str] = CHANNELS,
    matches_authors: bool = False,
    drawing: Drawing = PLAIN,
) -> jax.Array:
    """Images of the whole detector on the grid of the HCAL, 5 x 5 pixels a tower.

    tracks: pT in GeV at the crystal that the track's direction points to, |eta| <= 3.
    ecal: energy in GeV; barrel crystals are pixels, endcap crystals are binned by their centres and smeared
      over blocks of 2 x 2 pixels (`projections.smeared_pixels`).
    hcal: energy in GeV of the towers, depths summed and 29 added to 28; each of the 5 x 5 pixels shows the
      whole energy, so the channel sums to 25 times its hits. The wide towers with |ieta| > 20 show one half
      of it in each of their two blocks.

    Args, errors: as for `make_images`.

    Returns:
      float32 `[n, 280, 360, len(channels)]`: rows 0-54 EE-, 55-224 the barrel, 225-279 EE+.
    """
    return _drawn(batch, pixels.FULL, channels, matches_authors, drawing)


def hcal_outside_crystals(batch: Mapping, matches_authors: bool = False) -> jax.Array:
    """The HCAL energy that no ECAL-centric image shows: float32 `[n]`, in GeV.

    It is that of towers with |ieta| > 17 in whose box no crystal centre lies. With tower 29 read as part of
    28 every tower has crystals, 6 to 25 of them, so it is 0 for all hits that the HCAL can have; the energy
    of cells that are no tower (an even iphi above |ieta| 20) is here.

    Args, errors: as for `make_images`.
    """
    return _outside(_columns(batch, "hcal"), bool(matches_authors))


@functools.partial(jax.jit, static_argnums=1)
def _outside(hits: Mapping, matches_authors: bool) -> jax.Array:
    tower = hits["cell"].astype(jnp.int32) % cells.HCAL_TOWERS
    row = tower // cells.HCAL_COLUMNS - (cells.HCAL_ROWS // 2 - projections.BARREL_RINGS)
    over_barrel = (row >= 0) & (row < 2 * projections.BARREL_RINGS)
    shown = over_barrel | (jnp.asarray(projections.tower_crystals(matches_authors).share)[tower] > 0)
    return jnp.sum(jnp.where(shown, 0, jnp.maximum(hits["energy"], 0)), axis=1)


def in_blocks(images: jax.Array) -> jax.Array:
    """Images [n, r, c, k] as blocks of 2 x 2 pixels, [n, r / 2, c / 2, 4 * k], row by row within a block."""
    n, rows, columns, channels = images.shape
    blocks = images.reshape(n, rows // 2, 2, columns // 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(n, rows // 2, columns // 2, 4 * channels)


def _drawn(batch, canvas: pixels.Canvas, channels, matches_authors: bool, drawing: Drawing) -> jax.Array:
    channels = checked_channels(channels)
    needed = sorted({name for channel in channels for name in canvas.collections[channel]})
    hits = {name: _columns(batch, name) for name in needed}
    return _draw(hits, canvas, channels, bool(matches_authors), drawing)


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4))
def _draw(hits: Mapping, canvas, channels: tuple[str, ...], matches_authors: bool, drawing: Drawing):
    """The images `[n, rows, columns, channels]` of padded or flat hits, see `make_images`."""

    def draw_group(hits, counts):
        places = {
            name: events_of_hits(counts[name], length) if name in counts else jnp.zeros(length, jnp.int32)
            for name, length in lengths.items()
        }
        events = next((len(count) for count in counts.values()), 1)

        def entries_of(names):
            """(event, pixel, number of the channel) and value of all entries of some channels, each [m]."""
            parts = [
                (k, part)
                for k, name in enumerate(channels)
                if name in names
                for part in canvas.entries[name](hits, jnp, matches_authors)
            ]
            spread = [
                (
                    _like(part.pixel, places[part.collection]),
                    part.pixel.reshape(-1),
                    jnp.full(part.pixel.size, k, jnp.int32),
                    _like(part.pixel, part.value),
                )
                for k, part in parts
            ]
            *where, value = (jnp.concatenate(column) for column in zip(*spread))
            return where, value

        fine = tuple(name for name in channels if name not in canvas.side)
        # Blocks of equal pixels are summed in an image of blocks, and repeated where the others start.
        image = jnp.zeros((events, *canvas.shape, len(channels)), jnp.float32)
        for k, name in enumerate(channels):
            if name in canvas.side:
                (event, pixel, _), value = entries_of((name,))
                rows, columns = canvas.shape_of(name)
                coarse = jnp.zeros((events, rows, columns), jnp.float32)
                coarse = _add(coarse, (event, pixel // columns, pixel % columns), value, drawing)
                image = _with_blocks(image, coarse, k)
        if drawing.blocks:
            image = in_blocks(image)
        if fine:
            (event, pixel, channel), value = entries_of(fine)
            row, column = pixel // canvas.shape[1], pixel % canvas.shape[1]
            if drawing.blocks:
                channel = (row % 2 * 2 + column % 2) * len(channels) + channel
                row, column = row // 2, column // 2
            image = _add(image, (event, row, column, channel), value, drawing)
        return image

    columns = {name: {c: v for c, v in of.items() if c != COUNT} for name, of in hits.items()}
    groups = len(jax.tree.leaves(columns)[0])
    lengths = {name: jax.tree.leaves(of)[0].shape[1] for name, of in columns.items()}
    counts = {name: of[COUNT].reshape(groups, -1) for name, of in hits.items() if COUNT in of}
    images = jax.vmap(draw_group)(columns, counts)
    return images.reshape(-1, *images.shape[2:])


def events_of_hits(count: jax.Array, length: int) -> jax.Array:
    """The event of each hit of a group, int32 `[length]`, by the hits of each event, int32 `[events]`.

    It is `events` for places behind the last hit.
    """
    place = jnp.arange(length, dtype=jnp.int32)
    # Unrolled: a loop of a few steps would cost a GPU more than they do.
    return jnp.searchsorted(jnp.cumsum(count), place, side="right", method="scan_unrolled").astype(jnp.int32)


def _like(pixel, values):
    """A value of each hit for each of its pixels, `[m]`."""
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
    """Adds values [m] at places [m] of an image; those outside of it are dropped."""
    if drawing.deterministic:
        return _add_sorted(image, where, value)
    return image.at[where].add(value, mode="drop")


def _add_sorted(image, where: tuple, value):
    """`_add` in an order of its own: a GPU adds colliding values in the order in which they happen to arrive.

    Entries are sorted by pixel, those of a pixel are summed by a scan, and each sum is written once.
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
    # Those that write nothing have places outside of the image, each its own.
    own = jnp.where(last & (flat < image.size), flat, image.size + jnp.arange(len(flat), dtype=jnp.int32))
    added = image.reshape(-1).at[own].add(total, mode="drop", unique_indices=True)
    return added.reshape(image.shape)


_TRUE = np.ones(1, bool)

_COLUMNS = {
    "tracks": ("pt", "eta", "phi"),
    "eb": ("cell", "energy"),
    "ee": ("cell", "energy"),
    "hcal": ("cell", "energy"),
}


def checked_channels(channels: Sequence[str]) -> tuple[str, ...]:
    """The channels as a tuple; raises a ValueError where one does not exist or comes twice."""
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
    if COUNT in batch[collection]:
        columns[COUNT] = batch[collection][COUNT]
    return columns
