"""Digests of files and JSON content, which reveal changed data before it is used."""

from __future__ import annotations

import hashlib
import json
import pathlib
import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from e2e_jax.files.atomic import write_whole

SEAL = "sha256"
"""Key of the digest of a JSON object, which covers all its other keys."""

CHECKED = "checked.json"
"""Name of the file that lists the files whose digests were verified."""


BLOCK = 2**18
"""Bytes read at a time: small enough for the cache of a core."""


class OfColumns:
    """The SHA-256 of named columns that come in parts; it does not depend on the division into parts."""

    def __init__(self):
        self._columns = {}

    def update(self, part: Mapping[str, np.ndarray]) -> None:
        """Add entries to the end of each column."""
        for name, values in part.items():
            self._columns.setdefault(name, hashlib.sha256()).update(np.ascontiguousarray(values))

    def hexdigest(self) -> str:
        """The digest as hexadecimal digits."""
        return of_json({name: column.hexdigest() for name, column in self._columns.items()})


def of_file(path: pathlib.Path) -> str:
    """The SHA-256 of a file's content, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def crc_of_file(path: pathlib.Path) -> str:
    """The CRC-32 of a file's content, as hexadecimal digits: faster, for files that can be regenerated."""
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            checksum = zlib.crc32(block, checksum)
    return f"{checksum:08x}"


def of_json(content) -> str:
    """The SHA-256 of JSON content, as hexadecimal digits; it does not depend on the layout of the text."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def sealed(content: Mapping) -> dict:
    """The JSON object with the digest of its own content under `SEAL`."""
    plain = json.loads(json.dumps({name: value for name, value in content.items() if name != SEAL}))
    return plain | {SEAL: of_json(plain)}


def read_sealed(path: pathlib.Path) -> dict | None:
    """The content of a sealed JSON file; None if the file is absent, damaged or not sealed."""
    try:
        content = json.loads(path.read_text())
        seal = content.pop(SEAL)
        return content if seal == of_json(content) else None
    # RecursionError: deeply nested brackets.
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return None


def write_sealed(path: pathlib.Path, content: Mapping) -> None:
    """Write a sealed JSON file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(sealed(content)))


def changed(
    folder: pathlib.Path,
    expected: Mapping[str, str],
    notes: Sequence[pathlib.Path],
    digest_of: Callable[[pathlib.Path], str] = of_file,
) -> list[str]:
    """The files of a folder that are absent or have another digest than expected.

    A file is read only if its size or its change times differ from those recorded at its last verification.

    Args:
      folder: the folder of the files.
      expected: name -> digest.
      notes: folders for records of verified files; new records go to the first writable folder.
      digest_of: function that returns the digest of a file.

    Returns:
      The names, in the order of `expected`.
    """
    noted = [read_sealed(place / CHECKED) or {} for place in notes]
    found, wrong = {}, []
    for name, digest in expected.items():
        path = folder / name
        try:
            mark = [digest, _stamp(path)]
            key = str(path.absolute())
            if any(known.get(key) == mark for known in noted):
                continue
            if digest_of(path) == digest:
                found[key] = mark
                continue
        except OSError:
            pass
        wrong.append(name)
    if found:
        _note(notes, noted, found)
    return wrong


def note(folder: pathlib.Path, written: Mapping[str, str], notes: Sequence[pathlib.Path]) -> None:
    """Record files whose digests were computed while writing, so that `changed` does not read them again."""
    marks = {str((folder / name).absolute()): [of, _stamp(folder / name)] for name, of in written.items()}
    _note(notes, [read_sealed(place / CHECKED) or {} for place in notes], marks)


def _note(notes: Sequence[pathlib.Path], noted: Sequence[Mapping], found: Mapping[str, list]) -> None:
    """Record verified files. If no folder is writable, they are verified again next time."""
    for place, known in zip(notes, noted):
        kept = {name: mark for name, mark in known.items() if pathlib.Path(name).exists()}
        try:
            return write_sealed(place / CHECKED, kept | dict(found))
        except OSError:
            continue


def _stamp(path: pathlib.Path) -> list[int]:
    """The size of a file and the change times of its content and status, which differ after each write."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
