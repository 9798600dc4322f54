"""How files of events are read: what is done about faults, how long servers are waited for."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

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

    def repeated(
        self, file: str, address: Mapping[str, np.ndarray], first: np.ndarray, files: Sequence[str]
    ) -> None:
        """Refuses or counts the events of a file that were read before.

        Args:
          file: for the message.
          address: "run", "lumi" and "event" of the events, int64 `[n]`.
          first: of each, the place in `files` of the file in which it was read before, or -1.
          files: all files.
        """
        if not (again := first >= 0).any():
            return
        if self.on_error == "skip":
            self.skipped["duplicate"] += int(again.sum())
            return
        row = np.flatnonzero(again)[0]
        run, lumi, event = (address[name][row] for name in ("run", "lumi", "event"))
        raise SourceError(
            file,
            "duplicate",
            f"Run {run}, lumi {lumi}, event {event} of {file} was read before, from {files[first[row]]}: it "
            "would count double. Take one of the files off the list, or leave such events out with "
            "on_error=skip.",
        )

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
