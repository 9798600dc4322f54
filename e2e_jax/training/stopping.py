"""Ends a training early where the system asks for it, without losing a step."""

import signal
import threading

from e2e_jax.devices import distributed

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""`kill`, schedulers and clouds send SIGTERM before they end a process. SIGUSR1 is Slurm's early warning,
where a job asks for one (`--signal=USR1@120`)."""

EXIT_CODE = 143
"""Of a program that was ended by SIGTERM, as a shell counts: 128 + 15."""


class Stopped(Exception):
    """The training was asked to end, and has saved where it stood; the message says how it goes on."""


class Requests:
    """While this context is open, a signal in `SIGNALS` asks for an end instead of ending the process.

    Only the main thread of a program receives signals; in another one nothing is ever asked. Of several
    processes that train together the first decides for all, after the same step. Slurm signals all of them.

    Attributes:
      name: the signal that came, such as "SIGTERM"; None where there was none.
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
            # None: it was not set from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def check(self):
        """Raises `Stopped` where an end was asked for; all processes must call it together."""
        if name := distributed.of_first(lambda: self.name):
            raise Stopped(name)

    def _note(self, number, _):
        self.name = signal.Signals(number).name
