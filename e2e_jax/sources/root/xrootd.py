"""Reads files at root:// addresses through the XRootD client."""

from __future__ import annotations

import atexit
import functools
import math
import os
import queue
import sys
import warnings

from e2e_jax.errors import SourceError
from e2e_jax.sources.root import portal
from e2e_jax.sources.root.connection import Connection, NetworkError

GRACE = 3.0
"""Seconds after the timeout in which the XRootD client must report it."""

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
"""Codes of a server that lost the file or may have it later, from XProtocol.hh."""

OFFLINE = 8
"""The flag of a file that is on tape only (kXR_offline, XProtocol.hh)."""


class XRootDConnection(Connection):
    """An open file at a root:// address."""

    piece_bytes = VECTOR_PIECE_BYTES

    def __init__(self, url: str, timeout: float, retries: int):
        self._client, self._file = _client(), None
        super().__init__(url, timeout, retries)

    def _open(self) -> int:
        if self._attempt:
            # A host may announce IPv6 addresses that cannot be reached.
            self._client.EnvPutInt("PreferIPv4", 1)
        self._file = self._client.File()
        # The client's own recovery would not detect that the file was replaced.
        self._file.set_property("ReadRecovery", "false")
        try:
            self._ask(self._file.open, self._url)
            status = self._ask(self._file.stat)
        except BaseException:
            self._drop()
            raise
        if status.flags & OFFLINE:
            self._drop()
            raise portal.offline(self._url, "the server reports it as offline")
        return status.size

    def _drop(self):
        if self._file is not None:
            _abandon(self._file, self._seconds)
            self._file = None

    def _fetch(self, pieces: list[tuple[int, int]]) -> list[bytes]:
        found = []
        for first in range(0, len(pieces), VECTOR_PIECES):
            some = [(start, stop - start) for start, stop in pieces[first : first + VECTOR_PIECES]]
            if len(some) == 1:
                contents = [self._ask(self._file.read, *some[0])]
            else:
                contents = [chunk.buffer for chunk in self._ask(self._file.vector_read, some).chunks]
            if [len(content) for content in contents] != [length for _, length in some]:
                raise NetworkError("it sent another number of bytes than was asked for")
            found += contents
        return found

    @property
    def _seconds(self) -> int:
        """Timeout in whole seconds, as the client needs; not zero, which selects its default."""
        return max(1, math.ceil(self._timeout))

    def _ask(self, request, *args):
        """The response to a request of the client; raises after the timeout."""
        answers = queue.SimpleQueue()
        status = request(*args, timeout=self._seconds, callback=lambda *answer: answers.put(answer))
        response = None
        if status.ok:
            try:
                status, response, _ = answers.get(timeout=self._timeout + GRACE)
            except queue.Empty:
                _UNANSWERED.append(request)
                raise NetworkError(f"no answer within {self._timeout:g} seconds") from None
        if not status.ok:
            self._refuse(status)
        return response

    def _refuse(self, status):
        reply = status.errno if status.code == RESPONSE else None
        words = " ".join(status.message.split())
        if status.code in NETWORK or reply in SERVER_BUSY:
            raise NetworkError(words)
        if status.code in NOT_FOUND or reply in SERVER_NOT_FOUND:
            raise portal.absent(self._url, words)
        raise SourceError(
            self._url,
            "unreadable",
            f"The server does not give {self._url}: {words}. Check the address and your rights to read it.",
        )


_CLOSING, _UNANSWERED = set(), []


def _abandon(file, seconds: int):
    """Close a file without waiting. Its destructor would wait, so the object is kept until the answer."""
    _CLOSING.add(file)
    if not file.close(timeout=seconds, callback=lambda *_: _CLOSING.discard(file)).ok:
        _CLOSING.discard(file)


@functools.cache
def _client():
    """The XRootD client, with short waits unless XRD_ variables are set in the environment."""
    # Its libraries must use their own symbols. After `import tensorflow`, as in the `tfds` command, some
    # symbols would be those of TensorFlow, and the process would crash.
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
    # At exit it inspects every object, which triggers deprecation warnings of other libraries.
    atexit.register(warnings.simplefilter, "ignore", FutureWarning)
    for name, value in CLIENT_SETTINGS.items():
        client.EnvPutInt(name, value)
    return client
