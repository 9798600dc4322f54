"""Reads root:// files through XRootD's client, so that nothing waits for ever.

The network fails for a while, a corrupt file for good: what the network may mend is asked for again,
after a pause and on a new connection; all else is reported at once.
"""

from __future__ import annotations

import atexit
import concurrent.futures
import functools
import math
import os
import queue
import random
import sys
import threading
import time
import warnings

import uproot.source.chunk
import uproot.source.futures
from uproot.source.coalesce import coalesce_requests

from e2e_jax.errors import SourceError

TIMEOUT = 30.0
"""Seconds a server may take to answer one request, of 10 MB at most."""

RETRIES = 3
"""Times a request is repeated after a network error."""

PAUSE = 1.0
"""Seconds before the first repetition; each further one waits twice as long."""

GRACE = 3.0
"""Seconds beyond the timeout that the XRootD client has to report it, before it is given up."""

VECTOR_PIECES = 1024
VECTOR_PIECE_BYTES = 2_097_136
"""Limits of one vector read: the defaults of an XRootD server (`readv_iov_max`, `readv_ior_max`)."""

CLIENT_SETTINGS = {
    "ConnectionWindow": 10,
    "ConnectionRetry": 1,
    "RequestTimeout": 60,
    "StreamErrorWindow": 0,
    "TimeoutResolution": 1,
}
"""Seconds (and tries) of XRootD's client, whose own defaults add up to many minutes. The environment's
XRD_CONNECTIONWINDOW and so on have precedence."""

NOT_FOUND = {304}
NETWORK = {*range(102, 111), 201, 202, 205, 206, 207, 301, 302, 303, 306}
"""Status codes of the client, from XrdCl/XrdClStatus.hh: sockets, streams, redirections, expiry."""

RESPONSE = 400
"""The client's code for an error that the server reports; its own code is in `errno`."""

SERVER_NOT_FOUND = {3011, 3029}
SERVER_BUSY = {3005, 3007, 3008, 3012, 3014, 3017, 3020, 3024, 3033, 3034, 3035}
"""Codes of a server that has lost the file, or may well have it later, from XProtocol.hh."""


class XRootDSource(uproot.source.chunk.Source):
    """What uproot reads the bytes of a root:// file through: vector reads, each repeated if need be.

    uproot's own readers through XRootD wait for minutes on a server that is silent, or for ever.
    """

    def __init__(self, file_path: str, timeout: float = TIMEOUT, retries: int = RETRIES, **options):
        super().__init__()
        self._file_path = file_path
        self._connection = Connection(file_path, timeout, retries)
        # Bytes arrive while those that came before are decompressed.
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


class _NetworkError(Exception):
    """What may be better next time."""


