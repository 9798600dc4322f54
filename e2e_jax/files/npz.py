"""Files of named arrays (.npz): checked before they are read.

`numpy.load` allocates the memory that the headers of a file declare, so a file of a few kilobytes can fill
the memory of a machine. This module compares the declared sizes with each other and with a limit before it
creates an array. Pickled objects are rejected. The CRC of the zip format covers the content of every array.
"""

from __future__ import annotations

import math
import os
import pathlib
import struct
import zipfile
from collections.abc import Mapping
from typing import IO

import numpy as np

from e2e_jax.files import atomic

MAX_BYTES = 2**31
"""Maximum size in memory, in bytes, of the arrays of one file."""

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class NpzError(ValueError):
    """A file without valid arrays. The message names the file."""


def read(path: str | os.PathLike, max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """Read all arrays of a file.

    Args:
      path: the file.
      max_bytes: maximum size of the arrays in memory, in bytes.

    Raises:
      NpzError: the file is damaged, is no .npz file, holds objects, or declares more than `max_bytes`.
      OSError: the file cannot be opened.
    """
    with pathlib.Path(path).open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                declared = sum(member.file_size for member in members)
                if declared > max_bytes:
                    raise NpzError(f"its arrays take {declared:,} bytes, over the limit of {max_bytes:,}")
                return {member.filename.removesuffix(".npy"): _array(archive, member) for member in members}
        except Exception as error:  # zipfile, its decompressors and numpy raise many error types
            raise NpzError(f"{path} cannot be read as arrays: {error or type(error).__name__}.") from error


def mapped(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Map the arrays of an uncompressed file into memory, read-only. The disk is read on access.

    The CRC is not checked.

    Raises:
      NpzError: the file is damaged, is compressed, is no .npz file or holds objects.
      OSError: the file cannot be opened.
    """
    with pathlib.Path(path).open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                return {m.filename.removesuffix(".npy"): _mapped_array(path, file, m) for m in members}
        except Exception as error:  # as in `read`
            raise NpzError(f"{path} cannot be read as arrays: {error or type(error).__name__}.") from error


def _mapped_array(path: str | os.PathLike, file: IO[bytes], member: zipfile.ZipInfo) -> np.ndarray:
    if member.compress_type != zipfile.ZIP_STORED:
        raise NpzError(f"{member.filename} is compressed")
    file.seek(member.header_offset + 26)
    name, extra = struct.unpack("<HH", file.read(4))
    start = file.seek(member.header_offset + 30 + name + extra)
    shape, fortran_order, dtype = _header(file, member, start)
    if not math.prod(shape):
        return np.empty(shape, dtype)
    order = "F" if fortran_order else "C"
    return np.asarray(np.memmap(path, dtype, "r", file.tell(), shape, order))


def _header(
    file: IO[bytes], member: zipfile.ZipInfo, start: int = 0
) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and type of the array at the position `start` of a file."""
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise NpzError(f"{member.filename} has a header of version {version}")
    shape, fortran_order, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise NpzError(f"{member.filename} holds Python objects")
    if math.prod(shape) * dtype.itemsize != member.file_size - (file.tell() - start):
        raise NpzError(f"{member.filename} declares {dtype}{list(shape)}, which is not its size")
    return shape, fortran_order, dtype


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        shape, fortran_order, dtype = _header(file, member)
        array = np.empty(shape, dtype, "F" if fortran_order else "C")
        _fill(memoryview(array.T if fortran_order else array).cast("B") if array.size else b"", file)
    return array


def _fill(target, file: IO[bytes]) -> None:
    """Fill the target with the rest of the file; at its end zipfile checks the CRC."""
    done = 0
    while piece := file.read(2**20):
        target[done : done + len(piece)] = piece
        done += len(piece)
    if done != len(target):
        raise NpzError(f"{file.name} ends early")


def write(path: str | os.PathLike, arrays: Mapping[str, np.ndarray], compressed: bool = True) -> None:
    """Write arrays to a file atomically; a missing folder is created.

    Raises:
      atomic.WriteError: the disk is full, or the folder cannot be written.
    """
    save = np.savez_compressed if compressed else np.savez
    atomic.write_file(path, lambda file: save(file, **arrays))
