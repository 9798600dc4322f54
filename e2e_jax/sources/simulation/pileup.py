"""Pile-up: minimum-bias collisions simulated once, and overlaid many times."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import os
import pathlib
from collections.abc import Mapping

import numpy as np

import e2e_jax
from e2e_jax.detector import geometry
from e2e_jax.events.base import Ragged
from e2e_jax.files import npz
from e2e_jax.sources.simulation import generator
from e2e_jax.sources.simulation.response import Deposits, respond

POOL_EVENTS = 15_000
POOL_SEED = 20_120_404
STREAM = 2
"""First word of the seed of the pool's random numbers."""
COLLISION_ENERGY = 8000.0
"""GeV; the calorimeters measure less than this in one collision."""
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
    rng = np.random.default_rng([STREAM, seed])
    parts: list[tuple[Ragged, ...]] = []
    chunks = generator.generate(generator.MINIMUM_BIAS, seed, chunk=BATCH)
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
    """The pool that all simulations share: read from `pool_path`, or made and put there.

    A damaged file is made again.
    """
    path = pool_path(events, seed, endcaps)
    with contextlib.suppress(FileNotFoundError, npz.NpzError):
        return read_pool(path, events, endcaps)
    pool = simulate_pool(events, seed, endcaps)
    write_pool(path, pool)
    return pool


def pool_path(events: int = POOL_EVENTS, seed: int = POOL_SEED, endcaps: bool = False) -> pathlib.Path:
    """The file of a pool in the user's cache, `$XDG_CACHE_HOME/e2e_jax` (`~/.cache/e2e_jax`).

    Its name holds the version of Pythia and a digest of the code that makes the pool, so another version
    makes a pool of its own.
    """
    root = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    extent = "_endcaps" if endcaps else ""
    return root / "e2e_jax" / f"minimum_bias_{_made_by()}{extent}_{seed}_{events}.npz"


@functools.cache
def _made_by() -> str:
    """The version of Pythia and a digest of the code, the tables and numpy, which make the pool."""
    package = pathlib.Path(e2e_jax.__file__).parent
    code = hashlib.sha256(np.__version__.encode())
    for folder in ("detector", "sources/simulation"):
        for path in sorted((package / folder).rglob("*")):
            if path.suffix in (".py", ".npz"):
                code.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    try:
        version = importlib.metadata.version("pythia8mc")
    except importlib.metadata.PackageNotFoundError:
        version = "absent"
    return f"pythia{version}_{code.hexdigest()[:16]}"


def write_pool(path: str | os.PathLike, pool: Pool) -> None:
    """Writes a pool with a digest of its content, completely or not at all.

    Raises:
      atomic.WriteError: the disk is full, or the folder cannot be written.
    """
    arrays = {}
    for name, ragged in _parts(pool).items():
        arrays[f"{name}.offsets"] = ragged.offsets
        arrays |= {f"{name}.{column}": values for column, values in ragged.columns.items()}
    npz.write(path, arrays | {"digest": np.array(_digest(arrays))}, compressed=False)


def read_pool(path: str | os.PathLike, events: int, endcaps: bool) -> Pool:
    """Reads a pool and checks its content.

    Raises:
      npz.NpzError: the file is damaged, has another digest than its content, or holds no pool of so many
        events: a cell or an energy is out of range.
      OSError: the file cannot be read; FileNotFoundError where there is none.
    """
    arrays = npz.read(path)
    digest = arrays.pop("digest", None)
    try:
        if digest is None or str(digest) != _digest(arrays):
            raise ValueError("its content has another digest")
        columns = dict.fromkeys((*_CELLS,), ("cell", "energy")) | {"tracks": ("pt", "eta", "phi")}
        if not endcaps:
            del columns["ee"]
        pool = Pool(
            **{
                name: Ragged(arrays[f"{name}.offsets"], {c: arrays[f"{name}.{c}"] for c in of})
                for name, of in columns.items()
            }
        )
        _check(pool, events)
    except (KeyError, ValueError) as error:
        raise npz.NpzError(f"{path} holds no sound pile-up: {error}. Delete it; it is made again.") from error
    return pool


_CELLS = {"ecal": geometry.EB_CELLS, "hcal": geometry.HCAL_TOWERS, "ee": geometry.EE_CELLS}


def _parts(pool: Pool) -> dict[str, Ragged]:
    parts = {field.name: getattr(pool, field.name) for field in dataclasses.fields(pool)}
    return {name: ragged for name, ragged in parts.items() if ragged is not None}


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _check(pool: Pool, events: int) -> None:
    """Raises a ValueError if a pool cannot be of so many collisions at 8 TeV."""
    total = np.zeros(events)
    for name, ragged in _parts(pool).items():
        lengths = {len(column) for column in ragged.columns.values()}
        ends = ragged.offsets[[0, -1]].tolist()
        if len(ragged) != events or lengths != {ends[1]} or ends[0] != 0 or (ragged.counts < 0).any():
            raise ValueError(f"{name} holds no lists of {events} events")
        if name == "tracks":
            sound = (ragged.pt > 0) & (ragged.pt < COLLISION_ENERGY)
            sound &= (abs(ragged.eta) < 10) & (abs(ragged.phi) <= np.float32(np.pi))
        else:
            sound = (ragged.energy > 0) & (ragged.cell < _CELLS[name])
            total += np.bincount(ragged.event_index, ragged.energy, events)
        if not sound.all():
            raise ValueError(f"{name} holds a value out of range")
    if not (total < COLLISION_ENERGY).all():
        raise ValueError(
            f"a collision left {total.max():g} GeV, more than the {COLLISION_ENERGY:g} GeV of both beams"
        )
