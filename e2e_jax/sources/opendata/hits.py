"""The second pass over AODSIM: the hits of the chosen events, as the events of a dataset.

`OpenDataEvents` makes a dataset of lists of files: it skims them (`skim`), chooses by era (`quotas`) and
reads the hits of what was chosen, each step as tasks that any executor runs and that are kept on disk.
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

TASK_EVENTS = 2000
"""Most events a task of hits: few enough for a task to stay within tens of megabytes and of seconds, many
enough that opening the file, a second, does not count."""


@dataclasses.dataclass(frozen=True)
class HitsTask:
    """Chosen events of one file, whose hits are to be read.

    Attributes:
      file: path or remote address, as it is listed.
      entries: their entries in the file, ascending.
      addresses: (run, lumi, event) of each, as the skim found them.
      label: index of the label.
      select: gives the observables of the events.
      on_error: one of `faults.ON_ERROR`. Hits without a fault serve for both.
      state: `skim.file_state` of the file.
      protocol: as in `SkimTask`.
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
        """Hexadecimal name of the task's content, given the version of what produces it."""
        content = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        content |= {"on_error": None, "protocol": None, "select": self.select.identity(), "version": version}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]

    def __str__(self) -> str:
        return f"Reading {self.events} events from entry {self.entries[0]} of {self.file}"


class Hits(NamedTuple):
    """What a `HitsTask` gives: its events, and reason -> events (or "file: reason" -> 1) left out."""

    events: Events
    skipped: Mapping[str, int]


def read_hits(task: HitsTask) -> Hits:
    """Runs in a worker: reads the chosen events of a file.

    Raises:
      SourceError: the file or an event is at fault and `on_error` is "fail", or the network is, or
        the file is not the one that was skimmed.
    """
    reading = Reading(task.on_error, protocol=task.protocol)
    try:
        events = aodsim.read_entries(task.file, task.entries, task.label, task.select, reading=reading)
    except SourceError as error:
        if task.on_error == "fail" or error.reason in skim.NEVER_SKIPPED:
            raise
        observables = [observable.name for observable in task.select.observables]
        return Hits(Events.empty(observables), {f"file: {error.reason}": 1})
    except ValueError as error:
        # There are no such entries any more.
        raise _changed(task) from error
    read = list(_addresses(events))
    if not set(read) <= set(task.addresses) or (task.on_error == "fail" and read != [*task.addresses]):
        raise _changed(task)
    return Hits(events, dict(reading.skipped))


def write_hits(path: str | os.PathLike, hits: Hits) -> None:
    """Keeps hits on disk, completely or not at all; not those of a file that could not be read."""
    if not skim.unreadable(hits.skipped):
        write_events(path, hits.events, skipped=np.array(json.dumps(hits.skipped)))


def read_kept_hits(path: str | os.PathLike, on_error: str = "skip") -> Hits | None:
    """What `write_hits` wrote, or None; with `on_error` "fail" also where something was left out."""
    kept = read_noted(path)
    if kept is None or "skipped" not in kept[1]:
        return None
    events, skipped = kept[0], json.loads(str(kept[1]["skipped"]))
    return None if skipped and on_error == "fail" else Hits(events, skipped)


