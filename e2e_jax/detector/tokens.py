"""Tokens of an event: its strongest crystals, tracks and towers, each with a window around it.

Tokens are computed from the images of `detector.images`, so hits in any layout and ready images give the same
tokens. All shapes are static; the only sort is a `top_k` of the maxima of blocks of 5 x 5 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from e2e_jax.detector.surfaces import BLOCK, Surface, surface

MINIMUM = {"ecal": 0.5, "tracks": 0.5, "hcal": 1.0}
"""Least energy of a token (for tracks: pT), in GeV. Tokens are ordered by these channels."""
CANDIDATES = 6
"""Blocks that are searched, per token wanted: a shower spans up to four, a jet more."""
WINDOW, TOWERS = 11, 7
"""Sides of the windows around a token: in pixels, and in blocks of 5 x 5 pixels."""
CORE = (5, 11)
"""Pixels along the axes of `Surface.axes` that define a token's momentum. It is wider in phi, because the
electrons of a conversion are bent along phi."""


class Tokens(NamedTuple):
    """The tokens of n events, ordered by channel and then by strength.

    Attributes:
      filled: bool `[n, t]`; the other fields are 0 where it is false.
      channel: int `[t]`, the index of each token's channel, as a numpy array.
      momentum: float32 `[n, t, 3]`, GeV. For a crystal the sum of its core's energies times their directions,
        without the pixels in the core of a stronger token.
      endcap: bool `[n, t]`.
      offset: float32 `[n, t, 2]`, the pixel's position in its block along the axes of a window, -1 to 1.
      windows: float32 `[n, t, 11, 11, c]`, GeV, of all channels except the HCAL, in their order.
      towers: float32 `[n, t, 7, 7, channels]`, GeV, sums over blocks.
    """

    filled: jax.Array
    channel: np.ndarray
    momentum: jax.Array
    endcap: jax.Array
    offset: jax.Array
    windows: jax.Array
    towers: jax.Array


def find_tokens(
    planes: Mapping[str, Mapping[str, jax.Array]],
    geometry: str,
    channels: Sequence[str],
    counts: Mapping[str, int],
) -> Tokens:
    """Finds the tokens of each event.

    A token of the ECAL or of the tracks is a pixel that is the maximum of the 5 x 5 pixels around it, at most
    one per block of 5 x 5. A token of the HCAL is the middle of a block. The tokens with the highest
    transverse energy are taken. Windows are oriented along `Surface.axes`: a reflection in eta, or a rotation
    in phi by a whole number of blocks, changes only the momenta.

    Args:
      planes: channel -> image of the geometry -> GeV, float32 `[n, rows, columns]`. Channels are separate
        arrays, because a CPU sums interleaved channels twenty times more slowly.
      geometry: the name of a geometry whose pixels have directions (`surfaces.surface`).
      channels: the channels, in the order that windows have.
      counts: channel -> number of its tokens, at least 1.

    Raises:
      ValueError: a count is for a channel that the images do not have, or there are no counts; or as
        `surfaces.surface`.
    """
    if unknown := sorted(set(counts) - set(channels)):
        raise ValueError(
            f"config.inputs.tokens counts tokens of {unknown[0]!r}, but config.inputs.channels is "
            f"{', '.join(channels)}."
        )
    if not counts:
        raise ValueError(f"config.inputs.tokens names no channel; there are {', '.join(channels)}.")
    counts, on = {name: counts[name] for name in MINIMUM if name in counts}, surface(geometry)
    rows = {name: _joined([_flat(planes[name][image]) for image in on.names]) for name in channels}
    found = [_strongest(planes[name], rows[name], on, name, count) for name, count in counts.items()]
    place, filled = (jnp.concatenate(parts, axis=1) for parts in zip(*found))
    numbers = np.repeat([list(channels).index(name) for name in counts], list(counts.values()))

    part = _part(place, on)
    fine = _windows([rows[name] for name in channels if name != "hcal"], place, part, on, WINDOW, 1)
    blocks = [_block_sums(planes[name], on, name) for name in channels]
    towers = _windows(blocks, place, part, on, TOWERS, BLOCK)
    momentum = _momenta(fine, towers, place, part, numbers, channels, on)

    def where_filled(values):
        return jnp.where(filled.reshape(filled.shape + (1,) * (values.ndim - 2)), values, 0)

    return Tokens(
        filled=filled,
        channel=numbers,
        momentum=where_filled(momentum),
        endcap=filled & ~jnp.asarray(on.closed)[part],
        offset=where_filled(_offset(place, part, on)),
        windows=where_filled(fine),
        towers=where_filled(towers),
    )


def _block_sums(plane: Mapping, on: Surface, name: str) -> jax.Array:
    """Sums over the blocks of all images, `[n, blocks]`; the energy of a repeated tower counts once."""
    sums = []
    for image, repeated in zip(on.names, on.towers):
        total = jnp.sum(jnp.sum(_by_rows(plane[image]), axis=2).reshape(_in_columns(plane[image])), axis=3)
        sums.append(_flat(total / BLOCK**2 if repeated and name == "hcal" else total))
    return _joined(sums)


def _strongest(plane: Mapping, row: jax.Array, on: Surface, name: str, count: int):
    """The pixels of the tokens of a channel, int32 `[n, count]`, and which of them are filled."""
    plane, row = jax.lax.stop_gradient((plane, row))
    height = _joined(
        [
            _flat(jnp.max(jnp.max(_by_rows(image), axis=2).reshape(_in_columns(image)), axis=3))
            for image in (plane[name] for name in on.names)
        ]
    )
    inside = _pixels_of_blocks(on)
    # The pixels of tracks hold transverse momentum already.
    sine = np.linalg.norm(on.direction[:, :2], axis=1) if name != "tracks" else np.ones(len(on.direction))
    sine = sine.astype(np.float32)
    searched = min(CANDIDATES * count if name != "hcal" else count, height.shape[1])
    _, block = jax.lax.top_k(height * sine[inside].max(axis=1)[None, :], searched)
    if name == "hcal":
        middle = inside[:, BLOCK**2 // 2]
        return jnp.asarray(middle)[block], _taken(height, block) >= MINIMUM[name]

    choices = jnp.asarray(inside)[block]
    energies = _taken(row, choices)
    highest = jnp.argmax(energies, axis=2)[:, :, None]
    place = jnp.take_along_axis(choices, highest, axis=2, mode="clip")[..., 0]
    value = jnp.max(energies, axis=2)
    around = _window_pixels(place, _part(place, on), on, 5, 1)
    neighbors = jnp.where(around >= 0, _taken(row, jnp.maximum(around, 0)), 0)
    is_token = (value >= jnp.max(neighbors, axis=(2, 3))) & (value >= MINIMUM[name])
    _, order = jax.lax.top_k(jnp.where(is_token, value * jnp.asarray(sine)[place], 0), count)
    return _taken(place, order), _taken(is_token, order)


def _momenta(windows, towers, place, part, numbers, channels, on: Surface) -> jax.Array:
    """The momentum of each token, `[n, t, 3]`."""
    fine = [name for name in channels if name != "hcal"]
    directions = jnp.asarray(on.direction)
    own, parts, start = directions[place], [], 0
    for number in dict.fromkeys(numbers.tolist()):
        stop = start + int(np.sum(numbers == number))
        some, name = slice(start, stop), channels[number]
        if name == "ecal":
            first, last = ((WINDOW - side) // 2 for side in CORE)
            core = windows[:, some, first : WINDOW - first, last : WINDOW - last, fine.index(name)]
            around = _window_pixels(place[:, some], part[:, some], on, WINDOW, 1)
            around = jnp.maximum(around[:, :, first : WINDOW - first, last : WINDOW - last], 0)
            free = ~_in_stronger_core(around, place[:, some], part[:, some], on)
            made = jnp.sum(jnp.where(free, core, 0)[..., None] * directions[around], axis=(2, 3))
        elif name == "tracks":
            pt = windows[:, some, WINDOW // 2, WINDOW // 2, fine.index(name)]
            sine = jnp.sqrt(jnp.sum(own[:, some, :2] ** 2, axis=2))
            made = (pt / jnp.maximum(sine, 1e-3))[..., None] * own[:, some]
        else:
            made = towers[:, some, TOWERS // 2, TOWERS // 2, number, None] * own[:, some]
        parts.append(made)
        start = stop
    return jnp.concatenate(parts, axis=1)


def _in_stronger_core(pixel, place, part, on: Surface) -> jax.Array:
    """Whether each pixel of each core, `[n, t, *CORE]`, is also in the core of an earlier token."""
    shape, tokens = pixel.shape, pixel.shape[1]
    flat = pixel.reshape(shape[0], -1)
    row, column = (x[:, None, :] for x in _coordinates(flat, _part(flat, on), on))
    own_row, own_column = (x[:, :, None] for x in _coordinates(place, part, on))
    across, columns = column - own_column, jnp.asarray([shape[1] for shape in on.shapes])[part][:, :, None]
    around = (across + columns // 2) % columns - columns // 2
    across = jnp.where(jnp.asarray(on.closed)[part][:, :, None], around, across)
    axes = jnp.asarray(on.axes)[place][:, :, None]
    near = _part(flat, on)[:, None, :] == part[:, :, None]
    for axis, side in enumerate(CORE):
        steps = axes[..., axis, 0] * (row - own_row) + axes[..., axis, 1] * across
        near &= abs(steps) <= side // 2
    before = np.tri(tokens, k=-1, dtype=bool).T  # [stronger, token]
    near = near.reshape(shape[0], tokens, tokens, *shape[2:]) & before[None, :, :, None, None]
    return jnp.any(near, axis=1)


def _offset(place, part, on: Surface) -> jax.Array:
    row, column = _coordinates(place, part, on)
    step = jnp.stack([row % BLOCK, column % BLOCK], axis=2).astype(jnp.float32) / (BLOCK // 2) - 1
    axes = jnp.asarray(on.axes, jnp.float32)[place]
    return jnp.sum(axes * step[:, :, None, :], axis=3)


def _windows(values, place, part, on: Surface, side: int, block: int) -> jax.Array:
    """The pixels (or blocks) around each token, `[n, t, side, side, channels]`; 0 outside of an image."""
    around = _window_pixels(place, part, on, side, block)
    if not values:
        return jnp.zeros((*around.shape, 0))
    taken = jnp.stack([_taken(plane, jnp.maximum(around, 0)) for plane in values], axis=-1)
    return jnp.where((around >= 0)[..., None], taken, 0)


def _window_pixels(place, part, on: Surface, side: int, block: int) -> jax.Array:
    """Indices of the pixels (or blocks) of windows, int32 `[n, t, side, side]`; -1 outside of an image."""
    row, column = (x // block for x in _coordinates(place, part, on))
    axes = jnp.asarray(on.axes)[place]
    step = np.arange(side, dtype=np.int32) - side // 2
    first, second = step[None, None, :, None], step[None, None, None, :]

    def moved(origin, axis):
        along, across = axes[:, :, 0, axis, None, None], axes[:, :, 1, axis, None, None]
        return origin[:, :, None, None] + along * first + across * second

    row, column = moved(row, 0), moved(column, 1)
    rows, columns = (np.array(sizes, np.int32) // block for sizes in zip(*on.shapes))
    start = np.asarray(on.starts[:-1] // block**2, np.int32)

    def of_part(table):
        return jnp.asarray(table)[part][:, :, None, None]

    column = jnp.where(of_part(np.array(on.closed)), column % of_part(columns), column)
    inside = (row >= 0) & (row < of_part(rows)) & (column >= 0) & (column < of_part(columns))
    return jnp.where(inside, of_part(start) + row * of_part(columns) + column, -1)


def _part(place, on: Surface) -> jax.Array:
    """The index of the image of each pixel."""
    edges = on.starts[1:-1]
    return jnp.sum(place[..., None] >= edges[None, None], axis=-1) if len(edges) else jnp.zeros_like(place)


def _coordinates(place, part, on: Surface):
    """Row and column of pixels in their images."""
    columns = jnp.asarray(np.array([shape[1] for shape in on.shapes], np.int32))[part]
    local = place - jnp.asarray(on.starts)[part]
    return local // columns, local % columns


def _taken(values, index) -> jax.Array:
    """values `[n, pixels]` at index `[n, ...]`."""
    flat = index.reshape(index.shape[0], -1)
    return jnp.take_along_axis(values, flat, axis=1, mode="clip").reshape(index.shape)


def _by_rows(image) -> jax.Array:
    """An image [n, r, c] as [n, r / 5, 5, c]: on a CPU summing rows first and then columns is fastest."""
    return image.reshape(image.shape[0], -1, BLOCK, image.shape[2])


def _in_columns(image) -> tuple[int, ...]:
    """The shape that separates the columns of each block."""
    return image.shape[0], image.shape[1] // BLOCK, image.shape[2] // BLOCK, BLOCK


def _flat(image) -> jax.Array:
    return image.reshape(image.shape[0], -1)


def _pixels_of_blocks(on: Surface) -> np.ndarray:
    """Indices of the pixels of each block, int32 `[blocks, 25]`."""
    parts = [
        np.arange(start, start + rows * columns, dtype=np.int32)
        .reshape(rows // BLOCK, BLOCK, columns // BLOCK, BLOCK)
        .transpose(0, 2, 1, 3)
        .reshape(-1, BLOCK**2)
        for start, (rows, columns) in zip(on.starts, on.shapes)
    ]
    return np.concatenate(parts)


def _joined(parts) -> jax.Array:
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=1)
