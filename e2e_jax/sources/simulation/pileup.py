"""Pile-up: minimum-bias collisions, simulated once and overlaid many times."""

from __future__ import annotations

import dataclasses

import numpy as np

from e2e_jax.detector import geometry
from e2e_jax.events.base import Ragged
from e2e_jax.sources.simulation import crossings, generator
from e2e_jax.sources.simulation.response import Deposits, respond

STREAM = 2
"""First word of the seed of the pool's random numbers."""
BATCH = 50
SMALLEST_DEPOSIT = 0.002
"""GeV; smaller deposits in a crystal or tower of a minimum-bias event are dropped."""
SMALLEST_ENDCAP_DEPOSIT = 0.005
"""The same for an endcap crystal, whose noise is larger."""
VERTEX_SIGMA = 5.0
"""Length of the luminous region along the beam, cm (CMS 2012)."""
CRYSTALS_PER_TOWER = 5
QUARTER_TURN = geometry.HCAL_COLUMNS // 4
"""HCAL towers in a quarter of a turn."""


@dataclasses.dataclass(frozen=True)
class OutOfTime:
    """Contributions of collisions in neighboring bunch crossings to the measurements of a batch of events.

    Attributes:
      ecal: `[events, 61200]`, change of the amplitude of each barrel crystal, GeV; may be negative.
      hcal: `[crossings, events, HCAL_TOWERS]`, energy of each crossing in the towers, GeV.
      ee: as `ecal` for the endcap crystals; None if only the barrel was simulated.
    """

    ecal: np.ndarray
    hcal: np.ndarray
    ee: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Placed:
    """Collisions of a pool assigned to events, with a rotation each.

    Attributes:
      chosen: `[collisions]`, index in the pool.
      event: `[collisions]`, index of the event.
      turn: `[collisions]`, rotation in phi in HCAL towers.
      mirror: bool `[collisions]`, whether eta and z change sign.
      events: events of the batch.
    """

    chosen: np.ndarray
    event: np.ndarray
    turn: np.ndarray
    mirror: np.ndarray
    events: int


