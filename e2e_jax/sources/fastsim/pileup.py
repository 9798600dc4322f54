"""Pile-up: minimum-bias collisions simulated once, and overlaid many times."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import pathlib
import tempfile

import numpy as np

from e2e_jax.detector import geometry
from e2e_jax.sources.events import Ragged
from e2e_jax.sources.fastsim import generator
from e2e_jax.sources.fastsim.response import Deposits, respond

POOL_EVENTS = 15_000
POOL_SEED = 20_120_404
POOL_VERSION = 2
"""Raise it whenever the response or the generator changes: pools on disk are found by it."""
ENDCAPS_VERSION = 1
"""The same for what only pools with endcaps hold."""
BATCH = 50
SMALLEST_DEPOSIT = 0.002
"""GeV; less in a crystal or tower of a minimum-bias event is not kept."""
SMALLEST_ENDCAP_DEPOSIT = 0.005
"""The same for an endcap crystal, whose noise is larger."""
VERTEX_SIGMA = 5.0
"""Length of the luminous region along the beam, cm (CMS 2012)."""
CRYSTALS_PER_TOWER = 5
QUARTER_TURN = geometry.HCAL_COLUMNS // 4
"""HCAL towers in a quarter of a turn."""


@dataclasses.dataclass(frozen=True)
class Pool:
    """Minimum-bias events as sparse deposits: `ecal` and `hcal` (cell, energy in GeV), and tracks.

    `ee` holds those of the endcap crystals; it is None in a pool of the barrel alone.
    """

    ecal: Ragged
    hcal: Ragged
    tracks: Ragged
    ee: Ragged | None = None

    def __len__(self) -> int:
        return len(self.tracks)

    def overlay(self, deposits: Deposits, collisions: np.ndarray, rng: np.random.Generator) -> Deposits:
        """Adds minimum-bias collisions to each event.

        Each is rotated by a random number of towers in phi and mirrored in eta half of the time, so a
        pool of thousands gives millions of different overlays. With endcaps, whose crystals stand on a
        square grid, it is rotated by quarters of a turn.

        Args:
          deposits: of a batch of events.
          collisions: `[events]`, how many to add to each.
          rng: chooses and turns them.
        """
        total = int(collisions.sum())
        event = np.repeat(np.arange(len(collisions)), collisions)
        chosen = rng.integers(len(self), size=total)
        if self.ee is None:
            turn = rng.integers(geometry.HCAL_COLUMNS, size=total)
        else:
            turn = rng.integers(4, size=total) * QUARTER_TURN
        mirror = rng.random(total) < 0.5
        shape = (geometry.EB_ROWS, geometry.EB_COLUMNS)
        ecal = _turned(self.ecal[chosen], shape, turn * CRYSTALS_PER_TOWER, mirror, event, len(collisions))
        shape = (geometry.HCAL_ROWS, geometry.HCAL_COLUMNS)
        hcal = _turned(self.hcal[chosen], shape, turn, mirror, event, len(collisions))
        tracks = _turned_tracks(self.tracks[chosen], turn, mirror)
        tracks = _join(deposits.tracks, tracks, event, len(collisions))
        ee = deposits.ee
        if self.ee is not None:
            ee = ee + _turned_endcaps(self.ee[chosen], turn // QUARTER_TURN, mirror, event, len(collisions))
        return Deposits(deposits.ecal + ecal, deposits.hcal + hcal, tracks, ee)

    def barrel_energies(self, collisions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """What minimum-bias collisions, turned as in `overlay`, leave in the barrel crystals.

        Args:
          collisions: `[events]`, how many of them each event has.
          rng: chooses and turns them.

        Returns:
          float64 `[events, 61200]`, GeV.
        """
        total = int(collisions.sum())
        event = np.repeat(np.arange(len(collisions)), collisions)
        hits = self.ecal[rng.integers(len(self), size=total)]
        turn = rng.integers(geometry.HCAL_COLUMNS, size=total) * CRYSTALS_PER_TOWER
        shape = (geometry.EB_ROWS, geometry.EB_COLUMNS)
        return _turned(hits, shape, turn, rng.random(total) < 0.5, event, len(collisions))


def _turned(hits: Ragged, shape, turn, mirror, event, events: int) -> np.ndarray:
    """Hits of the chosen collisions, turned, as dense energies `[events, cells]`."""
    rows, columns = shape
    owner = hits.event_index
    row, column = np.divmod(hits.cell.astype(np.int64), columns)
    row = np.where(mirror[owner], rows - 1 - row, row)
    column = (column + turn[owner]) % columns
    index = event[owner] * (rows * columns) + row * columns + column
    return np.bincount(index, hits.energy, events * rows * columns).reshape(events, -1)


def _turned_endcaps(hits: Ragged, quarters, mirror, event, events: int) -> np.ndarray:
    """The same in the endcaps, `[events, EE_CELLS]`: a quarter turn takes (x, y) to (-y, x)."""
    owner, last = hits.event_index, geometry.EE_SIDE - 1
    side, crystal = np.divmod(hits.cell.astype(np.int64), geometry.EE_SIDE**2)
    row, column = np.divmod(crystal, geometry.EE_SIDE)
    side = np.where(mirror[owner], 1 - side, side)
    quarters = quarters[owner]
    row, column = (
        np.choose(quarters, (row, column, last - row, last - column)),
        np.choose(quarters, (column, last - row, last - column, row)),
    )
    cell = (side * geometry.EE_SIDE + row) * geometry.EE_SIDE + column
    index = event[owner] * geometry.EE_CELLS + cell
    return np.bincount(index, hits.energy, events * geometry.EE_CELLS).reshape(events, -1)


def _turned_tracks(tracks: Ragged, turn: np.ndarray, mirror: np.ndarray) -> Ragged:
    owner = tracks.event_index
    phi = tracks.phi + turn[owner] * (2 * np.pi / geometry.HCAL_COLUMNS)
    columns = {
        "pt": tracks.pt,
        "eta": np.where(mirror[owner], -tracks.eta, tracks.eta),
        "phi": geometry.delta_phi(phi, 0).astype(np.float32),
    }
    return Ragged(tracks.offsets, columns)


def _join(hard: Ragged, soft: Ragged, event: np.ndarray, events: int) -> Ragged:
    """Tracks of the hard collision first, then those of its pile-up."""
    owner = np.concatenate([hard.event_index, event[soft.event_index]])
    order = np.argsort(owner, kind="stable")
    columns = {name: np.concatenate([hard.columns[name], soft.columns[name]])[order] for name in hard.columns}
    return Ragged.from_counts(np.bincount(owner, minlength=events), columns)


def simulate_pool(events: int = POOL_EVENTS, seed: int = POOL_SEED, endcaps: bool = False) -> Pool:
    """Generates and simulates minimum-bias events; the same arguments give the same pool."""
    rng = np.random.default_rng([POOL_VERSION, seed])
    parts: list[tuple[Ragged, ...]] = []
    chunks = generator.generate("minimum_bias", seed, chunk=BATCH)
    made = 0
    for record in chunks:
        record = record[: events - made]
        made += len(record)
        deposits = respond(record, rng.normal(0, VERTEX_SIGMA, len(record)), rng, endcaps)
        part = (_sparse(deposits.ecal), _sparse(deposits.hcal), deposits.tracks)
        parts.append((*part, _sparse(deposits.ee, SMALLEST_ENDCAP_DEPOSIT)) if endcaps else part)
        if made >= events:
            break
    return Pool(*(Ragged.concatenate(part) for part in zip(*parts, strict=True)))


def _sparse(dense: np.ndarray, smallest: float = SMALLEST_DEPOSIT) -> Ragged:
    event, cell = np.nonzero(dense > smallest)
    columns = {"cell": cell.astype(np.uint16), "energy": dense[event, cell].astype(np.float32)}
    return Ragged.from_counts(np.bincount(event, minlength=len(dense)), columns)


@functools.cache
def minimum_bias_pool(events: int = POOL_EVENTS, seed: int = POOL_SEED, endcaps: bool = False) -> Pool:
    """The pool that simulation tasks share: read from the user's cache, or made and put there.

    The cache is `$XDG_CACHE_HOME/e2e_jax` (`~/.cache/e2e_jax`); its content depends on the arguments
    and `POOL_VERSION` alone, so deleting it costs the time to make it again and nothing else.
    """
    root = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    extent = f"_endcaps{ENDCAPS_VERSION}" if endcaps else ""
    path = root / "e2e_jax" / f"minimum_bias_v{POOL_VERSION}{extent}_{seed}_{events}.npz"
    if path.exists():
        return _read(path)
    pool = simulate_pool(events, seed, endcaps)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npz", delete=False) as file:
        np.savez(file, **_arrays(pool))
    os.replace(file.name, path)
    return pool


def _arrays(pool: Pool) -> dict[str, np.ndarray]:
    out = {}
    for field in dataclasses.fields(pool):
        ragged = getattr(pool, field.name)
        if ragged is None:
            continue
        out[f"{field.name}.offsets"] = ragged.offsets
        out |= {f"{field.name}.{name}": column for name, column in ragged.columns.items()}
    return out


def _read(path: pathlib.Path) -> Pool:
    with np.load(path) as file:
        names = sorted(file.files)
        ragged = {}
        for part, group in itertools.groupby(names, lambda name: name.split(".")[0]):
            columns = {name.split(".")[1]: file[name] for name in group}
            ragged[part] = Ragged(columns.pop("offsets"), columns)
    return Pool(**ragged)
