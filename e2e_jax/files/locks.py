"""A lock for work that two processes must not do at once. Its file names the owner's host and process."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import socket
from collections.abc import Iterator

import filelock


class LockedError(Exception):
    """Another process holds a lock; `owner` names it."""

    def __init__(self, path: pathlib.Path, owner: str):
        super().__init__(f"{path} is locked by {owner}.")
        self.owner = owner


@contextlib.contextmanager
def locked(path: pathlib.Path, wait: bool = False) -> Iterator[None]:
    """Hold a file lock in a `with` block. The system releases it when the process dies.

    Args:
      path: the file of the lock. It is never deleted, so that two processes cannot lock different files of
        the same name.
      wait: wait for the lock if another process holds it.

    Raises:
      LockedError: another process holds the lock, and `wait` is False.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except filelock.Timeout:
        raise LockedError(path, _owner(path)) from None
    try:
        owner = json.dumps({"host": socket.gethostname(), "pid": os.getpid()})
        # The lock also works without the name of its owner.
        with contextlib.suppress(OSError):
            path.with_name(f"{path.name}.owner").write_text(owner)
        yield
    finally:
        lock.release()


def _owner(path: pathlib.Path) -> str:
    try:
        owner = json.loads(path.with_name(f"{path.name}.owner").read_text())
        return f"process {owner['pid']} on {owner['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
