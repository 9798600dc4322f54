"""Events as flat arrays in a folder, one .npy file per column, which are mapped into memory and not read.

Opening a sample takes the same short time whatever its size; the system reads the pages that are used and
keeps them in its file cache, once for all processes.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import mmap
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from e2e_jax.events.base import Record
from e2e_jax.files import atomic, digests

MANIFEST = "manifest.json"

AnyRecord = TypeVar("AnyRecord", bound=Record)


def layout(record: type[Record]) -> list:
    """What a record's columns are: arrays of another layout are not its own."""
    declared = {**record.SCALARS, **record.TENSORS, **record.ragged()}
    return [record.__name__, {name: str(kind) for name, kind in declared.items()}]


def write(folder: pathlib.Path, parts: Iterable[Record], key: str, notes: Sequence[pathlib.Path]) -> None:
    """Writes events to a new folder, whole or not at all; one of that name is replaced.

    Args:
      folder: where the arrays go.
      parts: the events, at least one part; only one part at a time is in memory.
      key: identifies the content; `open_mapped` asks for it.
      notes: see `digests.changed`.
    """
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        with contextlib.ExitStack() as stack:
            columns: dict[str, _Column] = {}
            for part in parts:
                for name, values in part.arrays().items():
                    if name not in columns:
                        columns[name] = stack.enter_context(_Column(partial / f"{name}.npy", values))
                    elif name in part.ragged():
                        columns[name].append(values[1:] + columns[name].last)
                    else:
                        columns[name].append(values)
        paths = sorted(partial.glob("*.npy"))
        # The disk writes all files at once while their checksums are computed.
        with concurrent.futures.ThreadPoolExecutor() as pool:
            synced = [pool.submit(atomic.sync, path) for path in paths]
            files = dict(zip([path.name for path in paths], pool.map(digests.crc_of_file, paths)))
        for done in synced:
            done.result()
        digests.write_sealed(partial / MANIFEST, {"key": key, "crc32": files})
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
        digests.note(folder, files, notes)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class _Column:
    """A .npy file that grows; its header, which has room for any length, is written again at the end."""

    def __init__(self, path: pathlib.Path, values: np.ndarray):
        self._file, self._dtype, self._shape = path.open("wb"), values.dtype, values.shape[1:]
        self._length, self.last = 0, 0
        self._write_header()
        self.append(values)

    def append(self, values: np.ndarray) -> None:
        """Adds values along the first axis; `last` is the last of a column of numbers."""
        self._file.write(np.ascontiguousarray(values, self._dtype).data)
        self._length += len(values)
        if len(values) and not self._shape:
            self.last = values[-1]

    def __enter__(self) -> _Column:
        return self

    def __exit__(self, *_) -> None:
        with self._file as file:
            file.seek(0)
            self._write_header()

    def _write_header(self) -> None:
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self._length, *self._shape),
        }
        np.lib.format.write_array_header_1_0(self._file, header)


def read_at_random(events: Record) -> None:
    """Tells the system that mapped events are read in any order: what lies next to them is not read too."""
    for values in events.arrays().values():
        base = values
        while base is not None and not isinstance(base, mmap.mmap):
            base = getattr(base, "base", None)
        if base is not None and hasattr(mmap, "MADV_RANDOM"):
            base.madvise(mmap.MADV_RANDOM)


def open_mapped(
    folder: pathlib.Path, record: type[AnyRecord], key: str, notes: Sequence[pathlib.Path]
) -> AnyRecord | None:
    """The events that `write` wrote, as read-only arrays mapped into memory.

    Args:
      folder: where the arrays are.
      record: what they are.
      key: what they were written with.
      notes: see `digests.changed`.

    Returns:
      The events; None where they are absent, incomplete, changed, or written with another key.
    """
    manifest = digests.read_sealed(folder / MANIFEST)
    if manifest is None or manifest.get("key") != key:
        return None
    if digests.changed(folder, manifest["crc32"], notes, digests.crc_of_file):
        return None
    return record.from_arrays(_Mapped(folder, manifest["crc32"]))


class _Mapped(Mapping):
    """The arrays of a folder by name, mapped when asked for."""

    def __init__(self, folder: pathlib.Path, files: Sequence[str]):
        self._folder, self._names = folder, [name.removesuffix(".npy") for name in files]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, name: str) -> np.ndarray:
        # As a plain array: operations on the subclass for maps are slower.
        return np.load(self._folder / f"{name}.npy", mmap_mode="r", allow_pickle=False).view(np.ndarray)
