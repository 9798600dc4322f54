"""Collision events from CMS AODSIM files, as the CERN Open Data portal has them.

Only the branches named here are read, in two passes: the skim takes photons and the EventAuxiliary of
all entries, and the selection picks some; then the hits of those are read. Memory is bounded by
`root_files.MAX_BYTES` of numbers at a time, whatever the size of the file.
"""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Iterator, Mapping

import numpy as np

from e2e_jax.errors import SourceError
from e2e_jax.events.base import Ragged
from e2e_jax.events.diphotons import Events, by_pt
from e2e_jax.selection import Selection, kept
from e2e_jax.sources.root import auxiliary, rec_hits, remote, root_files
from e2e_jax.sources.root.faults import Faults, check_on_error
from e2e_jax.sources.root.file_contents import UNKNOWN, Content
from e2e_jax.sources.root.root_files import RAW, Column, Tree

TREE = "Events"
AUXILIARY = "EventAuxiliary"
CALORIMETERS = {
    "eb": "EcalRecHitsSorted_reducedEcalRecHitsEB__RECO.obj.obj.",
    "ee": "EcalRecHitsSorted_reducedEcalRecHitsEE__RECO.obj.obj.",
    "hcal": "HBHERecHitsSorted_reducedHcalRecHits_hbhereco_RECO.obj.obj.",
}
PHOTONS = "recoPhotons_photons__RECO.obj."
TRACKS = "recoTracks_generalTracks__RECO.obj."

SKIM_BRANCHES = {AUXILIARY: (RAW,)} | {f"{PHOTONS}{name}_": ("float32",) for name in ("pt", "eta", "phi")}
"""What the first pass reads: branch -> types its numbers may have."""

HIT_BRANCHES = (
    {f"{prefix}id_.id_": ("uint32",) for prefix in CALORIMETERS.values()}
    | {f"{prefix}energy_": ("float32",) for prefix in CALORIMETERS.values()}
    | {f"{TRACKS}momentum_.fCoordinates.f{axis}": ("float32",) for axis in "XYZ"}
    | {f"{TRACKS}quality_": ("uint8",)}
)
"""What the second pass reads."""

