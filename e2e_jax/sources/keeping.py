"""How the results of tasks are kept on disk, so that work that was interrupted goes on where it stopped.

A worker of this machine writes its results itself. One of a cluster may not share a disk with who
ordered them: it sends the content of the file, and who ordered it writes that down.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from e2e_jax.sources.events import Events
from e2e_jax.sources.record import Record


class Format(NamedTuple):
    """How the result of a task is kept on disk.

    Attributes:
      suffix: end of the files' names.
      write: writes a result to a path, whole or not at all; goes to the workers.
      read: reads it back, or gives None where there is no file or it cannot be read.
    """

    suffix: str
    write: Callable
    read: Callable


def write_events(path: str | os.PathLike, events: Record, **notes: np.ndarray) -> None:
    """Writes a record, and arrays noted beside it, to an .npz file, whole or not at all."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    with partial.open("wb") as file:
        np.savez_compressed(file, **events.arrays(), **notes)
    partial.replace(path)


def read_events(path: str | os.PathLike, record: type[Record] = Events) -> Record | None:
    """A record as `write_events` wrote it, or None where there is no file or it cannot be read."""
    try:
        with pathlib.Path(path).open("rb") as file, np.load(file) as arrays:
            return record.from_arrays(arrays)
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def kept_as(record: type[Record]) -> Format:
    """How a record is kept."""
    return Format(".npz", write_events, functools.partial(read_events, record=record))


EVENTS = kept_as(Events)
"""How events are kept."""


@dataclasses.dataclass(frozen=True)
class Packed:
    """A result on its way: the content of the file that it will be kept as."""

    content: bytes


def make_and_keep(produce: Callable, task, path: pathlib.Path, write: Callable) -> Any:
    """Runs in a worker of this machine: makes a result and writes it to `path`."""
    result = produce(task)
    write(path, result)
    return result


def make_and_pack(produce: Callable, task, suffix: str, write: Callable) -> Any:
    """Runs in a worker anywhere: makes a result and packs it; as it is where `write` writes no file."""
    result = produce(task)
    with tempfile.TemporaryDirectory(prefix="e2e_jax-") as folder:
        path = pathlib.Path(folder) / f"result{suffix}"
        write(path, result)
        return Packed(path.read_bytes()) if path.exists() else result


def unpack(result: Any, path: pathlib.Path | None, read: Callable) -> Any:
    """The result itself; one that comes packed is written to `path` first, whole or not at all."""
    if not isinstance(result, Packed):
        return result
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    try:
        partial.write_bytes(result.content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return read(path)


def _partial(path: pathlib.Path) -> pathlib.Path:
    """Where a file is written until it is whole: a name that no other writer uses."""
    return path.with_name(f"{path.stem}.{os.getpid()}.{threading.get_ident()}.partial")
