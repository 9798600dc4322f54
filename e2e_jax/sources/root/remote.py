"""Opens local and remote files of events, with a timeout on every request."""

from __future__ import annotations

import contextlib
import functools
import os
import pathlib
from collections.abc import Iterator

import uproot
import uproot.source.file

from e2e_jax.errors import SourceError
from e2e_jax.sources.root.connection import RETRIES, TIMEOUT, Connection, RemoteSource
from e2e_jax.sources.root.https import HttpConnection
from e2e_jax.sources.root.xrootd import XRootDConnection

_CONNECTIONS = {
    **dict.fromkeys(("root", "roots"), XRootDConnection),
    **dict.fromkeys(("http", "https"), HttpConnection),
}


BLOCK = 2**22
"""Bytes that `blocks` reads at a time."""


def is_remote(path: str | os.PathLike) -> bool:
    """Whether a path is a root:// or https:// address."""
    scheme, separator, _ = os.fspath(path).partition("://")
    return bool(separator) and scheme in _CONNECTIONS


def connect(url: str, timeout: float = TIMEOUT, retries: int = RETRIES) -> Connection:
    """Open the file at an address; the caller closes it. Arguments and errors as `open_file`."""
    return _CONNECTIONS[url.partition("://")[0]](url, timeout, retries)


@contextlib.contextmanager
def open_file(path: str | os.PathLike, timeout: float = TIMEOUT, retries: int = RETRIES) -> Iterator:
    """Open a ROOT file and yield uproot's `ReadOnlyDirectory`, closed at the end.

    Opening the file and reading its objects follow the same rules: a request that fails because of the
    network is repeated `retries` times, on a new connection, with growing pauses. No request waits longer
    than `timeout`. So a read takes at most about `(retries + 1) * timeout` seconds plus the pauses.

    Args:
      path: a local file, or a root:// or https:// address.
      timeout: maximum seconds for the answer to one request.
      retries: how often a request is repeated after a network error.

    Raises:
      SourceError: here or while reading; reason "vanished" (no such file), "offline" (on tape only, see
        `portal`), "network" (failed after all retries), "changed" (another size after reconnecting),
        "no_ranges" or "untrusted" (see `https`), or "unreadable" (refused). Errors of uproot about the
        content of a file are not converted.
      ModuleNotFoundError: the address is root:// and the XRootD client is not installed.
    """
    path = os.fspath(path)
    if is_remote(path):
        connected = functools.partial(connect, timeout=timeout, retries=retries)
        options = {"handler": RemoteSource, "connect": connected}
    else:
        # Plain reads: with a memory map, a file that shrinks would kill the process.
        options = {"handler": uproot.source.file.MultithreadedFileSource, "use_threads": False}
    with _file_system_errors(path):
        file = uproot.open({path: None}, **options)
    with file:
        yield file


def size(path: str | os.PathLike, timeout: float = TIMEOUT, retries: int = RETRIES) -> int:
    """Size of a file in bytes; arguments and errors as `open_file`."""
    path = os.fspath(path)
    if is_remote(path):
        with contextlib.closing(connect(path, timeout, retries)) as connection:
            return connection.size
    with _file_system_errors(path):
        return os.stat(path).st_size


def blocks(path: str | os.PathLike, timeout: float = TIMEOUT, retries: int = RETRIES) -> Iterator[bytes]:
    """Yield the content of a file, some megabytes at a time; arguments and errors as `open_file`."""
    path = os.fspath(path)
    if is_remote(path):
        with contextlib.closing(connect(path, timeout, retries)) as connection:
            for start in range(0, connection.size, BLOCK):
                yield from connection.read([(start, start + BLOCK)])
        return
    with _file_system_errors(path), pathlib.Path(path).open("rb") as file:
        while block := file.read(BLOCK):
            yield block


def read_text(path: str | os.PathLike, timeout: float = TIMEOUT, retries: int = RETRIES) -> str:
    """Content of a UTF-8 text file, such as the index of a sample; arguments and errors as `open_file`."""
    path = os.fspath(path)
    try:
        return b"".join(blocks(path, timeout, retries)).decode()
    except UnicodeDecodeError as error:
        raise SourceError(path, "unreadable", f"{path} is no text file: {error}. Check the path.") from error


@contextlib.contextmanager
def _file_system_errors(path: str):
    """Convert errors of the local file system to a SourceError."""
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
