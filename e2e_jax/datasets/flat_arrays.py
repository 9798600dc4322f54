"""Events as flat arrays in a folder, one memory-mapped .npy file per column.

Opening a sample takes the same short time for any size. The system reads only the pages that are used, and
all processes share its file cache.
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
    """The columns of a record, to detect arrays with another layout."""
    declared = {**record.SCALARS, **record.TENSORS, **record.ragged()}
    return [record.__name__, {name: str(kind) for name, kind in declared.items()}]


def write(folder: pathlib.Path, parts: Iterable[Record], key: str, notes: Sequence[pathlib.Path]) -> None:
    """Write events to a folder atomically; an existing folder is replaced.

    Args:
      folder: folder of the arrays.
      parts: the events, at least one part; only one part at a time is in memory.
      key: identifies the content; `open_mapped` requires the same key.
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
        # All files are written to disk concurrently while their checksums are computed.
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
    """A .npy file that grows. Its header, of a fixed size, is rewritten at the end."""

    def __init__(self, path: pathlib.Path, values: np.ndarray):
        self._file, self._dtype, self._shape = path.open("wb"), values.dtype, values.shape[1:]
        self._length, self.last = 0, 0
        self._write_header()
        self.append(values)

    def append(self, values: np.ndarray) -> None:
        """Append values along the first axis; `last` is the last value of a one-dimensional column."""
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
    """Advise the system that mapped events are read in random order, which disables its read-ahead."""
    for values in events.arrays().values():
        base = values
        while base is not None and not isinstance(base, mmap.mmap):
            base = getattr(base, "base", None)
        if base is not None and hasattr(mmap, "MADV_RANDOM"):
            base.madvise(mmap.MADV_RANDOM)


def open_mapped(
    folder: pathlib.Path, record: type[AnyRecord], key: str, notes: Sequence[pathlib.Path]
) -> AnyRecord | None:
    """Open the events that `write` wrote, as read-only memory-mapped arrays.

    Args:
      folder: folder of the arrays.
      record: class of the events.
      key: the key of `write`.
      notes: see `digests.changed`.

    Returns:
      The events; None if they are absent, incomplete, changed, or written with another key.
    """
    manifest = digests.read_sealed(folder / MANIFEST)
    if manifest is None or manifest.get("key") != key:
        return None
    if digests.changed(folder, manifest["crc32"], notes, digests.crc_of_file):
        return None
    return record.from_arrays(_Mapped(folder, manifest["crc32"]))


class _Mapped(Mapping):
    """The arrays of a folder by name, mapped at access."""

    def __init__(self, folder: pathlib.Path, files: Sequence[str]):
        self._folder, self._names = folder, [name.removesuffix(".npy") for name in files]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, name: str) -> np.ndarray:
        # A plain array, because operations on numpy.memmap are slower.
        return np.load(self._folder / f"{name}.npy", mmap_mode="r", allow_pickle=False).view(np.ndarray)
