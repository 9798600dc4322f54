"""An HTTP server on the loopback, for tests, with the faults of real ones."""

from __future__ import annotations

import contextlib
import http.server
import pathlib
import re
import ssl
import threading
from collections.abc import Iterator


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server, name = self.server.owner, self.path.rpartition("/")[2]
        server.requests.append((self.path, self.headers.get("Range")))
        fault = server.faults.pop(0) if server.faults else server.always
        if fault is not None:
            return fault(self)
        if self.path.startswith("/from/"):
            return self.redirect(f"/to/{name}")
        path = server.folder / name
        if not path.is_file():
            return self.plain(404)
        self.send_file(path.read_bytes(), server.ranges)

    def content(self):
        """The file that is asked for."""
        return (self.server.owner.folder / self.path.rpartition("/")[2]).read_bytes()

    def plain(self, status, **headers):
        self.send_response(status)
        for key, value in (headers | {"Content-Length": "0"}).items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()

    def redirect(self, place):
        self.plain(307, Location=place)

    def send_file(self, content, ranges=True, sent=1.0):
        """Sends the range asked for, or all of the content; `sent` is the part of it that arrives."""
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")) if ranges else None
        if asked and int(asked[1]) >= len(content):
            return self.plain(416, Content_Range=f"bytes */{len(content)}")
        part = content[int(asked[1]) : int(asked[2]) + 1] if asked else content
        self.send_response(206 if asked else 200)
        if asked:
            last = int(asked[1]) + len(part) - 1
            self.send_header("Content-Range", f"bytes {asked[1]}-{last}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(part[: int(sent * len(part))])

    def log_message(self, *_):
        pass


class HttpServer:
    """A server of the files in a folder, under any path that ends with their name.

    Attributes:
      folder: the files.
      ranges: whether ranges are honored.
      faults: what answers the next requests, one each: functions of the handler; the file where it is None.
      always: what answers all further requests; the file where it is None.
      requests: (path, Range header) of each request so far.
    """

    def __init__(self, folder: pathlib.Path, context: ssl.SSLContext | None = None):
        self.folder, self.ranges, self.faults, self.always, self.requests = folder, True, [], None, []
        self.ended = threading.Event()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.owner, self._server.daemon_threads = self, True
        self._server.handle_error = lambda *_: None
        self.port, self._scheme = self._server.server_address[1], "http"
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def url(self, name: str, folder: str = "data") -> str:
        """The address of a file; in the folder "from" it is redirected to "to"."""
        return f"{self._scheme}://127.0.0.1:{self.port}/{folder}/{name}"

    def close(self):
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextlib.contextmanager
def http_server(folder: pathlib.Path, context: ssl.SSLContext | None = None) -> Iterator[HttpServer]:
    """A running server, ended afterwards."""
    server = HttpServer(folder, context)
    try:
        yield server
    finally:
        server.close()


def answer(status: int, **headers):
    """A fault: the server answers with a status, such as 503, and headers, such as Retry_After."""
    return lambda handler: handler.plain(status, **headers)


def die(handler):
    """A fault: the server ends the connection in the middle of what it sends."""
    handler.send_file(handler.content(), sent=0.5)
    handler.close_connection = True


def mute(handler):
    """A fault: the server never answers."""
    handler.server.owner.ended.wait(30)
    handler.close_connection = True


def drip(handler):
    """A fault: the server sends a byte now and then."""
    first, last = re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers["Range"]).groups()
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes {first}-{last}/{len(handler.content())}")
    handler.send_header("Content-Length", str(int(last) + 1 - int(first)))
    handler.end_headers()
    with contextlib.suppress(OSError):
        while not handler.server.owner.ended.wait(0.2):
            handler.wfile.write(b"x")
            handler.wfile.flush()
    handler.close_connection = True
