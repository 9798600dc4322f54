"""Options for reading files of events: handling of faults, timeouts of servers."""

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
      skipped: counts dropped events by reason, and dropped files by "file: " and the reason.
      timeout: maximum seconds for the answer to one request.
      retries: how often a request is repeated after a network error.
      protocol: one of `portal.PROTOCOLS`, for files of the CERN Open Data portal; "" uses the listed address
        of each file.

    Raises:
      ValueError: `on_error` or `protocol` is unknown.
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
        """The `Faults` of a file."""
        return Faults(path, self.on_error, self.skipped)

    def repeated(
        self, file: str, address: Mapping[str, np.ndarray], first: np.ndarray, files: Sequence[str]
    ) -> None:
        """Refuse or count the events of a file that were read before.

        Args:
          file: for the message.
          address: "run", "lumi" and "event" of the events, int64 `[n]`.
          first: index in `files` of the file in which each event was read before, or -1.
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
        """With "skip", count a file that cannot be read; events read from it before the error are kept."""
        try:
            yield
        except SourceError as error:
            if self.on_error == "fail":
                raise
            self.skipped[f"file: {error.reason}"] += 1


AS_IS = Reading()
"""Default options: the first fault is an error."""
