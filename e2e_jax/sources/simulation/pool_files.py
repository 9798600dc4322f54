"""Files of minimum-bias collisions, made once by the first process that needs them and mapped into memory.

Each split of a dataset has its own pool, so no pile-up of the training appears in the validation. A pool is a
number of shards: files of `SHARD_EVENTS` collisions, each with its own seed. Several processes make different
shards at the same time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import os
import pathlib
import time
import zlib
from collections.abc import Callable, Mapping

import filelock
import numpy as np

import e2e_jax
from e2e_jax.detector import geometry
from e2e_jax.events.base import Ragged
from e2e_jax.files import npz
from e2e_jax.sources.simulation.pileup import Pool, simulate_pool

SHARD_EVENTS = 2_500
"""Collisions per file; one core needs 5 s."""
COLLISION_ENERGY = 8000.0
"""GeV; upper bound of the energy that the calorimeters measure in one collision."""


@dataclasses.dataclass(frozen=True)
class Shards:
    """The pool from which a job draws its pile-up.

    Attributes:
      split: name of the split, which determines the seeds.
      count: number of shards.
      endcaps: whether it contains the whole detector.
    """

    split: str
    count: int = 1
    endcaps: bool = False

    def seed(self, index: int) -> int:
        """Seed of a shard."""
        return zlib.crc32(f"{self.split} {index}".encode()) % 900_000_000

    def path(self, index: int) -> pathlib.Path:
        """The file of a shard in the user's cache, `$XDG_CACHE_HOME/e2e_jax` (`~/.cache/e2e_jax`).

        Its name contains the version of Pythia and a digest of the code that makes it, so another version
        makes another file.
        """
        root = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
        extent = "_endcaps" if self.endcaps else ""
        return root / "e2e_jax" / f"minimum_bias_{_made_by()}{extent}_{self.split}_{index}_{SHARD_EVENTS}.npz"

    def open(self, index: int) -> Pool:
        """Map a shard from its file; makes and writes a missing or damaged one."""
        return _opened(self.path(index), self.seed(index), self.endcaps)

    def draw(self, rng: np.random.Generator) -> Pool:
        """Open a random shard."""
        return self.open(int(rng.integers(self.count)))

    def make(self, wait: Callable[[], None] = lambda: time.sleep(0.1)) -> None:
        """Make all missing shards; other processes may do the same at the same time.

        Args:
          wait: called repeatedly while other processes make the last shards.
        """
        while missing := [index for index in range(self.count) if not self.path(index).exists()]:
            if not any(self._made(index) for index in missing):
                wait()

    def _made(self, index: int) -> bool:
        """Make a shard, unless another process is making it."""
        path = self.path(index)
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(filelock.FileLock(path.with_suffix(".lock")).acquire(blocking=False))
            except filelock.Timeout:
                return False
            except (OSError, NotImplementedError):
                pass  # Without locks in the file system, every process makes every shard.
            if not path.exists():
                write_pool(path, simulate_pool(SHARD_EVENTS, self.seed(index), self.endcaps))
        return True


@functools.cache
def _opened(path: pathlib.Path, seed: int, endcaps: bool) -> Pool:
    with contextlib.suppress(FileNotFoundError, npz.NpzError):
        return read_pool(path, SHARD_EVENTS, endcaps)
    write_pool(path, simulate_pool(SHARD_EVENTS, seed, endcaps))
    return read_pool(path, SHARD_EVENTS, endcaps)


@functools.cache
def _made_by() -> str:
    """Version of Pythia, and digest of the code, the tables and the numpy version that make the pool."""
    package = pathlib.Path(e2e_jax.__file__).parent
    code = hashlib.sha256(np.__version__.encode())
    for folder in ("detector", "sources/simulation"):
        for path in sorted((package / folder).rglob("*")):
            if path.suffix in (".py", ".npz", ".txt"):
                code.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    try:
        version = importlib.metadata.version("pythia8mc")
    except importlib.metadata.PackageNotFoundError:
        version = "absent"
    return f"pythia{version}_{code.hexdigest()[:16]}"


def write_pool(path: str | os.PathLike, pool: Pool) -> None:
    """Write a pool with a digest of its content, atomically.

    Raises:
      atomic.WriteError: the disk is full, or the folder cannot be written.
    """
    arrays = {}
    for name, part in _parts(pool).items():
        if isinstance(part, Ragged):
            arrays[f"{name}.offsets"] = part.offsets
            arrays |= {f"{name}.{column}": values for column, values in part.columns.items()}
        else:
            arrays[name] = part
    npz.write(path, arrays | {"digest": np.array(_digest(arrays))}, compressed=False)


def read_pool(path: str | os.PathLike, events: int, endcaps: bool) -> Pool:
    """Map a pool into memory and check its content.

    Raises:
      npz.NpzError: the file is damaged, its digest differs from that of its content, or it is not a pool of
        this number of events, or a cell or an energy is out of range.
      OSError: the file cannot be read; FileNotFoundError if it does not exist.
    """
    arrays = npz.mapped(path)
    digest = arrays.pop("digest", None)
    try:
        if digest is None or str(digest) != _digest(arrays):
            raise ValueError("its content has another digest")
        columns = dict.fromkeys((*_CELLS,), ("cell", "energy")) | {"tracks": ("pt", "eta", "phi")}
        if not endcaps:
            del columns["ee"]
        parts = {
            name: Ragged(arrays[f"{name}.offsets"], {c: arrays[f"{name}.{c}"] for c in of})
            for name, of in columns.items()
        }
        pool = Pool(**parts, vertex_z=arrays["vertex_z"], sum_pt2=arrays["sum_pt2"])
        _check(pool, events)
    except (KeyError, ValueError) as error:
        raise npz.NpzError(f"{path} holds no sound pile-up: {error}. Delete it; it is made again.") from error
    return pool


_CELLS = {"ecal": geometry.EB_CELLS, "hcal": geometry.HCAL_TOWERS, "ee": geometry.EE_CELLS}


def _parts(pool: Pool) -> dict[str, Ragged | np.ndarray]:
    parts = {field.name: getattr(pool, field.name) for field in dataclasses.fields(pool)}
    return {name: part for name, part in parts.items() if part is not None}


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    return digest.hexdigest()


def _check(pool: Pool, events: int) -> None:
    """Raise a ValueError if a pool is impossible for this number of collisions at 8 TeV."""
    total = np.zeros(events)
    for name, part in _parts(pool).items():
        if not isinstance(part, Ragged):
            if part.shape != (events,) or not np.isfinite(part).all():
                raise ValueError(f"{name} holds no {events} numbers")
            continue
        lengths = {len(column) for column in part.columns.values()}
        ends = part.offsets[[0, -1]].tolist()
        if len(part) != events or lengths != {ends[1]} or ends[0] != 0 or (part.counts < 0).any():
            raise ValueError(f"{name} holds no lists of {events} events")
        if name == "tracks":
            sound = (part.pt > 0) & (part.pt < COLLISION_ENERGY)
            sound &= (abs(part.eta) < 10) & (abs(part.phi) <= np.float32(np.pi))
        else:
            sound = (part.energy > 0) & (part.cell < _CELLS[name])
            total += np.bincount(part.event_index, part.energy, events)
        if not sound.all():
            raise ValueError(f"{name} holds a value out of range")
    if not (total < COLLISION_ENERGY).all():
        raise ValueError(
            f"a collision left {total.max():g} GeV, more than the {COLLISION_ENERGY:g} GeV of both beams"
        )
