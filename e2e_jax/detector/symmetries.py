"""Symmetries of the detector, applied to hits: rotations and reflections of whole events.

A cell of the detector is named by its place, so a transformed event is again a list of hits of existing
cells, its images are the rolled and flipped ones, and a transformation costs a few operations per hit. Where
endcaps are seen only their exact symmetries are used: quarter turns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from e2e_jax.detector import geometry
from e2e_jax.detector.drawing import COUNT, events_of_hits

COLUMNS_OF_TURN = 5
"""Crystals of a turn by one step: the width of an HCAL tower."""
TURNS = geometry.EB_COLUMNS // COLUMNS_OF_TURN
QUARTER = TURNS // 4


class Symmetry(NamedTuple):
    """What is done to each event, each array `[n]`.

    Attributes:
      turn: int32, steps of 5 crystals by which it is rotated towards higher phi, before all else.
      reflected: bool, whether eta changes its sign.
      mirrored: bool, whether phi changes its sign.
    """

    turn: jax.Array
    reflected: jax.Array
    mirrored: jax.Array


def same_for_all(events: int, turn: int, reflected: bool, mirrored: bool) -> Symmetry:
    """One symmetry for all of so many events."""
    return Symmetry(
        jnp.full(events, turn, jnp.int32), jnp.full(events, reflected), jnp.full(events, mirrored)
    )


def step_of_turn(geometry_name: str) -> int:
    """The smallest turn, in steps of 5 crystals, that is a symmetry of the images of a geometry."""
    return 1 if geometry_name == "barrel" else QUARTER


def views(number: int, geometry_name: str) -> list[tuple[int, bool, bool]]:
    """Symmetries to average a prediction over: (turn, reflected, mirrored) of each, as unlike as they can be.

    The first leaves an event as it is, the second reflects it, the others also rotate it by equal angles.

    Raises:
      ValueError: `number` is below 1, or above the number of reflected and rotated views.
    """
    step = step_of_turn(geometry_name)
    most = 2 * (TURNS // step)
    if not 1 <= number <= most:
        raise ValueError(
            f"A prediction is averaged over 1 to {most} views (config.evaluate.symmetrize), not {number}."
        )
    turns = -(-number // 2)
    return [((view // 2) * (TURNS // step) // turns * step, view % 2 == 1, False) for view in range(number)]


def transform(batch: Mapping, symmetry: Symmetry) -> dict:
    """The batch with a given symmetry applied to each event; also "photons", [n, 2, (pt, eta, phi)].

    Rotations are exact symmetries of barrel hits and, by multiples of `QUARTER`, of all hits.

    Raises:
      ValueError: the batch holds none of "eb", "ee", "hcal" and "tracks".
    """
    if not any(name in batch for name in _OF_HITS):
        raise ValueError(
            "Symmetries are those of hits (eb, ee, hcal, tracks), but the batch holds "
            f"{', '.join(batch)}: set config.train.augment to () and config.evaluate.symmetrize to 1."
        )
    made = dict(batch)
    for name, rename in _OF_HITS.items():
        if name in batch:
            columns = batch[name]
            made[name] = {**columns, **rename(columns, *_of_hits(columns, symmetry))}
    if "photons" in batch:
        photons = batch["photons"]
        eta, phi = _direction(photons[..., 1], photons[..., 2], *(values[:, None] for values in symmetry))
        made["photons"] = jnp.stack([photons[..., 0], eta, phi], axis=-1)
    return made


def _of_hits(columns: Mapping, symmetry: Symmetry):
    """The event's symmetry for each hit of a padded or flat collection."""
    hits = next(values for name, values in columns.items() if name != COUNT)
    if COUNT not in columns:
        return tuple(values[:, None] for values in symmetry)
    counts = columns[COUNT].reshape(hits.shape[0], -1)
    event = jax.vmap(lambda count: events_of_hits(count, hits.shape[1]))(counts)
    event = jnp.minimum(event, counts.shape[1] - 1)
    return tuple(jnp.take_along_axis(values.reshape(counts.shape), event, axis=1) for values in symmetry)


def _barrel(columns: Mapping, turn, reflected, mirrored) -> dict:
    cell = columns["cell"].astype(jnp.int32)
    row, column = cell // geometry.EB_COLUMNS, cell % geometry.EB_COLUMNS
    column = (column + COLUMNS_OF_TURN * turn) % geometry.EB_COLUMNS
    # The middle of column c is at phi = c - 9.5 degrees.
    column = jnp.where(mirrored, (19 - column) % geometry.EB_COLUMNS, column)
    row = jnp.where(reflected, geometry.EB_ROWS - 1 - row, row)
    return {"cell": (row * geometry.EB_COLUMNS + column).astype(columns["cell"].dtype)}


def _endcaps(columns: Mapping, turn, reflected, mirrored) -> dict:
    cell, side = columns["cell"].astype(jnp.int32), geometry.EE_SIDE
    endcap, crystal = cell // side**2, cell % side**2
    y, x = crystal // side, crystal % side
    quarters = turn // QUARTER % 4
    turned = [(x, y), (side - 1 - y, x), (side - 1 - x, side - 1 - y), (y, side - 1 - x)]
    x, y = (jnp.select([quarters == q for q in range(4)], [place[i] for place in turned]) for i in range(2))
    y = jnp.where(mirrored, side - 1 - y, y)
    endcap = jnp.where(reflected, 1 - endcap, endcap)
    return {"cell": (endcap * side**2 + y * side + x).astype(columns["cell"].dtype)}


def _towers(columns: Mapping, turn, reflected, mirrored) -> dict:
    cell, width = columns["cell"].astype(jnp.int32), geometry.HCAL_COLUMNS
    depth, tower = cell // geometry.HCAL_TOWERS, cell % geometry.HCAL_TOWERS
    row, column = tower // width, (tower % width + turn) % width
    last = geometry.HCAL_ROWS // 2 - geometry.HCAL_LAST_NARROW
    wide = (row < last) | (row >= geometry.HCAL_ROWS - last)
    # A wide tower has the name of the first of its two columns.
    column = jnp.where(mirrored, (width - 1 - column - wide) % width, column)
    row = jnp.where(reflected, geometry.HCAL_ROWS - 1 - row, row)
    moved = depth * geometry.HCAL_TOWERS + row * width + column
    return {"cell": moved.astype(columns["cell"].dtype)}


def _tracks(columns: Mapping, turn, reflected, mirrored) -> dict:
    eta, phi = _direction(columns["eta"], columns["phi"], turn, reflected, mirrored)
    return {"eta": eta, "phi": phi}


def _direction(eta, phi, turn, reflected, mirrored):
    phi = geometry.delta_phi(phi + turn * np.float32(2 * np.pi / TURNS), np.float32(0))
    return jnp.where(reflected, -eta, eta), jnp.where(mirrored, -phi, phi)


_OF_HITS = {"eb": _barrel, "ee": _endcaps, "hcal": _towers, "tracks": _tracks}
