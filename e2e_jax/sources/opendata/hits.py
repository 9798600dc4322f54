"""The second pass over AODSIM: reads the hits of the chosen events.

`OpenDataEvents` yields the events of a dataset from lists of files: it skims the files (`skim`), chooses
events by era (`quotas`) and reads their hits. Skims and hits are jobs that any executor runs; results are
kept on disk.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow

from e2e_jax.errors import SourceError
from e2e_jax.events.diphotons import Events
from e2e_jax.execution.jobs import SPLITS, JobError
from e2e_jax.execution.keeping import Format, read_noted, write_events
from e2e_jax.sources.opendata import quotas, skim
from e2e_jax.sources.root import aodsim
from e2e_jax.sources.root.file_contents import Content
from e2e_jax.sources.root.reading import Reading
from e2e_jax.study.samples import Era
from e2e_jax.study.selection import Selection

JOB_EVENTS = 2000
"""Maximum events per job. A job takes tens of megabytes and tens of seconds; opening its file takes 1 s."""


@dataclasses.dataclass(frozen=True)
class HitsJob:
    """A job that reads the hits of chosen events of one file.

    Attributes:
      file: path or remote address from the list.
      entries: their entries in the file, ascending.
      addresses: (run, lumi, event) of each, from the skim.
      label: index of the label.
      select: computes the observables of the events.
      on_error: one of `faults.ON_ERROR`. Hits without a fault are valid for both.
      state: `skim.file_state` of the file.
      protocol: as in `SkimJob`.
    """

    file: str
    entries: tuple[int, ...]
    addresses: tuple[tuple[int, int, int], ...]
    label: int
    select: Selection
    on_error: str = "fail"
    state: str = ""
    protocol: str = ""

    @property
    def events(self) -> int:
        """Events to read."""
        return len(self.entries)

    def fingerprint(self, version: str = "") -> str:
        """Hexadecimal name of the job's content, given the version of what produces it."""
        content = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        content |= {"on_error": None, "protocol": None, "select": self.select.identity(), "version": version}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]

    def __str__(self) -> str:
        return f"Reading {self.events} events from entry {self.entries[0]} of {self.file}"


class Hits(NamedTuple):
    """Result of a `HitsJob`: its events, and reason -> dropped events (or "file: reason" -> 1)."""

    events: Events
    skipped: Mapping[str, int]


def read_hits(job: HitsJob) -> Hits:
    """Read the chosen events of a file; runs in a worker.

    Raises:
      SourceError: the file or an event is faulty and `on_error` is "fail", the network fails, or the file
        changed since it was skimmed.
    """
    reading = Reading(job.on_error, protocol=job.protocol)
    try:
        events = aodsim.read_entries(job.file, job.entries, job.label, job.select, reading=reading)
    except SourceError as error:
        if job.on_error == "fail" or error.reason in skim.NEVER_SKIPPED:
            raise
        observables = [observable.name for observable in job.select.observables]
        return Hits(Events.empty(observables), {f"file: {error.reason}": 1})
    except ValueError as error:
        # The file has fewer entries than when it was skimmed.
        raise _changed(job) from error
    read = list(_addresses(events))
    if not set(read) <= set(job.addresses) or (job.on_error == "fail" and read != [*job.addresses]):
        raise _changed(job)
    return Hits(events, dict(reading.skipped))


def write_hits(path: str | os.PathLike, hits: Hits) -> None:
    """Store hits on disk atomically, unless the file could not be read."""
    if not skim.unreadable(hits.skipped):
        write_events(path, hits.events, skipped=np.array(json.dumps(hits.skipped)))


def read_kept_hits(path: str | os.PathLike, on_error: str = "skip") -> Hits | None:
    """Hits stored by `write_hits`; None if missing, or if events were dropped and `on_error` is "fail"."""
    kept = read_noted(path)
    if kept is None or "skipped" not in kept[1]:
        return None
    events, skipped = kept[0], json.loads(str(kept[1]["skipped"]))
    return None if skipped and on_error == "fail" else Hits(events, skipped)


