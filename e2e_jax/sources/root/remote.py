"""Opens files of events, on this machine or behind root://, so that nothing waits for ever."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterator

import uproot
import uproot.source.file

from e2e_jax.errors import SourceError
from e2e_jax.sources.root.xrootd import RETRIES, TIMEOUT, Connection, XRootDSource


def is_remote(path: str | os.PathLike) -> bool:
    """Whether a path is a root:// address."""
    return os.fspath(path).startswith(("root://", "roots://"))


@contextlib.contextmanager
def open_file(path: str | os.PathLike, timeout: float = TIMEOUT, retries: int = RETRIES) -> Iterator:
    """Opens a ROOT file and yields uproot's `ReadOnlyDirectory`, closed at the end.

    Reading its objects goes the same guarded way as opening it: a request that fails for the network
    is repeated `retries` times, on a new connection, with growing pauses; none waits longer than
    `timeout`. So no read takes more than about `(retries + 1) * timeout` seconds and the pauses.

    Args:
      path: a file of this machine, or a root:// address.
      timeout: most seconds that a server may take to answer one request.
      retries: how often a request is repeated after a network error.

    Raises:
      SourceError: here or while reading; reason "vanished" (no such file), "network" (given up after
        the retries), "changed" (another size after reconnecting) or "unreadable" (refused). What
        uproot raises on the content of a file passes as it is.
      ModuleNotFoundError: a root:// address, without the XRootD client installed.
    """
    path = os.fspath(path)
    if is_remote(path):
        options = {"handler": XRootDSource, "timeout": timeout, "retries": retries}
    else:
        # One file handle and plain reads: a memory map of a file that shrinks would kill the process.
        options = {"handler": uproot.source.file.MultithreadedFileSource, "use_threads": False}
    with _file_system_errors(path):
        file = uproot.open({path: None}, **options)
    with file:
        yield file


def read_text(path: str | os.PathLike, timeout: float = TIMEOUT, retries: int = RETRIES) -> str:
    """The whole of a UTF-8 text file, such as the index of a sample; arguments and errors as `open_file`."""
    path = os.fspath(path)
    if is_remote(path):
        connection = Connection(path, timeout, retries)
        try:
            (content,) = connection.read([(0, connection.size)])
        finally:
            connection.close()
    else:
        with _file_system_errors(path):
            content = pathlib.Path(path).read_bytes()
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise SourceError(path, "unreadable", f"{path} is no text file: {error}. Check the path.") from error


@contextlib.contextmanager
def _file_system_errors(path: str):
    """Turns what this machine's file system raises into a SourceError."""
    try:
        yield
    except FileNotFoundError as error:
        raise SourceError(
            path, "vanished", f"There is no file {path}. Check the path, or take the file off the list."
        ) from error
    except OSError as error:
        raise SourceError(
            path,
            "unreadable",
            f"{path} cannot be read: {error.strerror or error}. Check the file and its rights.",
        ) from error