@dataclasses.dataclass(frozen=True)
class Pool:
    """Minimum-bias collisions as sparse deposits.

    Attributes:
      ecal, hcal: `cell` and `energy` in GeV.
      tracks: `pt`, `eta`, `phi`.
      vertex_z: float32 `[n]`, position along the beam, cm.
      sum_pt2: float32 `[n]`, sum of pT^2 of the tracks of its vertex, GeV^2.
      ee: as `ecal` for the endcap crystals; None in a pool of the barrel alone.
    """

    ecal: Ragged
    hcal: Ragged
    tracks: Ragged
    vertex_z: np.ndarray
    sum_pt2: np.ndarray
    ee: Ragged | None = None

    def __len__(self) -> int:
        return len(self.tracks)

    def overlay(
        self, deposits: Deposits, collisions: np.ndarray, rng: np.random.Generator, of_the_event: int = 0
    ) -> Deposits:
        """Add minimum-bias collisions of the same bunch crossing to each event.

        Each is rotated by a random number of towers in phi and mirrored in eta half of the time, so a
        pool of thousands gives millions of different overlays. With endcaps, whose crystals form a square
        grid, it is rotated by quarter turns.

        Args:
          deposits: deposits of a batch of events.
          collisions: `[events]`, number of collisions to add.
          rng: chooses and rotates them.
          of_the_event: number of them at the vertex of the event; they replace its multi-parton interactions.

        Returns:
          The sums, all tracks in the order of phi, and in `vertex_z` and `sum_pt2` the vertex assigned to
          the event: the one with the largest sum of pT^2, as in CMS.
        """
        placed = self._place(collisions, rng)
        ee = deposits.ee if self.ee is None else deposits.ee + self._endcaps(placed)
        tracks = _turned_tracks(self.tracks[placed.chosen], placed.turn, placed.mirror)
        vertex_z, sum_pt2 = self._vertex(deposits, placed, collisions, of_the_event)
        return Deposits(
            deposits.ecal + self._barrel(placed),
            deposits.hcal + self._towers(placed),
            _by_phi(deposits.tracks, tracks, placed),
            vertex_z,
            sum_pt2,
            ee,
        )

    def out_of_time(self, collisions: np.ndarray, rng: np.random.Generator) -> OutOfTime:
        """Contributions of collisions in neighboring crossings.

        Args:
          collisions: `[crossings, events]`, number of collisions in each of `crossings.NEIGHBORS`.
          rng: chooses and rotates them.
        """
        placed = self._place(collisions, rng)
        crossing = np.repeat(np.arange(collisions.size) // collisions.shape[1], collisions.ravel())
        ecal = crossings.ecal_shares()[crossing].astype(np.float32)
        apart = dataclasses.replace(
            placed, event=placed.event + crossing * placed.events, events=collisions.size
        )
        return OutOfTime(
            self._barrel(placed, ecal),
            self._towers(apart).reshape(*collisions.shape, -1),
            None if self.ee is None else self._endcaps(placed, ecal),
        )

    def barrel_energies(self, collisions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Energies in the barrel crystals from minimum-bias collisions, rotated as in `overlay`.

        Args:
          collisions: `[events]`, number of collisions per event.
          rng: chooses and rotates them.

        Returns:
          float64 `[events, 61200]`, GeV.
        """
        return self._barrel(self._place(collisions, rng))

    def _place(self, collisions: np.ndarray, rng: np.random.Generator) -> Placed:
        """Choose and rotate collisions; their numbers are `[..., events]`."""
        events, total = collisions.shape[-1], int(collisions.sum())
        chosen = rng.integers(len(self), size=total)
        if self.ee is None:
            turn = rng.integers(geometry.HCAL_COLUMNS, size=total)
        else:
            turn = rng.integers(4, size=total) * QUARTER_TURN
        event = np.repeat(np.arange(collisions.size) % events, collisions.ravel())
        return Placed(chosen, event, turn, rng.random(total) < 0.5, events)

    def _vertex(self, deposits: Deposits, placed: Placed, collisions: np.ndarray, of_the_event: int):
        """z (cm) and sum of pT^2 of the vertex with the largest sum, among each event and its pile-up."""
        sum_pt2 = self.sum_pt2[placed.chosen].astype(np.float64)
        rank = np.arange(len(placed.event)) - np.repeat(np.cumsum(collisions) - collisions, collisions)
        own = rank < of_the_event
        hard = deposits.sum_pt2 + np.bincount(placed.event[own], sum_pt2[own], placed.events)
        z = np.where(placed.mirror, -1, 1) * self.vertex_z[placed.chosen]
        z = np.concatenate([deposits.vertex_z, z[~own]])
        largest = np.concatenate([hard, sum_pt2[~own]])
        event = np.concatenate([np.arange(placed.events), placed.event[~own]])
        order = np.lexsort((largest, event))
        last = order[np.searchsorted(event[order], np.arange(placed.events), side="right") - 1]
        return z[last], largest[last]

    def _barrel(self, placed: Placed, weight: np.ndarray | None = None) -> np.ndarray:
        shape = (geometry.EB_ROWS, geometry.EB_COLUMNS)
        return _turned(self.ecal[placed.chosen], shape, placed.turn * CRYSTALS_PER_TOWER, placed, weight)

    def _towers(self, placed: Placed) -> np.ndarray:
        shape = (geometry.HCAL_ROWS, geometry.HCAL_COLUMNS)
        return _turned(self.hcal[placed.chosen], shape, placed.turn, placed)

    def _endcaps(self, placed: Placed, weight: np.ndarray | None = None) -> np.ndarray:
        """Energies `[events, EE_CELLS]`: a quarter turn takes (x, y) to (-y, x)."""
        hits, last = self.ee[placed.chosen], geometry.EE_SIDE - 1
        owner = hits.event_index
        side, crystal = np.divmod(hits.cell.astype(np.int64), geometry.EE_SIDE**2)
        row, column = np.divmod(crystal, geometry.EE_SIDE)
        side = np.where(placed.mirror[owner], 1 - side, side)
        quarters = placed.turn[owner] // QUARTER_TURN
        row, column = (
            np.choose(quarters, (row, column, last - row, last - column)),
            np.choose(quarters, (column, last - row, last - column, row)),
        )
        cell = (side * geometry.EE_SIDE + row) * geometry.EE_SIDE + column
        return _summed(hits, cell, geometry.EE_CELLS, placed, owner, weight)


def _turned(hits: Ragged, shape, turn, placed: Placed, weight=None) -> np.ndarray:
    """Rotated hits of the chosen collisions as dense energies `[events, cells]`."""
    rows, columns = shape
    owner = hits.event_index
    row = hits.cell // np.uint16(columns)  # `divmod` and `%` of int64 take several times as long
    column = (hits.cell - row * np.uint16(columns)).astype(np.int64) + turn[owner]
    column -= columns * (column >= columns)
    row = np.where(placed.mirror[owner], rows - 1 - row.astype(np.int64), row)
    return _summed(hits, row * columns + column, rows * columns, placed, owner, weight)


def _summed(hits: Ragged, cell, cells: int, placed: Placed, owner, weight) -> np.ndarray:
    energy = hits.energy if weight is None else hits.energy * weight[owner]
    index = placed.event[owner] * cells + cell
    return np.bincount(index, energy, placed.events * cells).reshape(placed.events, -1)


def _turned_tracks(tracks: Ragged, turn: np.ndarray, mirror: np.ndarray) -> Ragged:
    owner = tracks.event_index
    phi = tracks.phi + turn[owner] * (2 * np.pi / geometry.HCAL_COLUMNS)
    columns = {
        "pt": tracks.pt,
        "eta": np.where(mirror[owner], -tracks.eta, tracks.eta),
        "phi": geometry.delta_phi(phi, 0).astype(np.float32),
    }
    return Ragged(tracks.offsets, columns)


def _by_phi(hard: Ragged, soft: Ragged, placed: Placed) -> Ragged:
    """Merge the tracks of each event in the order of phi, which does not depend on their origin."""
    owner = np.concatenate([hard.event_index, placed.event[soft.event_index]])
    columns = {name: np.concatenate([hard.columns[name], soft.columns[name]]) for name in hard.columns}
    order = np.lexsort((columns["phi"], owner))
    columns = {name: column[order] for name, column in columns.items()}
    return Ragged.from_counts(np.bincount(owner, minlength=placed.events), columns)


def simulate_pool(events: int, seed: int, endcaps: bool = False) -> Pool:
    """Generate and simulate minimum-bias events; the same arguments give the same pool."""
    rng = np.random.default_rng([STREAM, seed])
    parts: list[tuple] = []
    made = 0
    for record in generator.generate(generator.MINIMUM_BIAS, seed, chunk=BATCH):
        record = record[: events - made]
        made += len(record)
        found = respond(record, rng.normal(0, VERTEX_SIGMA, len(record)), rng, endcaps)
        ee = (_sparse(found.ee, SMALLEST_ENDCAP_DEPOSIT),) if endcaps else ()
        vertices = found.vertex_z.astype(np.float32), found.sum_pt2.astype(np.float32)
        parts.append((_sparse(found.ecal), _sparse(found.hcal), found.tracks, *vertices, *ee))
        if made >= events:
            break
    return Pool(*map(_joined, zip(*parts, strict=True)))


def _joined(parts: tuple) -> Ragged | np.ndarray:
    return Ragged.concatenate(parts) if isinstance(parts[0], Ragged) else np.concatenate(parts)


def _sparse(dense: np.ndarray, smallest: float = SMALLEST_DEPOSIT) -> Ragged:
    event, cell = np.nonzero(dense > smallest)
    columns = {"cell": cell.astype(np.uint16), "energy": dense[event, cell].astype(np.float32)}
    return Ragged.from_counts(np.bincount(event, minlength=len(dense)), columns)
