"""Atomic writes, safe against power failures and concurrent writers."""

import contextlib
import errno
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

PART = ".part"
"""Suffix of a file that is being written: `.<name>.<random>.part`, in the folder of the final file."""


class WriteError(OSError):
    """A file that could not be written. The message names the folder and the remedy."""


def write_file(path: str | os.PathLike, write: Callable[[IO[bytes]], None]) -> None:
    """Write a file atomically with `write(file)`; a missing folder is created.

    Raises:
      WriteError: the disk is full, or the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part, part.open("wb") as file:
            write(file)
    except OSError as error:
        raise WriteError(
            f"{path.name} cannot be written to {path.parent} ({error.strerror or error}). Free space "
            "there, or make the folder writable, and run the same command again: it reuses what is finished."
        ) from error


def write_whole(path: str | os.PathLike, content: str | bytes) -> None:
    """Write a file atomically: readers see the old or the new content, also after a crash.

    Raises:
      OSError: see `replacing`.
    """
    with replacing(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yield the path of a new file, which replaces `path` if the block ends without an error.

    The content is synced to disk before the file is renamed. If `path` is a link, its target is replaced.

    Raises:
      OSError: `path` exists and is no regular file, or cannot be written. It is then unchanged.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "it exists and is no regular file", str(path))
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PART}")
    try:
        yield part
        sync(part)
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    sync(path.parent)


def is_part(path: Path) -> bool:
    """Whether a file is an incomplete write, left by a killed program."""
    return path.name.startswith(".") and path.name.endswith(PART)


def sync(path: str | os.PathLike) -> None:
    """Wait until the content of a file, or the entries of a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder.
        if not os.path.isdir(path) or error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def sync_tree(folder: str | os.PathLike) -> None:
    """Apply `sync` to a folder and to all files and folders in it."""
    for parent, _, files in os.walk(folder, topdown=False):
        for name in files:
            sync(os.path.join(parent, name))
        sync(parent)
