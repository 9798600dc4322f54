"""Images from hits. A geometry is a named, fixed map from detector cells to pixels.

The images are those of the end-to-end papers (M. Andrews et al., arXiv:1807.11916, Section 4). The sum of a
channel is the energy of its hits; for the HCAL drawn over crystals it is 25 times that. Hits with energy <= 0
are skipped (zero suppression). The tables are in `detector.projections`, the entries of each channel in
`detector.pixels`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from e2e_jax.detector import jet_pixels, pixels
from e2e_jax.detector.drawing import COUNT, PLAIN, Drawing, draw
from e2e_jax.detector.pixels import Canvas

CHANNELS = ("tracks", "ecal", "hcal")
"""Channels in the papers' order."""

_GEOMETRIES: dict[str, tuple[Canvas, ...]] = {}


def register(geometry: str, *canvases: Canvas) -> None:
    """Registers a geometry, for `make_images` and `config.inputs.geometry`.

    Args:
      geometry: its name.
      canvases: the maps from hits to the pixels of its images, in the networks' order; `pixels.table_canvas`
        makes one from tables.

    Raises:
      ValueError: the name is registered already, there is no canvas, or two images have the same name.
    """
    if geometry in _GEOMETRIES:
        raise ValueError(f"The geometry {geometry!r} is registered already; choose another name.")
    names = [name for canvas in canvases for name in canvas.images]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"The geometry {geometry!r} needs images, each with its own name; it has {names}.")
    _GEOMETRIES[geometry] = canvases


register("barrel", pixels.BARREL)
register("ecal_centric", pixels.BARREL, pixels.ENDCAPS)
register("hcal_centric", pixels.FULL)
register("jet", jet_pixels.JET)


def geometries() -> tuple[str, ...]:
    """The names of all geometries."""
    return tuple(_GEOMETRIES)


def canvases(geometry: str) -> tuple[Canvas, ...]:
    """The canvases of a geometry.

    Raises:
      ValueError: there is no such geometry.
    """
    if geometry not in _GEOMETRIES:
        known = ", ".join(map(repr, _GEOMETRIES))
        raise ValueError(
            f"No image geometry {geometry!r}; there are {known}. Another must be registered first, by "
            "e2e_jax.detector.images.register."
        )
    return _GEOMETRIES[geometry]


def shapes(geometry: str) -> dict[str, tuple[int, int]]:
    """The images of a geometry in the networks' order, name -> (rows, columns).

    Raises:
      ValueError: there is no such geometry.
    """
    return {name: canvas.image_shape for canvas in canvases(geometry) for name in canvas.images}


def make_images(
    events_or_batch,
    geometry: str = "barrel",
    channels: Sequence[str] = CHANNELS,
    matches_authors: bool = False,
    drawing: Drawing = PLAIN,
) -> dict[str, jax.Array]:
    """Makes the images of a batch of events.

    Args:
      events_or_batch: `Events`, the padded batch of `Events.to_batch`, or the flat batch of
        `layout.Layout`; only the collections of the geometry and the channels are read.
      geometry: "barrel", "ecal_centric", "hcal_centric" (`pixels.BARREL`, `ENDCAPS` and `FULL` describe their
        images), of jets "jet" (`jet_pixels.JET`), or a registered one.
      channels: some of the geometry's, in the order wanted.
      matches_authors: use the arithmetic of the paper's authors where it differs, see
        `detector.projections`; it loses half of the energy of the stitched image's outermost ECAL rows.
      drawing: how images are computed; with `drawing.blocks` the shapes are those of `drawing.in_blocks`.

    Returns:
      For "barrel" {"barrel": float32 [n, 170, 360, channels]}. For "ecal_centric" also "endcap_minus" and
      "endcap_plus", [n, 100, 100, channels]. For "hcal_centric" {"full": [n, 280, 360, channels]}. For "jet"
      {"jet": [n, 125, 125, channels]}.

    Raises:
      ValueError: the geometry or a channel does not exist, or the batch lacks a collection.
    """
    of_geometry = canvases(geometry)
    batch = events_or_batch.to_batch() if hasattr(events_or_batch, "to_batch") else events_or_batch
    made = {}
    for canvas in of_geometry:
        names = checked_channels(channels, canvas)
        needed = sorted({name for channel in names for name in canvas.collections[channel]})
        hits = {name: _columns(batch, name) for name in needed}
        image = draw(hits, canvas, names, bool(matches_authors), drawing)
        n, rows, *rest = image.shape
        parts = image.reshape(n, len(canvas.images), rows // len(canvas.images), *rest)
        made |= {name: parts[:, place] for place, name in enumerate(canvas.images)}
    return made


_COLUMNS = {
    "tracks": ("pt", "eta", "phi"),
    "eb": ("cell", "energy"),
    "ee": ("cell", "energy"),
    "hcal": ("cell", "energy"),
    **dict.fromkeys(jet_pixels.CELLS, ("cell", "channel", "value")),
}


def checked_channels(channels: Sequence[str], canvas: Canvas = pixels.BARREL) -> tuple[str, ...]:
    """The channels as a tuple.

    Raises:
      ValueError: a channel does not exist or is given twice.
    """
    names = (channels,) if isinstance(channels, str) else tuple(channels)
    for name in names:
        if name not in canvas.entries:
            known = ", ".join(map(repr, canvas.entries))
            raise ValueError(f"No image channel {name!r}; there are {known}.")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"Image channels {names}: name at least one of {tuple(canvas.entries)}, each once.")
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
