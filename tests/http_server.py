"""An HTTP server on the loopback, for tests, with the faults of real ones."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import ipaddress
import pathlib
import re
import ssl
import threading
from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # As servers do: with Nagle's algorithm the end of an answer waits for a timer.
    disable_nagle_algorithm = True

    def do_GET(self):
        server, name = self.server.owner, self.path.rpartition("/")[2]
        server.requests.append((self.path, self.headers.get("Range")))
        fault = server.faults.pop(0) if server.faults else server.always
        if fault is not None:
            return fault(self)
        if self.path.startswith("/from/"):
            return self.redirect(f"/to/{name}")
        if not self.file.is_file():
            return self.plain(404)
        several = re.findall(r"(\d+)-(\d+)", self.headers.get("Range", ""))
        if server.ranges and server.several and len(several) > 1:
            return self.send_parts([(int(start), int(last) + 1) for start, last in several])
        self.send_file(ranges=server.ranges)

    @property
    def file(self):
        """The file that is asked for."""
        return self.server.owner.folder / self.path.rpartition("/")[2]

    def asked(self):
        """The range that is asked for, first byte and the one behind it."""
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        return (int(asked[1]), int(asked[2]) + 1) if asked else None

    def send_parts(self, ranges):
        """Sends several ranges (start, stop) as the parts of one answer."""
        content, body = self.file.read_bytes(), b""
        for start, stop in ranges:
            body += f"\r\n--cut\r\nContent-range: bytes {start}-{stop - 1}/{len(content)}\r\n\r\n".encode()
            body += content[start:stop]
        body += b"\r\n--cut--\r\n"
        self.send_response(206)
        self.send_header("Content-Type", "multipart/byteranges; boundary=cut")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def plain(self, status, **headers):
        self.send_response(status)
        for key, value in (headers | {"Content-Length": "0"}).items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()

    def redirect(self, place):
        self.plain(307, Location=place)

    def send_file(self, ranges=True, sent=1.0):
        """Sends the range asked for, or the whole file; `sent` is the part of it that arrives."""
        size, asked = self.file.stat().st_size, self.asked() if ranges else None
        if asked and asked[0] >= size:
            return self.plain(416, Content_Range=f"bytes */{size}")
        start, stop = (asked[0], min(asked[1], size)) if asked else (0, size)
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        with contextlib.suppress(OSError), self.file.open("rb") as file:
            file.seek(start)
            self.wfile.write(file.read(int(sent * (stop - start))))

    def log_message(self, *_):
        pass


class HttpServer:
    """A server of the files in a folder, under any path that ends with their name.

    Args:
      folder: the files.
      certificate: what `write_certificate` wrote, for https.

    Attributes:
      folder: as given.
      ranges: whether ranges are honored; several: also of several in one request.
      faults: what answers the next requests, one each: functions of the handler; the file where it is None.
      always: what answers all further requests; the file where it is None.
      requests: (path, Range header) of each request so far.
    """

    def __init__(self, folder: pathlib.Path, certificate: pathlib.Path | None = None):
        self.folder, self.ranges, self.faults, self.always, self.requests = folder, True, [], None, []
        self.several, self.ended = True, threading.Event()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.owner, self._server.daemon_threads = self, True
        self._server.handle_error = lambda *_: None
        self.port, self._scheme = self._server.server_address[1], "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
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
def http_server(folder: pathlib.Path, certificate: pathlib.Path | None = None) -> Iterator[HttpServer]:
    """A running server, ended afterwards."""
    server = HttpServer(folder, certificate)
    try:
        yield server
    finally:
        server.close()


def write_certificate(path: pathlib.Path) -> pathlib.Path:
    """Writes a key and a certificate of 127.0.0.1 that signs itself."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - day).not_valid_after(now + day)
    builder = builder.add_extension(host, critical=True)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    signed = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + signed)
    return path


def answer(status: int, **headers):
    """A fault: the server answers with a status, such as 503, and headers, such as Retry_After."""
    return lambda handler: handler.plain(status, **headers)


def die(handler):
    """A fault: the server ends the connection in the middle of what it sends."""
    handler.send_file(sent=0.5)
    handler.close_connection = True


def cut_parts(handler):
    """A fault: the server ends the connection after the first of several ranges."""
    start, last = re.search(r"(\d+)-(\d+)", handler.headers["Range"]).groups()
    handler.send_response(206)
    handler.send_header("Content-Type", "multipart/byteranges; boundary=cut")
    handler.send_header("Content-Length", "10000")
    handler.end_headers()
    handler.wfile.write(f"--cut\r\nContent-Range: bytes {start}-{last}/1\r\n\r\n".encode())
    handler.close_connection = True


def mute(handler):
    """A fault: the server never answers."""
    handler.server.owner.ended.wait(30)
    handler.close_connection = True


def drip(handler):
    """A fault: the server sends a byte now and then."""
    start, stop = handler.asked()
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes {start}-{stop - 1}/{handler.file.stat().st_size}")
    handler.send_header("Content-Length", str(stop - start))
    handler.end_headers()
    with contextlib.suppress(OSError):
        while not handler.server.owner.ended.wait(0.2):
            handler.wfile.write(b"x")
            handler.wfile.flush()
    handler.close_connection = True
