"""The first pass over AODSIM: finds the events that pass the selection.

The samples are 7 TB; a dataset uses about 1 %. The first pass reads only the photons and the addresses of the
events, file by file, and stops when the quotas of all eras are filled. The second pass (`hits`) reads the
hits of the chosen events. The skim of each file is kept as a small Parquet file, so no file is skimmed twice.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pyarrow
import pyarrow.parquet

from e2e_jax.errors import SourceError
from e2e_jax.events.diphotons import from_leading, leading
from e2e_jax.files import atomic
from e2e_jax.sources.root import aodsim
from e2e_jax.sources.root.aodsim import Candidates
from e2e_jax.sources.root.file_contents import UNKNOWN, Content
from e2e_jax.sources.root.reading import Reading
from e2e_jax.study.selection import Selection

NEVER_SKIPPED = ("network", "untrusted")
"""Reasons of a `SourceError` that concern a server, and therefore all of its files."""

_NUMBERS = ("entry", "run", "lumi", "event")
_PHOTONS = [f"{which}_{column}" for which in ("leading", "trailing") for column in ("pt", "eta", "phi")]


@dataclasses.dataclass(frozen=True)
class FileSkim:
    """Result of the first pass over one file.

    Attributes:
      candidates: the events that pass the selection, among the `candidates.entries` events read.
      skipped: reason -> dropped events, or "file: reason" -> 1 if the whole file was dropped.
    """

    candidates: Candidates
    skipped: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class SkimJob:
    """A job that skims one file.

    Attributes:
      file: path or remote address from the list.
      select: the selection.
      on_error: one of `faults.ON_ERROR`. A skim without a fault is valid for both.
      state: size and time of a local file, so a changed file is skimmed again.
      content: size and checksum from the file's list, which are compared before the skim.
      protocol: how the file is read, see `Reading`. A skim is valid for both protocols.
    """

    file: str
    select: Selection
    on_error: str = "fail"
    state: str = ""
    content: Content = UNKNOWN
    protocol: str = ""
    events: ClassVar[int] = 1

    def fingerprint(self, version: str = "") -> str:
        """Hexadecimal name of the job's content, given the version of what produces it."""
        text = json.dumps([self.file, self.select.identity(), self.state, str(self.content), version])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def __str__(self) -> str:
        return f"The skim of {self.file}"


def file_state(path: str) -> str:
    """Size and time of a local file; "" for remote files, which the portal never changes."""
    try:
        status = os.stat(path)
    except OSError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def skim_file(job: SkimJob) -> FileSkim:
    """Skim a file; runs in a worker.

    Raises:
      SourceError: the file or an event is faulty and `on_error` is "fail", or its server cannot be reached.
    """
    reading = Reading(job.on_error, protocol=job.protocol)
    try:
        candidates = aodsim.read_candidates(job.file, job.select, reading=reading, content=job.content)
    except SourceError as error:
        if job.on_error == "fail" or error.reason in NEVER_SKIPPED:
            raise
        return FileSkim(_no_candidates(job.select), {f"file: {error.reason}": 1})
    return FileSkim(candidates, dict(reading.skipped))


def _no_candidates(select: Selection) -> Candidates:
    numbers = {name: np.zeros(0, np.int64) for name in _NUMBERS}
    observables = {observable.name: np.zeros(0, np.float32) for observable in select.observables}
    return Candidates(
        photons=from_leading(np.zeros((0, 2, 3))), observables=observables, entries=0, **numbers
    )


def write_skim(path: str | os.PathLike, skim: FileSkim) -> None:
    """Store the skim of a file as Parquet, atomically.

    The skim of a file that could not be read is not stored: a server that refuses, a missing file or an
    incomplete copy is not a property of the file's content. The next build tries such a file again.
    """
    if unreadable(skim.skipped):
        return
    found = skim.candidates
    numbers = {name: getattr(found, name) for name in _NUMBERS}
    table = numeric_table(numbers | dict(found.observables), leading(found.photons))
    notes = {"entries": str(found.entries), "skipped": json.dumps(skim.skipped)}
    write_table(path, table.replace_schema_metadata(notes))


def unreadable(skipped: Mapping[str, int]) -> bool:
    """Whether the whole file was dropped, not only some of its events."""
    return any(reason.startswith("file: ") for reason in skipped)


def read_skim(path: str | os.PathLike, on_error: str = "skip") -> FileSkim | None:
    """The skim stored by `write_skim`, with the two leading photons; None if missing or unreadable.

    Args:
      on_error: with "fail", a skim with dropped events also counts as missing.
    """
    try:
        table = pyarrow.parquet.read_table(path)
        columns = {name: table.column(name).to_numpy() for name in (*_NUMBERS, *_PHOTONS)}
        others = [name for name in table.column_names if name not in columns]
        observables = {name: table.column(name).to_numpy() for name in others}
        entries = int(table.schema.metadata[b"entries"])
        skipped = json.loads(table.schema.metadata[b"skipped"])
    except (OSError, KeyError, ValueError, TypeError, pyarrow.ArrowException):
        return None
    if skipped and on_error == "fail":
        return None
    photons = from_leading(np.stack([columns.pop(name) for name in _PHOTONS], axis=-1).reshape(-1, 2, 3))
    found = Candidates(photons=photons, observables=observables, entries=entries, **columns)
    return FileSkim(found, skipped)


def numeric_table(numbers: Mapping[str, np.ndarray], photons: np.ndarray) -> pyarrow.Table:
    """A table of columns `[n]` and of the photons `[n, 2, 3]`, as leading_pt, leading_eta, ..."""
    flat = dict(zip(_PHOTONS, photons.reshape(-1, 6).T))
    return pyarrow.table({name: np.ascontiguousarray(column) for name, column in (numbers | flat).items()})


def write_table(path: str | os.PathLike, table: pyarrow.Table) -> None:
    """Write a Parquet file atomically."""
    atomic.write_file(path, lambda file: pyarrow.parquet.write_table(table, file))