MAX_PHOTON_ETA = 10.0
"""Photons beyond are faults: no calorimeter is there."""


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Selected events of a file, before their hits are read.

    Attributes:
      entry: int64 `[n]`, ascending, where in the file.
      run, lumi, event: int64 `[n]`.
      photons: `pt` in GeV, `eta` and `phi`, leading first.
      observables: name -> float32 `[n]`, what the selection gave.
      entries: events of the file that were looked at.
    """

    entry: np.ndarray
    run: np.ndarray
    lumi: np.ndarray
    event: np.ndarray
    photons: Ragged
    observables: Mapping[str, np.ndarray]
    entries: int

    def __len__(self) -> int:
        return len(self.entry)

    def __getitem__(self, rows) -> Candidates:
        """Selects by slice, boolean mask or index array; `entries` stays."""
        columns = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "entries"}
        observables = {name: values[rows] for name, values in columns.pop("observables").items()}
        columns = {name: column[rows] for name, column in columns.items()}
        return Candidates(**columns, observables=observables, entries=self.entries)


def count_entries(path: str | os.PathLike) -> int:
    """The entries of a file that has all the branches that are read.

    Raises:
      SourceError: as `root_files.open_tree`.
    """
    with root_files.open_tree(path, TREE, SKIM_BRANCHES | HIT_BRANCHES) as tree:
        return tree.entries


def read_candidates(
    path: str | os.PathLike,
    select: Selection | None = None,
    *,
    on_error: str = "fail",
    skipped: collections.Counter | None = None,
    timeout: float = remote.TIMEOUT,
    retries: int = remote.RETRIES,
    content: Content = UNKNOWN,
) -> Candidates:
    """The first pass over one file: its events that pass the selection.

    Args:
      path: a local file or a root:// address.
      select: which events pass; all by default. One that reads more than photons reads all hits here too.
      on_error: "fail" raises on the first fault. "skip" drops events with a fault.
      skipped: counts the dropped events by reason.
      timeout, retries: as in `remote.open_file`.
      content: as in `root_files.open_tree`.

    Raises:
      SourceError: the file cannot be read (reasons as in `root_files.open_tree`), or an event cannot be
        believed: "bad_auxiliary", "not_finite" or "out_of_range" (photons), "duplicate".
    """
    check_on_error(on_error)
    photons_only = select is None or select.photons_only
    branches = SKIM_BRANCHES if photons_only else SKIM_BRANCHES | HIT_BRANCHES
    with root_files.open_tree(path, TREE, branches, timeout, retries, content=content) as tree:
        faults, entries = Faults(tree.path, on_error, skipped), np.arange(tree.entries)
        if photons_only:
            return _skim(tree, entries, select, faults)
        found = _skim(tree, entries, None, faults)
        parts = [(np.zeros(0, np.int64), {o.name: np.zeros(0, np.float32) for o in select.observables})]
        for rows, events in _complete(tree, found, -1, faults):
            passed, selected = kept(events, select)
            parts.append((rows.entry[selected.mask], passed.observables))
        numbers, columns = zip(*parts)
        observables = {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
        found = found[np.searchsorted(found.entry, np.concatenate(numbers))]
        return dataclasses.replace(found, observables=observables)


def read_entries(
    path: str | os.PathLike,
    entries,
    label: int = -1,
    select: Selection | None = None,
    *,
    on_error: str = "fail",
    skipped: collections.Counter | None = None,
    timeout: float = remote.TIMEOUT,
    retries: int = remote.RETRIES,
) -> Events:
    """The second pass over one file: chosen events with their hits, in the order asked for.

    Only the baskets that hold them are read.

    Args:
      path: a local file or a root:// address.
      entries: entry numbers, each once, in any order.
      label: index of the events' label.
      select: gives the events their observables; all the chosen events are returned.
      on_error, skipped, timeout, retries: as in `read_candidates`.

    Raises:
      SourceError: as `read_candidates`; of hits, also "bad_id", "duplicate_hit", "unsorted" and
        "count_mismatch".
      ValueError: there is no such entry, or one is asked for twice.
    """
    check_on_error(on_error)
    wanted = np.atleast_1d(np.asarray(entries, np.int64))
    with root_files.open_tree(path, TREE, SKIM_BRANCHES | HIT_BRANCHES, timeout, retries) as tree:
        ascending = np.unique(wanted)
        if len(ascending) < len(wanted) or (wanted < 0).any() or (wanted >= tree.entries).any():
            raise ValueError(
                f"{tree.path} has entries 0 to {tree.entries - 1}; asked for {len(wanted)} "
                f"from {wanted.min()} to {wanted.max()}, {len(wanted) - len(ascending)} of them again."
            )
        faults = Faults(tree.path, on_error, skipped)
        parts, found = [no_events(select)], [np.zeros(0, np.int64)]
        for candidates, events in _complete(tree, _skim(tree, ascending, None, faults), label, faults):
            observables = {} if select is None else select(events).observables
            parts.append(dataclasses.replace(events, observables=observables))
            found.append(candidates.entry)
    place = np.argsort(wanted)[np.searchsorted(ascending, np.concatenate(found))]  # in the order asked for
    return Events.concatenate(parts)[np.argsort(place)]


def iterate_events(
    path,
    select: Selection | None = None,
    *,
    label: int = -1,
    on_error: str = "fail",
    skipped: collections.Counter | None = None,
    timeout: float = remote.TIMEOUT,
    retries: int = remote.RETRIES,
) -> Iterator[Events]:
    """Reads files piece by piece, with bounded memory.

    Args:
      path: a file, a root:// address, a glob pattern, or a list of these.
      select: which events pass, and their observables; by default all, without observables.
      label: index of the events' label.
      on_error: "fail" raises on the first fault. "skip" drops events with a fault, and the rest of a
        file that cannot be read further.
      skipped: counts what was dropped: events by reason, files by "file: " and the reason.
      timeout, retries: as in `remote.open_file`.

    Yields:
      `Events` of one file each, in the order of the files and their entries; never empty.

    Raises:
      SourceError: as `read_entries`, and as `root_files.expand` for the list of files.
    """

    def read(file):
        with root_files.open_tree(file, TREE, SKIM_BRANCHES | HIT_BRANCHES, timeout, retries) as tree:
            faults = Faults(tree.path, on_error, skipped)
            early = select if select is not None and select.photons_only else None
            candidates = _skim(tree, np.arange(tree.entries), early, faults)
            for _, events in _complete(tree, candidates, label, faults):
                passed = events if select is None else kept(events, select)[0]
                if len(passed):
                    yield passed

    yield from root_files.each_file(path, read, on_error, skipped)


def read_events(path, select: Selection | None = None, **options) -> Events:
    """Reads whole files, as `iterate_events` with the same arguments; the pieces are put together."""
    return Events.concatenate([no_events(select), *iterate_events(path, select, **options)])


def _skim(tree: Tree, entries: np.ndarray, select: Selection | None, faults: Faults) -> Candidates:
    """The sound and selected ones of the entries."""
    none, nothing = np.zeros(0, np.int64), no_events(select)
    parts = [(none, none.reshape(0, 3), nothing.photons, dict(nothing.observables), none > 0)]
    for group in tree.groups(SKIM_BRANCHES, entries):
        columns = tree.read(SKIM_BRANCHES, group)
        address, sound = auxiliary.addresses(columns[AUXILIARY])
        faults.mark(
            "bad_auxiliary", ~sound, group, f"its {AUXILIARY} has no run, luminosity section and event"
        )
        photons = _lists(tree, {name: columns[f"{PHOTONS}{name}_"] for name in ("pt", "eta", "phi")}, PHOTONS)
        _check_photons(photons, group, faults)
        photons, keep, observables = by_pt(photons), np.ones(len(group), bool), {}
        if select is not None:
            with np.errstate(all="ignore"):  # photons with a fault are left out below
                keep, observables, _ = select(_without_hits(address, photons))
        parts.append((group, address, photons, observables, keep))
    group, address, lists, columns, keep = zip(*parts)
    group, address, keep = (np.concatenate(column) for column in (group, address, keep))
    photons = Ragged.concatenate(lists)
    observables = {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
    again = repeated(address, faults.sound(group))
    faults.mark("duplicate", again, group, "another entry has its run, luminosity section and event")
    keep &= faults.sound(group)
    return Candidates(group, *address.T, photons, observables, len(entries))[keep]


def _without_hits(address: np.ndarray, photons: Ragged) -> Events:
    """Events with their photons, for a selection that reads nothing else."""
    none, no_hits = np.zeros(len(address), np.int64), Events.empty()
    lists = {name: Ragged.from_counts(none, getattr(no_hits, name).columns) for name in Events.COLLECTIONS}
    return Events(*address.T, label=np.full(len(address), -1, np.int32), photons=photons, **lists)


def _check_photons(photons: Ragged, entries: np.ndarray, faults: Faults):
    finite = np.isfinite(photons.pt) & np.isfinite(photons.eta) & np.isfinite(photons.phi)
    faults.mark_values("not_finite", ~finite, photons, entries, "a photon is not finite")
    outside = (photons.pt < 0) | (photons.pt > rec_hits.MAX_ENERGY) | (abs(photons.eta) > MAX_PHOTON_ETA)
    outside |= abs(photons.phi) > np.float32(np.pi)
    faults.mark_values("out_of_range", finite & outside, photons, entries, "a photon is out of range")


def repeated(rows: np.ndarray, sound: np.ndarray) -> np.ndarray:
    """Which of the sound rows were there before, bool `[n]`."""
    order = np.lexsort(rows[sound].T)  # stable: the first of equal rows stays the first
    rows = rows[sound][order]
    again = np.zeros(len(sound), bool)
    again[np.flatnonzero(sound)[order[1:]]] = (rows[1:] == rows[:-1]).all(axis=1)
    return again


def _complete(
    tree: Tree, candidates: Candidates, label: int, faults: Faults
) -> Iterator[tuple[Candidates, Events]]:
    """Candidates, some at a time, and the same with their hits; those whose hits have faults left out."""
    for group in tree.groups(HIT_BRANCHES, candidates.entry):
        rows = candidates[np.searchsorted(candidates.entry, group)]
        columns = tree.read(HIT_BRANCHES, group)
        lists = {}
        for name, prefix in CALORIMETERS.items():
            raw = {"id": columns[f"{prefix}id_.id_"], "energy": columns[f"{prefix}energy_"]}
            lists[name] = rec_hits.hits(name, _lists(tree, raw, prefix), group, faults)
        raw = {f"p{axis.lower()}": columns[f"{TRACKS}momentum_.fCoordinates.f{axis}"] for axis in "XYZ"}
        raw["quality"] = columns[f"{TRACKS}quality_"]
        lists["tracks"] = rec_hits.tracks(_lists(tree, raw, TRACKS), group, faults)
        events = Events(
            run=rows.run,
            lumi=rows.lumi,
            event=rows.event,
            photons=rows.photons,
            label=np.full(len(rows), label, np.int32),
            **lists,
        )
        sound = faults.sound(group)
        if not sound.all():
            rows, events = rows[sound], events[sound]
        if len(events):
            yield rows, events


def _lists(tree: Tree, columns: dict[str, Column], prefix: str) -> Ragged:
    """The columns of one collection, which must agree on how many entries each event has."""
    counts = [column.counts for column in columns.values()]
    for name, other in zip(columns, counts):
        if len(other) != len(counts[0]) or (other != counts[0]).any():
            message = (
                f"{tree.path} is damaged: the branches of {prefix} disagree on how many an event has "
                f"({name} and {next(iter(columns))}). Fetch it again."
            )
            raise SourceError(tree.path, "count_mismatch", message)
    return Ragged.from_counts(counts[0], {name: column.values for name, column in columns.items()})


def no_events(select: Selection | None = None) -> Events:
    """An `Events` without any, with the observables of a selection, to join others to."""
    return Events.empty([observable.name for observable in select.observables] if select else ())
