"""Reads files at https:// and http:// addresses in ranges of bytes, with the requests library.

A server that ignores ranges would send the whole file for each range. This is an error, unless the whole file
fits into one request. Proxies (HTTPS_PROXY) and further certificate authorities (REQUESTS_CA_BUNDLE) are set
as for any program that uses requests.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import os
import re
import time
from collections.abc import Iterator

from e2e_jax.errors import SourceError
from e2e_jax.sources.root import portal
from e2e_jax.sources.root.connection import Connection, NetworkError

CONNECT = 10.0
"""Maximum seconds to connect to one of a host's addresses."""

PARALLEL = 6
"""Connections to one server, as in browsers."""

KEPT = 64
"""Maximum open connections of a process to one server, shared by all files."""

PIECE_BYTES = 8 * 2**20
"""Maximum bytes of one request, and of a file that is read from a server without ranges."""

NOT_FOUND = {404, 410}
BUSY = {408, 425, 429, 500, 502, 503, 504}
"""Status codes after which a repetition may succeed (RFC 9110, RFC 6585)."""

MANY = 100
"""Maximum ranges of one request, so that its header stays below 4 kB."""

_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)")
_PART = re.compile(r"content-range: *bytes (\d+)-(\d+)/(\d+)", re.IGNORECASE)
_BOUNDARY = re.compile(r"multipart/byteranges *; *boundary=(?:\"([^\"]+)\"|(\S+))", re.IGNORECASE)
_BLOCK = 2**18
_IDENTITY = {"Accept-Encoding": "identity"}


