"""How files of events are read: what is done about faults, how long servers are waited for."""

from __future__ import annotations

import collections
import contextlib
import dataclasses

from e2e_jax.errors import SourceError
from e2e_jax.sources.root import portal
from e2e_jax.sources.root.connection import RETRIES, TIMEOUT
from e2e_jax.sources.root.faults import Faults, check_on_error


@dataclasses.dataclass(frozen=True)
class Reading:
    """Options of every reader.

    Attributes:
      on_error: "fail" raises a `SourceError` on the first fault. "skip" drops events with a fault, and files,
        or the rest of a file, that cannot be read.
      skipped: counts what was dropped: events by reason, files by "file: " and the reason.
      timeout: most seconds that a server may take to answer one request.
      retries: how often a request is repeated after a network error.
      protocol: one of `portal.PROTOCOLS`, for files of the CERN Open Data portal; "" reads each file at the
        address that is listed.

    Raises:
      ValueError: there is no such `on_error` or `protocol`.
    """

    on_error: str = "fail"
    skipped: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    timeout: float = TIMEOUT
    retries: int = RETRIES
    protocol: str = ""

    def __post_init__(self):
        check_on_error(self.on_error)
        portal.check_protocol(self.protocol)

    def faults(self, path: str) -> Faults:
        """What becomes of the faulty events of a file."""
        return Faults(path, self.on_error, self.skipped)

    @contextlib.contextmanager
    def file(self):
        """Counts a file that cannot be read, where faults are skipped; what was read of it before counts."""
        try:
            yield
        except SourceError as error:
            if self.on_error == "fail":
                raise
            self.skipped[f"file: {error.reason}"] += 1


AS_IS = Reading()
"""Ends at the first fault."""