class OpenDataEvents:
    """The events of a dataset, from lists of AODSIM files.

    Args:
      files: label -> its files, in order, and their contents, see `file_lists.files_of_labels`; the labels in
        their order.
      sizes: how many events, of which eras.
      select: which events pass, and their observables.
      seed: fixes which of the chosen events go to which split.
      on_error: one of `faults.ON_ERROR`.
      run: `jobs.run_jobs`, with an executor.
      kept: folder where the skims are kept, for this build and others.
      scratch: folder where the hits are kept until the dataset is written.
      version: version of the reading code: what another version kept is not used.
      title: of the progress bars; none where it is empty.
      protocol: how files of the portal are read, see `Reading`.
      strict: fewer events than `sizes` asks for are an error.

    Raises:
      ValueError: there is no such `on_error` or `protocol`.
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
        """The chosen events of each label; skims what has not been skimmed.

        With `on_error` "skip" every event of a split has been read, and what cannot be was replaced by the
        next of its era, as far as there is one.

        Raises:
          SourceError: an event or file is at fault, or the network.
          QuotaError: there are too few events, see `quotas.share`.
        """
        return self._shared[0]

    @property
    def splits(self) -> dict[str, np.ndarray]:
        """Label -> index into `jobs.SPLITS` of each chosen event, -1 where left over."""
        return self._shared[2]

    def report(self, published: tuple[Era, ...] = ()) -> str:
        """What was found and used, see `quotas.table`."""
        chosen, used, _ = self._shared
        return quotas.table(chosen, used, self._sizes, published)

    def events(self, split: str) -> Iterator[Events]:
        """The events of one of `jobs.SPLITS`, as a stream."""
        wanted, names = {}, list(self._files)
        for task, rows in self._hits_tasks(self.chosen, self.splits):
            here = self.splits[names[task.label]][rows] == SPLITS.index(split)
            if here.any():
                wanted[task] = here
        for task, hits in self._hits(wanted, split):
            if list(_addresses(hits.events)) != [*task.addresses]:
                raise _changed(task)
            yield hits.events[wanted[task]]

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
        """What the dataset's metadata says of how it was read."""
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
        tasks = [
            skim.SkimTask(
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
        results = self._results(tasks, skim.skim_file, self._kept, kept_as, f"skim of {name}", "file")
        with contextlib.closing(results):
            skims = ((task.file, found) for task, found in results)
            return quotas.choose(skims, self._sizes.quotas("sample"), self._on_error, refused)

    def _hits_tasks(self, chosen, splits) -> Iterator[tuple[HitsTask, np.ndarray]]:
        """The tasks of the events of all splits, each with its rows among those of its label."""
        for label, name in enumerate(self._files):
            columns = chosen[name].columns
            addresses = list(zip(*(columns[part].tolist() for part in quotas.ADDRESS)))
            for place, file in enumerate(chosen[name].files):
                of_file = np.flatnonzero((columns["file"] == place) & (splits[name] >= 0))
                state = skim.file_state(file)
                for start in range(0, len(of_file), TASK_EVENTS):
                    rows = of_file[start : start + TASK_EVENTS]
                    entries = tuple(columns["entry"][rows].tolist())
                    taken = tuple(addresses[row] for row in rows)
                    reads = (self._select, self._on_error, state, self._protocol)
                    yield HitsTask(file, entries, taken, label, *reads), rows

    def _unreadable(self, chosen, splits) -> set[tuple[str, int]]:
        """Reads the hits of the events of all splits; (file, entry) of those that are not to be had."""
        bad = set()
        for task, hits in self._hits([task for task, _ in self._hits_tasks(chosen, splits)], "all"):
            read = set(_addresses(hits.events))
            pairs = zip(task.entries, task.addresses)
            bad |= {(task.file, entry) for entry, address in pairs if address not in read}
            for reason, events in hits.skipped.items():
                # Files count once, however many tasks read from them.
                if not reason.startswith("file: ") or (task.file, reason) not in self._bad_files:
                    self._skipped[reason] += events
                    self._bad_files.add((task.file, reason))
        return bad

    def _hits(self, tasks, title) -> Iterator[tuple[HitsTask, Hits]]:
        read = functools.partial(read_kept_hits, on_error=self._on_error)
        kept_as = Format(".npz", write_hits, read)
        return self._results(tasks, read_hits, self._scratch, kept_as, f"hits, {title}", "event")

    def _results(self, tasks, produce, folder, kept_as, title, unit):
        """`run_jobs`, where what is wrong with a file says so itself."""
        options = {"kept_as": kept_as, "unit": unit, "progress": self._title and f"{self._title} {title}"}
        try:
            yield from self._run(tasks, produce, cache_dir=folder, version=self._version, **options)
        except JobError as error:
            if isinstance(error.__cause__, SourceError):
                raise _with_way_out(error.__cause__) from error
            raise


def _addresses(events: Events) -> Iterator[tuple[int, int, int]]:
    return zip(*(getattr(events, name).tolist() for name in quotas.ADDRESS))


def _changed(task: HitsTask) -> SourceError:
    return SourceError(
        task.file,
        "changed",
        f"{task.file} has other events than when it was skimmed: it was replaced meanwhile. Start again; a "
        "file of this machine is then skimmed anew.",
    )


def _with_way_out(error: SourceError) -> SourceError:
    """The error, with what a build can do about it."""
    if error.reason in skim.NEVER_SKIPPED:
        way = "What was read is kept: the same command goes on from there."
    else:
        way = "Or leave such files and events out, counted in the metadata, with on_error=skip."
    return SourceError(error.path, error.reason, f"{error} {way}")