class Connection:
    """An open file of a server, opened again where the network broke.

    Args:
      url: its root:// address.
      timeout: most seconds that the server may take to answer one request.
      retries: how often a request is repeated after a network error.

    Attributes:
      size: bytes of the file.

    Raises:
      SourceError: here or from `read`, see `remote.open_file`.
    """

    def __init__(self, url: str, timeout: float, retries: int):
        self._client, self._url, self._timeout, self._retries = _client(), url, timeout, retries
        self._file, self.size, self.closed = None, None, False
        self._lock = threading.Lock()
        self._patiently(self._open)

    def read(self, ranges: list[tuple[int, int]]) -> list[bytes]:
        """The bytes of each range (start, stop); fewer where the file ends before."""
        inside = [(start, min(stop, self.size)) for start, stop in ranges]
        pieces = [piece for start, stop in inside for piece in _pieces(start, stop)]
        with self._lock:
            parts = self._patiently(self._fetch, pieces) if pieces else {}
            if self.closed:
                self.close()
        return [b"".join(parts[piece] for piece in _pieces(start, stop)) for start, stop in inside]

    def close(self):
        """Closes the file, without waiting for the server's word."""
        self.closed = True
        if self._file is not None:
            _abandon(self._file, self._seconds)
            self._file = None

    def _patiently(self, request, *args):
        for attempt in range(self._retries + 1):
            if attempt:
                # Not all the workers of a cluster at the same moment.
                time.sleep(PAUSE * 2 ** (attempt - 1) * random.uniform(0.75, 1.25))
            if self.closed:
                raise OSError(f"{self._url} is closed.")
            try:
                if self._file is None:
                    self._open()
                return request(*args)
            except _NetworkError as error:
                last = error
                if self._file is not None:
                    _abandon(self._file, self._seconds)
                    self._file = None
        raise SourceError(
            self._url,
            "network",
            f"The server of {self._url} did not deliver it, {self._retries + 1} times in a row: {last}. "
            "Check that the server is up and reachable from this machine, then start again.",
        ) from last

    def _open(self):
        if self._file is not None:
            return
        file = self._client.File()
        # The client's own way to go on would not see that the file is another one now.
        file.set_property("ReadRecovery", "false")
        try:
            self._ask(file.open, self._url)
            size = self._ask(file.stat).size
        except BaseException:
            _abandon(file, self._seconds)
            raise
        if self.size not in (None, size):
            _abandon(file, self._seconds)
            raise SourceError(
                self._url,
                "changed",
                f"{self._url} changed while it was being read: from {self.size:,} to {size:,} bytes. Read it "
                "again once it is complete.",
            )
        self._file, self.size = file, size

    def _fetch(self, pieces: list[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        found = {}
        for first in range(0, len(pieces), VECTOR_PIECES):
            some = [(start, stop - start) for start, stop in pieces[first : first + VECTOR_PIECES]]
            if len(some) == 1:
                contents = [self._ask(self._file.read, *some[0])]
            else:
                contents = [chunk.buffer for chunk in self._ask(self._file.vector_read, some).chunks]
            if [len(content) for content in contents] != [length for _, length in some]:
                raise _NetworkError("it sent another number of bytes than was asked for")
            found |= dict(zip(pieces[first : first + VECTOR_PIECES], contents))
        return found

    @property
    def _seconds(self) -> int:
        """The client counts whole seconds, and takes zero for its default."""
        return max(1, math.ceil(self._timeout))

    def _ask(self, request, *args):
        """The response to a request of the client, or an error within the timeout."""
        answers = queue.SimpleQueue()
        status = request(*args, timeout=self._seconds, callback=lambda *answer: answers.put(answer))
        response = None
        if status.ok:
            try:
                status, response, _ = answers.get(timeout=self._timeout + GRACE)
            except queue.Empty:
                _UNANSWERED.append(request)
                raise _NetworkError(f"no answer within {self._timeout:g} seconds") from None
        if not status.ok:
            self._refuse(status)
        return response

    def _refuse(self, status):
        reply = status.errno if status.code == RESPONSE else None
        words = " ".join(status.message.split())
        if status.code in NETWORK or reply in SERVER_BUSY:
            raise _NetworkError(words)
        if status.code in NOT_FOUND or reply in SERVER_NOT_FOUND:
            raise SourceError(
                self._url,
                "vanished",
                f"There is no file {self._url}: {words}. Check the address, or take the file off the list.",
            )
        raise SourceError(
            self._url,
            "unreadable",
            f"The server does not give {self._url}: {words}. Check the address and your rights to read it.",
        )


def _pieces(start: int, stop: int) -> list[tuple[int, int]]:
    """A range cut into what one element of a vector read may hold."""
    return [
        (first, min(first + VECTOR_PIECE_BYTES, stop)) for first in range(start, stop, VECTOR_PIECE_BYTES)
    ]


_CLOSING, _UNANSWERED = set(), []


def _abandon(file, seconds: int):
    """Closes a file without waiting: its destructor would, so the object stays until the answer."""
    _CLOSING.add(file)
    if not file.close(timeout=seconds, callback=lambda *_: _CLOSING.discard(file)).ok:
        _CLOSING.discard(file)


@functools.cache
def _client():
    """The XRootD client; where the environment has no XRD_ settings of its own, with short waits."""
    # Its libraries are to use their own symbols: after `import tensorflow`, as in the `tfds` command, some
    # would be TensorFlow's, and the process would crash.
    flags = sys.getdlopenflags()
    sys.setdlopenflags(flags | getattr(os, "RTLD_DEEPBIND", 0))
    try:
        from XRootD import client
    except ImportError as error:
        raise ModuleNotFoundError(
            "Files at root:// addresses are read through XRootD's client, which is not installed: "
            "pip install 'e2e_jax[xrootd]'.",
            name="XRootD",
        ) from error
    finally:
        sys.setdlopenflags(flags)
    # At the very end it looks at every object there is, which makes other libraries' deprecated ones warn.
    atexit.register(warnings.simplefilter, "ignore", FutureWarning)
    for name, value in CLIENT_SETTINGS.items():
        client.EnvPutInt(name, value)
    return client
