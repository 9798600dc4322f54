"""Directions of the pixels of every image, and the axes of windows around them.

The images of a geometry are concatenated into one row of pixels, so one index identifies any pixel.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from e2e_jax.detector import geometry, images, projections

BLOCK = projections.TOWER_SIDE
"""Pixels along a side of a block, the size of a barrel tower; the sides of all images are multiples of it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Surface:
    """The pixels of the images of a geometry.

    Attributes:
      names: the images, in the order of their pixels.
      shapes: (rows, columns) of each.
      closed: whether the last column of each is the neighbor of the first.
      towers: whether the HCAL channel of each repeats a tower's energy in the pixels of its block.
      direction: float32 `[pixels, 3]`, unit vector from the nominal interaction point; zeros where an image
        has no crystal.
      axes: int32 `[pixels, 2, 2]`, the steps in (row, column) along the two axes of a window: away from
        eta = 0 and along phi in the barrel; away from the beam and across in the endcaps.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    closed: tuple[bool, ...]
    towers: tuple[bool, ...]
    direction: np.ndarray
    axes: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """The first pixel of each image, and the number of pixels, int32 `[images + 1]`."""
        return np.cumsum([0, *(rows * columns for rows, columns in self.shapes)]).astype(np.int32)


@functools.cache
def surface(name: str) -> Surface:
    """The pixels of a geometry.

    Raises:
      ValueError: there is no such geometry, or the directions of its pixels are not known.
    """
    shapes = images.shapes(name)
    if unknown := [image for image in shapes if image not in _PARTS]:
        raise ValueError(
            f"Tokens need the directions of pixels. They are known for the images {', '.join(_PARTS)}, but "
            f"not for {unknown[0]!r} of config.inputs.geometry {name!r}."
        )
    parts = [_PARTS[image](image) for image in shapes]
    direction = np.concatenate([direction for direction, _ in parts]).astype(np.float32)
    axes = np.concatenate([axes for _, axes in parts]).astype(np.int32)
    barrel_like = tuple(image in ("barrel", "full") for image in shapes)
    return Surface(tuple(shapes), tuple(shapes.values()), barrel_like, barrel_like, direction, axes)


def _unrolled(eta: np.ndarray):
    """Rows of constant eta, with the columns of the barrel."""
    rows, columns = len(eta), geometry.EB_COLUMNS
    eta, phi = np.repeat(eta, columns), np.tile(geometry.eb_phi_centres(), rows)
    direction = np.stack([np.cos(phi), np.sin(phi), np.sinh(eta)], axis=1) / np.cosh(eta)[:, None]
    axes = np.zeros((len(eta), 2, 2))
    axes[:, 0, 0], axes[:, 1, 1] = np.sign(eta), 1
    return direction, axes


def _barrel(image: str):
    return _unrolled(geometry.eb_eta_centres())


def _full(image: str):
    """The rows of the barrel, and on both sides five rows per ring of towers."""
    edges = np.array([*geometry.HCAL_ETA_EDGES[projections.BARREL_RINGS : projections.LAST_RING], 3.0])
    fine = np.interp(np.arange(projections.ENDCAP_ROWS) + 0.5, BLOCK * np.arange(len(edges)), edges)
    return _unrolled(np.concatenate([-fine[::-1], geometry.eb_eta_centres(), fine]))


def _endcap(image: str):
    """One endcap. The first axis is x or y, whichever is closer to the radius, away from the beam."""
    crystals, side, pixels = geometry.ee_crystals(), image == "endcap_plus", geometry.EE_SIDE**2
    own = (crystals.z > 0) == side
    position = np.stack([crystals.x, crystals.y, crystals.z], axis=1)[own]
    direction = np.zeros((pixels, 3))
    cell = crystals.cell[own].astype(np.int64) - side * pixels
    direction[cell] = position / np.linalg.norm(position, axis=1, keepdims=True)
    row, column = np.divmod(np.arange(pixels), geometry.EE_SIDE)
    middle = (geometry.EE_SIDE - 1) / 2
    upright = abs(row - middle) > abs(column - middle)
    up, right = np.sign(row - middle), np.sign(column - middle)
    axes = np.zeros((pixels, 2, 2))
    axes[upright, 0, 0], axes[upright, 1, 1] = up[upright], 1
    axes[~upright, 0, 1], axes[~upright, 1, 0] = right[~upright], 1
    return direction, axes


_PARTS = {"barrel": _barrel, "full": _full, "endcap_minus": _endcap, "endcap_plus": _endcap}
