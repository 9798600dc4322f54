"""Ends a training early when the system requests it, without losing a step."""

import signal
import threading

from e2e_jax.devices import distributed

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""`kill`, schedulers and clouds send SIGTERM before they end a process. Slurm sends SIGUSR1 as an early
warning if a job requests it (`--signal=USR1@120`)."""

EXIT_CODE = 143
"""Exit code of a program that was ended by SIGTERM, by shell convention: 128 + 15."""


class Stopped(Exception):
    """The training was asked to end and saved its progress; the message explains how to continue."""


class Requests:
    """While this context is open, a signal in `SIGNALS` requests an end instead of ending the process.

    Only the main thread of a program receives signals; in other threads there are no requests. If several
    processes train together, the first decides for all, after the same step. Slurm signals all of them.

    Attributes:
      name: the received signal, such as "SIGTERM"; None without a signal.
    """

    def __init__(self):
        self.name = None
        self._before = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            # None: the previous handler was not set from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def check(self):
        """Raises `Stopped` if an end was requested; all processes must call it together."""
        if name := distributed.of_first(lambda: self.name):
            raise Stopped(name)

    def _note(self, number, _):
        self.name = signal.Signals(number).name
