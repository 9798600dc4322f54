"""Reads files on a server in ranges of bytes, with a timeout on every request.

A failing network may recover; a corrupt file does not. A request that failed because of the network is
repeated after a pause on a new connection. Every other error is reported at once.
"""

from __future__ import annotations

import abc
import concurrent.futures
import queue
import random
import threading
import time
from collections.abc import Callable

import uproot.source.chunk
import uproot.source.futures
from uproot.source.coalesce import coalesce_requests

from e2e_jax.errors import SourceError

TIMEOUT = 30.0
"""Maximum seconds for the answer to one request, of at most 10 MB."""

RETRIES = 3
"""How often a request is repeated after a network error."""

PAUSE = 1.0
"""Seconds before the first repetition, doubled for each further one."""


class NetworkError(Exception):
    """A failure that may disappear when the request is repeated.

    Attributes:
      pause: seconds to wait before the repetition, requested by the server.
    """

    def __init__(self, words: str, pause: float = 0.0):
        super().__init__(words)
        self.pause = pause


class Connection(abc.ABC):
    """An open file on a server, opened again after a network error.

    A subclass opens the file, fetches pieces of it, and releases its resources.

    Args:
      url: the address of the file.
      timeout: maximum seconds for the answer to one request.
      retries: how often a request is repeated after a network error.

    Attributes:
      size: bytes of the file.
      piece_bytes: maximum bytes of one piece.

    Raises:
      SourceError: here or from `read`, see `remote.open_file`.
    """

    piece_bytes: int

    def __init__(self, url: str, timeout: float, retries: int):
        self._url, self._timeout, self._retries = url, timeout, retries
        self._attempt, self._opened, self.size, self.closed = 0, False, None, False
        self._lock = threading.Lock()
        try:
            self._patiently(lambda: None)
        except BaseException:
            self.close()
            raise

    @abc.abstractmethod
    def _open(self) -> int:
        """Open the file and return its size.

        `_attempt` counts the repetitions of the request so far.
        """

    @abc.abstractmethod
    def _fetch(self, pieces: list[tuple[int, int]]) -> list[bytes]:
        """Bytes of pieces (start, stop), each of at most `piece_bytes`."""

    @abc.abstractmethod
    def _drop(self) -> None:
        """Release the open file, without waiting for the server."""

    def read(self, ranges: list[tuple[int, int]]) -> list[bytes]:
        """Bytes of each range (start, stop); fewer if the file ends before stop."""
        cut = [self._pieces(start, min(stop, self.size)) for start, stop in ranges]
        pieces = [piece for some in cut for piece in some]
        with self._lock:
            parts = self._patiently(lambda: self._fetch(pieces)) if pieces else []
            if self.closed:
                self.close()
        following = iter(parts)
        return [b"".join(next(following) for _ in some) for some in cut]

    def close(self) -> None:
        """Close the file, without waiting for the server."""
        self.closed = True
        self._drop()
        self._opened = False

    def _pieces(self, start: int, stop: int) -> list[tuple[int, int]]:
        size = self.piece_bytes
        return [(first, min(first + size, stop)) for first in range(start, stop, size)]

    def _patiently(self, request: Callable):
        """The result of a request; repeats it after a network error."""
        asked = 0.0
        for attempt in range(self._retries + 1):
            self._attempt = attempt
            if attempt:
                # A random pause, so that the workers of a cluster do not retry at the same moment.
                pause = PAUSE * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)
                time.sleep(max(pause, min(asked, self._timeout)))
            if self.closed:
                raise OSError(f"{self._url} is closed.")
            try:
                if not self._opened:
                    self._open_same()
                return request()
            except NetworkError as error:
                last, asked = error, error.pause
                self._drop()
                self._opened = False
        raise SourceError(
            self._url,
            "network",
            f"The server of {self._url} did not deliver it, {self._retries + 1} times in a row: {last}. "
            "Check that the server is up and reachable from this machine, then start again.",
        ) from last

    def _open_same(self) -> None:
        """Open the file and verify that its size has not changed."""
        size = self._open()
        if self.size not in (None, size):
            self._drop()
            raise self._changed(size)
        self._opened, self.size = True, size

    def _changed(self, size: int) -> SourceError:
        return SourceError(
            self._url,
            "changed",
            f"{self._url} changed while it was being read: from {self.size:,} to {size:,} bytes. Read it "
            "again once it is complete.",
        )


class RemoteSource(uproot.source.chunk.Source):
    """Source of the bytes of a remote file for uproot.

    uproot's own readers wait minutes or without limit for a silent server.

    Args:
      file_path: the address of the file.
      connect: opens its `Connection`.
      **options: arguments that uproot passes to every source.
    """

    def __init__(self, file_path: str, connect: Callable[[str], Connection], **options):
        super().__init__()
        self._file_path = file_path
        self._connection = connect(file_path)
        # Bytes are fetched while earlier ones are decompressed.
        self._executor = concurrent.futures.ThreadPoolExecutor(1)

    def chunk(self, start: int, stop: int) -> uproot.source.chunk.Chunk:
        self._count([(start, stop)])
        (data,) = self._connection.read([(start, stop)])
        return uproot.source.chunk.Chunk(self, start, stop, uproot.source.futures.TrivialFuture(data))

    def chunks(self, ranges, notifications: queue.Queue) -> list[uproot.source.chunk.Chunk]:
        self._count(ranges)
        return coalesce_requests(ranges, self._submit, self, notifications)

    def _submit(self, ranges) -> concurrent.futures.Future:
        return self._executor.submit(self._connection.read, ranges)

    def _count(self, ranges):
        self._num_requests += 1
        self._num_requested_chunks += len(ranges)
        self._num_requested_bytes += sum(stop - start for start, stop in ranges)

    @property
    def num_bytes(self) -> int:
        return self._connection.size

    @property
    def closed(self) -> bool:
        return self._connection.closed

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._connection.close()
