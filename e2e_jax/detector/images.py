"""Images from hits: fixed maps from detector cells to pixels, applied on the device.

The recipes are those of the end-to-end papers (M. Andrews et al., arXiv:1807.11916, Section 4). Each channel
keeps the energy of its hits, the HCAL over crystals 25 times; hits with energy <= 0 are skipped (zero
suppression). The tables are in `detector.projections`, the entries of each channel in `detector.pixels`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from e2e_jax.detector import geometry as cells
from e2e_jax.detector import pixels
from e2e_jax.detector.drawing import COUNT, PLAIN, Drawing, draw

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
      drawing: how they are drawn; with `drawing.blocks` the shapes below are those of `drawing.in_blocks`.

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
      over the crystals whose centres lie in the tower's box. Every tower has some, 6 to 25.

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


def _drawn(batch, canvas: pixels.Canvas, channels, matches_authors: bool, drawing: Drawing) -> jax.Array:
    channels = checked_channels(channels)
    needed = sorted({name for channel in channels for name in canvas.collections[channel]})
    hits = {name: _columns(batch, name) for name in needed}
    return draw(hits, canvas, channels, bool(matches_authors), drawing)


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
