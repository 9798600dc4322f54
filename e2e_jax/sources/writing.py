"""Files that are written completely or not at all."""

from __future__ import annotations

import os
import pathlib
import threading
from collections.abc import Callable
from typing import IO


class WriteError(OSError):
    """A file that could not be written. The message names the folder and the way out."""


def write_file(path: str | os.PathLike, write: Callable[[IO[bytes]], None]) -> None:
    """Writes a file by `write(file)`, completely or not at all, and makes its folder.

    Raises:
      WriteError: the disk is full, or the folder cannot be written.
    """
    path = pathlib.Path(path)
    # A name that no other process or thread uses.
    partial = path.with_name(f"{path.stem}.{os.getpid()}.{threading.get_ident()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                write(file)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise WriteError(
            f"{path.name} cannot be written to {path.parent} ({error.strerror or error}). Free space "
            "there, or make the folder writable, and run the same command again: it reuses what is finished."
        ) from error