class OpenDataEvents:
    """The events of a dataset, from lists of AODSIM files.

    Args:
      files: label -> its files and their contents, both in order, see `file_lists.files_of_labels`.
      sizes: numbers of events, and their eras.
      select: chooses events and computes their observables.
      seed: determines the split of each chosen event.
      on_error: one of `faults.ON_ERROR`.
      run: `jobs.run_jobs`, with an executor.
      kept: folder of the skims, shared by all builds.
      scratch: folder of the hits, until the dataset is written.
      version: version of the reading code; results of other versions are not reused.
      title: of the progress bars; "" for none.
      protocol: how files of the portal are read, see `Reading`.
      strict: fewer events than in `sizes` are an error.

    Raises:
      ValueError: `on_error` or `protocol` is unknown.
    """

    def __init__(
        self,
        files: Mapping[str, Mapping[str, Content]],
        sizes: quotas.Sizes,
        select: Selection,
        *,
        seed: int,
        on_error: str,
        run: Callable,
        kept: pathlib.Path,
        scratch: pathlib.Path,
        version: str = "",
        title: str = "",
        protocol: str = "",
        strict: bool = False,
    ):
        Reading(on_error, protocol=protocol)  # checks both
        self._files, self._sizes, self._select = files, sizes, select
        self._seed, self._on_error = seed, on_error
        self._run, self._kept, self._scratch = run, kept, scratch
        self._version, self._title = version, title
        self._protocol, self._strict = protocol, strict
        self._skipped, self._bad_files = collections.Counter(), set()

    @functools.cached_property
    def _shared(self) -> tuple[dict[str, quotas.Chosen], dict[str, quotas.Quotas], dict[str, np.ndarray]]:
        refused = set()
        while True:
            chosen = {name: self._choose(name, refused) for name in self._files}
            used = quotas.share(chosen, self._sizes, self._strict)
            splits = {
                name: quotas.split_events(events.columns["run"], label, used, self._seed)
                for label, (name, events) in enumerate(chosen.items())
            }
            bad = self._unreadable(chosen, splits) if self._on_error == "skip" else set()
            if not bad:
                return chosen, used, splits
            refused |= bad

    @property
    def chosen(self) -> dict[str, quotas.Chosen]:
        """The chosen events of each label; skims files without a skim.

        With `on_error` "skip" every event of a split has been read. An unreadable event was replaced by the
        next one of its era, if there is one.

        Raises:
          SourceError: an event or file is faulty, or the network fails.
          QuotaError: there are too few events, see `quotas.share`.
        """
        return self._shared[0]

    @property
    def splits(self) -> dict[str, np.ndarray]:
        """Label -> index into `jobs.SPLITS` of each chosen event; -1 if it is in no split."""
        return self._shared[2]

    def report(self, published: tuple[Era, ...] = ()) -> str:
        """A table of the events found and used, see `quotas.table`."""
        chosen, used, _ = self._shared
        return quotas.table(chosen, used, self._sizes, published)

    def events(self, split: str) -> Iterator[Events]:
        """Yield the events of one of `jobs.SPLITS`."""
        wanted, names = {}, list(self._files)
        for job, rows in self._hits_jobs(self.chosen, self.splits):
            here = self.splits[names[job.label]][rows] == SPLITS.index(split)
            if here.any():
                wanted[job] = here
        for job, hits in self._hits(wanted, split):
            if list(_addresses(hits.events)) != [*job.addresses]:
                raise _changed(job)
            yield hits.events[wanted[job]]

    def table(self) -> pyarrow.Table:
        """The chosen events: label, split, file, entry, run, lumi, event, observables and photons."""
        parts = []
        for name, chosen in self.chosen.items():
            numbers = {k: v for k, v in chosen.columns.items() if k not in ("file", "photons")}
            table = skim.numeric_table(numbers, chosen.columns["photons"])
            split = np.array([*SPLITS, ""])[self.splits[name]]
            files = np.array(chosen.files)[chosen.columns["file"]]
            for column, values in (("file", files), ("split", split), ("label", np.full(len(chosen), name))):
                table = table.add_column(0, column, pyarrow.array(values).dictionary_encode())
            parts.append(table)
        return pyarrow.concat_tables(parts).unify_dictionaries()

    def metadata(self) -> dict:
        """The part of the dataset's metadata about its files."""
        skipped = sum((collections.Counter(c.skipped) for c in self.chosen.values()), self._skipped)
        splits = [split for split in SPLITS if getattr(self._sizes, split)]
        counts = {split: {name: {} for name in self._files} for split in splits}
        for name, chosen in self.chosen.items():
            for split in splits:
                place = SPLITS.index(split)
                runs = chosen.columns["run"][self.splits[name] == place]
                found, events = np.unique(runs, return_counts=True)
                counts[split][name] = {str(run): int(n) for run, n in zip(found, events)}
        return {
            "events": counts,
            "read": {
                name: {"files": len(chosen.files), "events": chosen.entries}
                for name, chosen in self.chosen.items()
            },
            "skipped": dict(sorted(skipped.items())),
        }

    def _choose(self, name, refused) -> quotas.Chosen:
        jobs = [
            skim.SkimJob(
                file,
                self._select,
                self._on_error,
                skim.file_state(file),
                content,
                self._protocol,
            )
            for file, content in self._files[name].items()
        ]
        read = functools.partial(skim.read_skim, on_error=self._on_error)
        kept_as = Format(".parquet", skim.write_skim, read)
        results = self._results(jobs, skim.skim_file, self._kept, kept_as, f"skim of {name}", "file")
        with contextlib.closing(results):
            skims = ((job.file, found) for job, found in results)
            return quotas.choose(skims, self._sizes.quotas("sample"), self._on_error, refused)

    def _hits_jobs(self, chosen, splits) -> Iterator[tuple[HitsJob, np.ndarray]]:
        """The jobs of the events of all splits, each with its rows among those of its label."""
        for label, name in enumerate(self._files):
            columns = chosen[name].columns
            addresses = list(zip(*(columns[part].tolist() for part in quotas.ADDRESS)))
            for place, file in enumerate(chosen[name].files):
                of_file = np.flatnonzero((columns["file"] == place) & (splits[name] >= 0))
                state = skim.file_state(file)
                for start in range(0, len(of_file), JOB_EVENTS):
                    rows = of_file[start : start + JOB_EVENTS]
                    entries = tuple(columns["entry"][rows].tolist())
                    taken = tuple(addresses[row] for row in rows)
                    reads = (self._select, self._on_error, state, self._protocol)
                    yield HitsJob(file, entries, taken, label, *reads), rows

    def _unreadable(self, chosen, splits) -> set[tuple[str, int]]:
        """Read the hits of the events of all splits; return (file, entry) of the unreadable ones."""
        bad = set()
        for job, hits in self._hits([job for job, _ in self._hits_jobs(chosen, splits)], "all"):
            read = set(_addresses(hits.events))
            pairs = zip(job.entries, job.addresses)
            bad |= {(job.file, entry) for entry, address in pairs if address not in read}
            for reason, events in hits.skipped.items():
                # A file counts once, for any number of jobs that read it.
                if not reason.startswith("file: ") or (job.file, reason) not in self._bad_files:
                    self._skipped[reason] += events
                    self._bad_files.add((job.file, reason))
        return bad

    def _hits(self, jobs, title) -> Iterator[tuple[HitsJob, Hits]]:
        read = functools.partial(read_kept_hits, on_error=self._on_error)
        kept_as = Format(".npz", write_hits, read)
        return self._results(jobs, read_hits, self._scratch, kept_as, f"hits, {title}", "event")

    def _results(self, jobs, produce, folder, kept_as, title, unit):
        """Call `run_jobs`; raises the `SourceError` of a job itself."""
        options = {"kept_as": kept_as, "unit": unit, "progress": self._title and f"{self._title} {title}"}
        try:
            yield from self._run(jobs, produce, cache_dir=folder, version=self._version, **options)
        except JobError as error:
            if isinstance(error.__cause__, SourceError):
                raise _with_way_out(error.__cause__) from error
            raise


def _addresses(events: Events) -> Iterator[tuple[int, int, int]]:
    return zip(*(getattr(events, name).tolist() for name in quotas.ADDRESS))


def _changed(job: HitsJob) -> SourceError:
    return SourceError(
        job.file,
        "changed",
        f"{job.file} was replaced after it was skimmed: it has other events. Start again; a file of this "
        "machine is then skimmed again.",
    )


def _with_way_out(error: SourceError) -> SourceError:
    """The error with advice for continuing the build appended."""
    if error.reason in skim.NEVER_SKIPPED:
        way = "What was read is kept; the same command continues from there."
    else:
        way = "Or leave such files and events out, counted in the metadata, with on_error=skip."
    return SourceError(error.path, error.reason, f"{error} {way}")