class HttpConnection(Connection):
    """An open file at an https:// or http:// address."""

    piece_bytes = PIECE_BYTES

    def __init__(self, url: str, timeout: float, retries: int):
        self._session, self._place, self._whole, self._several = None, url, None, True
        self._executor = concurrent.futures.ThreadPoolExecutor(PARALLEL)
        super().__init__(url, timeout, retries)

    def close(self) -> None:
        super().close()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _open(self) -> int:
        # A repetition uses new connections, because the shared ones may be the cause.
        self._session = _new_session(ipv4=self._attempt % 2 == 1) if self._attempt else _shared(os.getpid())
        self._place, self._whole = self._url, None
        try:
            return self._size()
        except BaseException:
            self._drop()
            raise

    def _size(self) -> int:
        """The size of the file, from the answer to a request for its first byte."""
        with self._answer({"Range": "bytes=0-0"}) as response:
            # Further requests use the address that this one was redirected to.
            self._place = response.url
            stated = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if response.status_code == 200:
                self._whole = self._small_file(response)
                return len(self._whole)
            if response.status_code not in (206, 416):
                raise self._refused(response)
            if not stated:
                raise self._unreadable("its answer to a range does not state the size of the file")
            return int(stated[3])

    def _small_file(self, response) -> bytes:
        """The whole file, for a server that ignores ranges."""
        length = response.headers.get("Content-Length")
        if length is not None and int(length) > PIECE_BYTES:
            raise self._without_ranges()
        data = b"".join(self._content(response))
        if length is not None and len(data) != int(length):
            raise NetworkError(f"it sent {len(data):,} bytes of {int(length):,}")
        return data

    def _drop(self):
        if self._session is not None and self._session is not _shared(os.getpid()):
            self._session.close()
        self._session = None

    def _fetch(self, pieces: list[tuple[int, int]]) -> list[bytes]:
        if self._whole is not None:
            return [self._whole[start:stop] for start, stop in pieces]
        if len(pieces) == 1:
            return [self._piece(pieces[0])]
        if self._several:
            found = list(self._executor.map(self._pieces_of_one, _groups(pieces)))
            if None not in found:
                return [data for some in found for data in some]
            self._several = False
        return list(self._executor.map(self._piece, pieces))

    def _pieces_of_one(self, pieces: list[tuple[int, int]]) -> list[bytes] | None:
        """The pieces from one request; None if the server does not send all of them."""
        if len(pieces) == 1:
            return [self._piece(pieces[0])]
        ranges = ",".join(f"{start}-{stop - 1}" for start, stop in pieces)
        with self._answer({"Range": f"bytes={ranges}"}) as response:
            boundary = _BOUNDARY.fullmatch(response.headers.get("Content-Type", ""))
            if response.status_code != 206 or not boundary:
                return None
            body = b"".join(self._content(response))
            if len(body) != int(response.headers.get("Content-Length", len(body))):
                raise NetworkError("it sent another number of bytes than was asked for")
        parts = dict(self._parts(body, (boundary[1] or boundary[2]).encode()))
        found = []
        for start, stop in pieces:
            # A server may send adjacent pieces as one part.
            place = max((first for first in parts if first <= start), default=None)
            if place is None or len(parts[place]) < stop - place:
                return None
            found.append(parts[place][start - place : stop - place])
        return found

    def _parts(self, body: bytes, boundary: bytes) -> Iterator[tuple[int, bytes]]:
        """First byte and content of each part of a multipart/byteranges answer (RFC 9110, section 14.6)."""
        end = 0
        while (start := body.find(b"--" + boundary + b"\r\n", end)) >= 0:
            end = body.find(b"\r\n\r\n", start) + 4
            stated = _PART.search(body[start:end].decode("latin-1"))
            if not stated:
                return
            first, last, size = map(int, stated.groups())
            if size != self.size:
                raise self._changed(size)
            yield first, body[end : end + last + 1 - first]
            end += last + 1 - first

    def _piece(self, piece: tuple[int, int]) -> bytes:
        start, stop = piece
        with self._answer({"Range": f"bytes={start}-{stop - 1}"}) as response:
            stated = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if response.status_code in (206, 416) and stated and int(stated[3]) != self.size:
                raise self._changed(int(stated[3]))
            if response.status_code == 200:
                raise self._without_ranges()
            if response.status_code != 206 and self._place != self._url:
                # The target of a redirection may expire.
                raise NetworkError(f"{self._place} answers {response.status_code} {response.reason}")
            if response.status_code != 206:
                raise self._refused(response)
            if not stated or stated.group(1, 2) != (str(start), str(stop - 1)):
                raise NetworkError("it sent other bytes than were asked for")
            data = b"".join(self._content(response))
        if len(data) != stop - start:
            raise NetworkError("it sent another number of bytes than was asked for")
        return data

    @contextlib.contextmanager
    def _answer(self, headers: dict[str, str]) -> Iterator:
        """A response before its content is read; network failures become a NetworkError."""
        import requests
        import urllib3

        connect = min(CONNECT, self._timeout)
        options = {"stream": True, "timeout": (connect, self._timeout), "headers": headers | _IDENTITY}
        try:
            with self._session.get(self._place, **options) as response:
                if response.status_code in BUSY:
                    asked = urllib3.Retry().get_retry_after(response.raw) or 0.0
                    raise NetworkError(f"it answers {response.status_code} {response.reason}", asked)
                yield response
        except requests.exceptions.TooManyRedirects as error:
            raise self._unreadable("it redirects without end") from error
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
            raise self._unreadable(str(error)) from error
        except (OSError, urllib3.exceptions.HTTPError) as error:
            words = " ".join(str(error).split())
            if "CERTIFICATE_VERIFY_FAILED" in words:
                raise self._untrusted(words) from error
            raise NetworkError(words) from error

    def _content(self, response) -> Iterator[bytes]:
        """The content of a response, limited by the timeout and the size of one request."""
        end, sent = time.monotonic() + self._timeout, 0
        while part := response.raw.read1(_BLOCK):
            sent += len(part)
            if sent > PIECE_BYTES:
                raise self._without_ranges()
            yield part
            if time.monotonic() > end:
                raise NetworkError(f"no complete answer within {self._timeout:g} seconds")

    def _refused(self, response) -> SourceError:
        """The error for an answer that would not change if the request were repeated."""
        words = f"{response.status_code} {response.reason}"
        if response.status_code in NOT_FOUND:
            return portal.absent(self._url, words)
        return self._unreadable(words)

    def _unreadable(self, words: str) -> SourceError:
        return SourceError(
            self._url,
            "unreadable",
            f"The server does not give {self._url}: {words}. Check the address and your rights to read it.",
        )

    def _without_ranges(self) -> SourceError:
        return SourceError(
            self._url,
            "no_ranges",
            f"The server of {self._url} supports no ranges of bytes, and the whole file is not fetched "
            "into memory. Download the file and list its path, or list its root:// address.",
        )

    def _untrusted(self, words: str) -> SourceError:
        return SourceError(
            self._url,
            "untrusted",
            f"The certificate of the server of {self._url} cannot be verified: {words}. If you trust its "
            "authority, name a file with the authority's certificate in REQUESTS_CA_BUNDLE.",
        )


def _groups(pieces: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """The pieces in groups that fit into one request each."""
    groups, size = [], 0
    for start, stop in pieces:
        size += stop - start
        if not groups or len(groups[-1]) == MANY or size > PIECE_BYTES // 2:
            groups.append([])
            size = stop - start
        groups[-1].append((start, stop))
    return groups


@functools.cache
def _shared(process: int):
    """The session of a process; its open connections save a handshake per file."""
    return _new_session(ipv4=False)


def _new_session(ipv4: bool):
    """A session of requests.

    Args:
      ipv4: connect to IPv4 addresses only. A host may announce IPv6 addresses that cannot be reached.
    """
    try:
        import requests
    except ImportError as error:
        raise ModuleNotFoundError(
            "Files at https:// addresses are read through requests, which is not installed: "
            "pip install 'e2e_jax[files]'.",
            name="requests",
        ) from error

    class Adapter(requests.adapters.HTTPAdapter):
        def init_poolmanager(self, *args, **kwargs):
            if ipv4:
                # An IPv6 socket cannot be bound to this address, so IPv6 addresses are skipped.
                kwargs["source_address"] = ("0.0.0.0", 0)
            super().init_poolmanager(*args, **kwargs)

    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, Adapter(pool_maxsize=KEPT))
    return session
