"""The user's cache of compiled programs, writable only by its owner."""

import os
import stat
from pathlib import Path


class CacheError(OSError):
    """A cache that must not be used. The message names the file and the remedy."""


def cache_folder(*names: str) -> Path:
    """The folder `e2e_jax` in XDG_CACHE_HOME or ~/.cache, or a subfolder of it. It is created if missing.

    Raises:
      CacheError: it cannot be created, or other users may write into it.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for name in ("e2e_jax", *names):
        folder /= name
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise CacheError(f"The cache {folder} cannot be made ({error.strerror}). {_WAY_OUT}") from error
        check_private(folder)
    return folder


def check_private(path: Path) -> None:
    """Reject a file or folder that another user owns or may write.

    Raises:
      CacheError: the path fails the check; the message names the path and its owner or mode.
    """
    status = path.stat()
    if not hasattr(os, "geteuid"):
        return
    if status.st_uid not in (os.geteuid(), 0):
        raise CacheError(f"{path} belongs to another user (uid {status.st_uid}). {_WAY_OUT}")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(status.st_mode)
        raise CacheError(f"Others may write {path} (mode {mode:03o}): chmod go-w {path}. {_WAY_OUT}")


_WAY_OUT = "Or set XDG_CACHE_HOME to a folder of your own: compiled programs are loaded from it."
