"""Storage of the results of jobs on disk, so that interrupted work can resume.

A worker of this machine writes its results itself. A worker of a cluster may not share a disk with the
client: it sends the content of the file, and the client writes it.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import tempfile
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from e2e_jax.events.base import OBSERVABLES, Ragged, Record, column_type
from e2e_jax.events.diphotons import Events
from e2e_jax.files import atomic, npz


class Format(NamedTuple):
    """The file format of the result of a job.

    Attributes:
      suffix: suffix of the file names.
      write: function that writes a result to a path atomically; called in the workers.
      read: function that reads the result; returns None if the file is absent or unreadable.
    """

    suffix: str
    write: Callable
    read: Callable


def to_arrays(events: Record) -> dict[str, np.ndarray]:
    """The columns of a record by name. A collection gives "name.counts" and "name.column"."""
    arrays = {name: getattr(events, name) for name in (*events.SCALARS, *events.TENSORS)}
    arrays |= {f"{OBSERVABLES}.{name}": values for name, values in events.observables.items()}
    for name, columns in events.ragged().items():
        ragged = getattr(events, name)
        arrays |= {f"{name}.counts": ragged.counts.astype(np.int32)}
        arrays |= {f"{name}.{column}": ragged.columns[column] for column in columns}
    return arrays


def from_arrays(arrays: Mapping[str, np.ndarray], record: type[Record]) -> Record:
    """The record from the arrays of `to_arrays`; other arrays are ignored.

    Raises:
      ValueError: a column is missing, or has a wrong type or length.
    """
    scalars = {name: (dtype, ()) for name, dtype in record.SCALARS.items()}
    tensors = {name: (dtype, shape) for name, (shape, dtype) in record.TENSORS.items()}
    fields = {name: _column(arrays, name, *kind) for name, kind in (scalars | tensors).items()}
    for name, columns in record.ragged().items():
        counts = _column(arrays, f"{name}.counts", np.int32, ()).astype(np.int64)
        if counts.min(initial=0) < 0:
            raise ValueError(f"Column {name}.counts is negative.")
        flat = {
            column: _column(arrays, f"{name}.{column}", *column_type(columns[column])) for column in columns
        }
        fields[name] = Ragged.from_counts(counts, flat)
    prefix = f"{OBSERVABLES}."
    names = [name for name in arrays if name.startswith(prefix)]
    observables = {name.removeprefix(prefix): _column(arrays, name, np.float32, ()) for name in names}
    if len(lengths := {len(field) for field in (fields | observables).values()}) > 1:
        raise ValueError(f"The columns differ in their number of events: {sorted(lengths)}.")
    return record(**fields, observables=observables)


def _column(arrays: Mapping[str, np.ndarray], name: str, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    array = arrays.get(name)
    if array is None or array.dtype != dtype or array.ndim == 0 or array.shape[1:] != shape:
        found = "missing" if array is None else f"{array.dtype}{list(array.shape)}"
        raise ValueError(
            f"Column {name} is {found}; expected {np.dtype(dtype)} of shape [n, *{list(shape)}]."
        )
    return array


def write_events(path: str | os.PathLike, events: Record, **notes: np.ndarray) -> None:
    """Write a record and additional arrays (`notes`) to an .npz file atomically.

    Raises:
      atomic.WriteError: the disk is full, or the folder cannot be written.
    """
    npz.write(path, to_arrays(events) | notes)


def read_events(path: str | os.PathLike, record: type[Record] = Events) -> Record | None:
    """Read the record that `write_events` wrote; None if the file is absent or unreadable."""
    kept = read_noted(path, record)
    return kept and kept[0]


def read_noted(
    path: str | os.PathLike, record: type[Record] = Events
) -> tuple[Record, dict[str, np.ndarray]] | None:
    """The same, with all arrays of the file, including the additional ones."""
    try:
        arrays = npz.read(path)
        return from_arrays(arrays, record), arrays
    except (OSError, ValueError):
        return None


def kept_as(record: type[Record]) -> Format:
    """The file format of a record."""
    return Format(".npz", write_events, functools.partial(read_events, record=record))


EVENTS = kept_as(Events)
"""The file format of events."""


@dataclasses.dataclass(frozen=True)
class Packed:
    """A result in transfer: the content of its file."""

    content: bytes


def make_and_keep(produce: Callable, job, path: pathlib.Path, write: Callable) -> Any:
    """Make a result in a worker of this machine and write it to `path`."""
    result = produce(job)
    write(path, result)
    return result


def make_and_pack(produce: Callable, job, suffix: str, write: Callable) -> Any:
    """Make a result in any worker and pack it; if `write` writes no file, return it unchanged."""
    result = produce(job)
    with tempfile.TemporaryDirectory(prefix="e2e_jax-") as folder:
        path = pathlib.Path(folder) / f"result{suffix}"
        write(path, result)
        return Packed(path.read_bytes()) if path.exists() else result


def unpack(result: Any, path: pathlib.Path | None, read: Callable) -> Any:
    """The result itself. A packed result is first written to `path`."""
    if not isinstance(result, Packed):
        return result
    atomic.write_file(path, lambda file: file.write(result.content))
    return read(path)
