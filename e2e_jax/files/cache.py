"""The user's folder of compiled programs, into which only its owner may write."""

import os
import stat
from pathlib import Path


class CacheError(OSError):
    """A cache that must not be used; the message names the file and the way out."""


def cache_folder(*names: str) -> Path:
    """`e2e_jax` in XDG_CACHE_HOME, or in ~/.cache, or a folder in it; made where it does not exist.

    Raises:
      CacheError: it cannot be made, or others may write into it.
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
      CacheError: it names the path and its owner or mode.
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
