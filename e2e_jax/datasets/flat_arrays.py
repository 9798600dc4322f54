"""Events as flat arrays in a folder, one .npy file per column, which are mapped into memory and not read.

Opening a sample takes the same short time whatever its size; the system reads the pages that are used and
keeps them in its file cache, once for all processes.
"""

from __future__ import annotations

import concurrent.futures
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
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


def write(folder: pathlib.Path, events: Record, key: str, notes: Sequence[pathlib.Path]) -> None:
    """Writes events to a new folder, whole or not at all; one of that name is replaced.

    Args:
      folder: where the arrays go.
      events: what is written.
      key: identifies the content; `open_mapped` asks for it.
      notes: see `digests.changed`.
    """
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        paths = []
        for name, values in events.arrays().items():
            paths.append(partial / f"{name}.npy")
            np.save(paths[-1], values, allow_pickle=False)
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
