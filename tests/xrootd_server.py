"""An XRootD server on this machine, for tests: Debian's, on the loopback, on a port of its own."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator

import pytest

CONFIG = """\
xrd.port {port}
all.export /data
oss.localroot {root}
all.adminpath {root}/admin
all.pidpath {root}/run
xrootd.async off
"""


def skip_without_xrootd():
    """Skips a test where the server or the client is not installed, or may not be started."""
    if shutil.which("xrootd") is None:
        pytest.skip("no XRootD server on this machine (Debian: apt-get install xrootd-server)")
    pytest.importorskip("XRootD", reason="no XRootD client (pip install 'e2e_jax[xrootd]')")


def free_port() -> int:
    """A port of the loopback that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class XRootDServer:
    """A server that can be killed and started again.

    Attributes:
      data: the folder it serves.
    """

    def __init__(self, root: pathlib.Path):
        self._root, self._process = root, None
        self.data = root / "data"
        self.data.mkdir(parents=True)
        self.port = free_port()
        (root / "xrd.cfg").write_text(CONFIG.format(port=self.port, root=root))
        if os.getuid() == 0:
            # The server refuses to run as root; it comes with a user of its own.
            for path in (root, self.data):
                shutil.chown(path, "xrootd")
        self.start()

    def url(self, name: str) -> str:
        """The root:// address of a file in `data`."""
        return f"root://127.0.0.1:{self.port}//data/{name}"

    def start(self):
        """Starts the server and waits until it accepts connections."""
        command = ["xrootd", "-c", str(self._root / "xrd.cfg"), "-l", str(self._root / "xrd.log")]
        if os.getuid() == 0:
            command += ["-R", "xrootd"]
        self._process = subprocess.Popen(
            command, cwd=self._root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.1)
        log = "\n".join(path.read_text() for path in self._root.rglob("xrd.log"))
        raise RuntimeError(f"The XRootD server did not start:\n{log[-2000:]}")

    def signal(self, number: int):
        """Sends a signal, for instance SIGSTOP: a server that is there and silent."""
        self._process.send_signal(number)

    def kill(self):
        """Ends the server as a power cut does."""
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def xrootd_server() -> Iterator[XRootDServer]:
    """A running server with a folder of its own, gone afterwards."""
    # Under /tmp itself: the server's user cannot enter pytest's folders.
    root = pathlib.Path(tempfile.mkdtemp(prefix="xrootd-"))
    root.chmod(0o755)
    server = None
    try:
        server = XRootDServer(root)
        yield server
    finally:
        if server is not None:
            server.signal(signal.SIGCONT)
            server.kill()
        shutil.rmtree(root, ignore_errors=True)
