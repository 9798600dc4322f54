"""Reads collision events from CMS AODSIM files, such as those of the CERN Open Data portal.

Only the branches named in `tiers` are read, in two passes. The skim reads photons and the EventAuxiliary of
all entries, and the selection chooses events. The second pass reads the hits of the chosen events. Memory is
bounded by `root_files.MAX_BYTES` of numbers at a time, for files of any size.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from e2e_jax.errors import SourceError
from e2e_jax.events.base import Ragged
from e2e_jax.events.diphotons import Events, by_pt
from e2e_jax.sources.root import auxiliary, rec_hits, root_files
from e2e_jax.sources.root.faults import Faults
from e2e_jax.sources.root.file_contents import UNKNOWN, Content
from e2e_jax.sources.root.reading import AS_IS, Reading
from e2e_jax.sources.root.root_files import Column, Tree, Types
from e2e_jax.sources.root.tiers import TIERS, Tier
from e2e_jax.study.selection import Selection, kept

MAX_PHOTON_ETA = 10.0
"""Photons beyond the calorimeters are faults."""


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Selected events of a file, before their hits are read.

    Attributes:
      entry: int64 `[n]`, ascending entry numbers in the file.
      run, lumi, event: int64 `[n]`.
      photons: `pt` in GeV, `eta` and `phi`, leading first.
      observables: name -> float32 `[n]`, returned by the selection.
      entries: number of events of the file that were examined.
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
        """Select by slice, boolean mask or index array; `entries` does not change."""
        columns = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "entries"}
        observables = {name: values[rows] for name, values in columns.pop("observables").items()}
        columns = {name: column[rows] for name, column in columns.items()}
        return Candidates(**columns, observables=observables, entries=self.entries)


def count_entries(path: str | os.PathLike) -> int:
    """Number of entries of a file; verifies that the file has all branches that are read.

    Raises:
      SourceError: as `root_files.open_tree`.
    """
    with root_files.open_tree(path, TIERS[0].tree, *_tables(TIERS)) as tree:
        return tree.entries


def read_candidates(
    path: str | os.PathLike,
    select: Selection | None = None,
    *,
    reading: Reading = AS_IS,
    content: Content = UNKNOWN,
    tiers: Sequence[Tier] = TIERS,
) -> Candidates:
    """Read the events of one file that pass the selection, without hits (the first pass).

    Args:
      path: a local file or a remote address.
      select: the selection; all events pass by default. If it uses more than photons, all hits are read here.
      reading: how the file is read. A file that cannot be read is an error for any `on_error`.
      content: as in `root_files.open_tree`.
      tiers: accepted data tiers.

    Raises:
      SourceError: the file cannot be read (reasons as in `root_files.open_tree`), or an event is invalid:
        "bad_auxiliary", "not_finite" or "out_of_range" (photons), "duplicate".
    """
    photons_only = select is None or select.photons_only
    tables = [tier.skim for tier in tiers] if photons_only else _tables(tiers)
    with root_files.open_tree(path, tiers[0].tree, *tables, reading=reading, content=content) as tree:
        tier, faults, entries = tiers[tree.table], reading.faults(tree.path), np.arange(tree.entries)
        if photons_only:
            return _skim(tree, tier, entries, select, faults)
        found = _skim(tree, tier, entries, None, faults)
        parts = [(np.zeros(0, np.int64), {o.name: np.zeros(0, np.float32) for o in select.observables})]
        for rows, events in _complete(tree, tier, found, -1, faults):
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
    reading: Reading = AS_IS,
    tiers: Sequence[Tier] = TIERS,
) -> Events:
    """Read chosen events of one file with their hits, in the requested order (the second pass).

    Only the baskets that contain these events are read.

    Args:
      path: a local file or a remote address.
      entries: entry numbers, each once, in any order.
      label: index of the events' label.
      select: computes the observables; all the chosen events are returned.
      reading, tiers: as in `read_candidates`.

    Raises:
      SourceError: as `read_candidates`; for hits, also "bad_id", "duplicate_hit", "unsorted" and
        "count_mismatch".
      ValueError: an entry does not exist, or is requested twice.
    """
    return read_sound(path, entries, label, select, reading=reading, tiers=tiers)[1]


def read_sound(
    path: str | os.PathLike,
    entries,
    label: int = -1,
    select: Selection | None = None,
    *,
    reading: Reading = AS_IS,
    tiers: Sequence[Tier] = TIERS,
) -> tuple[np.ndarray, Events]:
    """Like `read_entries`, but drops faulty events and also returns entry numbers, int64 `[n]`."""
    wanted = np.atleast_1d(np.asarray(entries, np.int64))
    with root_files.open_tree(path, tiers[0].tree, *_tables(tiers), reading=reading) as tree:
        ascending = np.unique(wanted)
        if len(ascending) < len(wanted) or (wanted < 0).any() or (wanted >= tree.entries).any():
            raise ValueError(
                f"{tree.path} has entries 0 to {tree.entries - 1}; asked for {len(wanted)} "
                f"from {wanted.min()} to {wanted.max()}, {len(wanted) - len(ascending)} of them again."
            )
        tier, faults = tiers[tree.table], reading.faults(tree.path)
        parts, found = [no_events(select)], [np.zeros(0, np.int64)]
        candidates = _skim(tree, tier, ascending, None, faults)
        for rows, events in _complete(tree, tier, candidates, label, faults):
            observables = {} if select is None else select(events).observables
            parts.append(dataclasses.replace(events, observables=observables))
            found.append(rows.entry)
    place = np.argsort(wanted)[np.searchsorted(ascending, np.concatenate(found))]  # in the requested order
    return wanted[np.sort(place)], Events.concatenate(parts)[np.argsort(place)]


def iterate_events(
    path,
    select: Selection | None = None,
    *,
    label: int = -1,
    reading: Reading = AS_IS,
    tiers: Sequence[Tier] = TIERS,
) -> Iterator[Events]:
    """Read files piece by piece, with bounded memory.

    Args:
      path: a file, a remote address, a glob pattern, or a list of these.
      select: chooses events and computes their observables; by default all events, without observables.
      label: index of the events' label.
      reading: how files are read.
      tiers: accepted data tiers.

    Yields:
      `Events`, never empty, each from one file, in the order of the files and their entries.

    Raises:
      SourceError: as `read_entries` and `root_files.each_tree`.
    """

    def read(tree, faults):
        tier = tiers[tree.table]
        early = select if select is not None and select.photons_only else None
        candidates = _skim(tree, tier, np.arange(tree.entries), early, faults)
        for _, events in _complete(tree, tier, candidates, label, faults):
            yield events if select is None else kept(events, select)[0]

    yield from root_files.each_tree(path, tiers[0].tree, _tables(tiers), read, reading)


def read_events(path, select: Selection | None = None, **options) -> Events:
    """Read whole files into one `Events`; arguments and errors as `iterate_events`."""
    return Events.concatenate([no_events(select), *iterate_events(path, select, **options)])


def _tables(tiers: Sequence[Tier]) -> list[Types]:
    return [{**tier.skim, **tier.hits} for tier in tiers]


def _skim(
    tree: Tree, tier: Tier, entries: np.ndarray, select: Selection | None, faults: Faults
) -> Candidates:
    """Candidates: the entries without faults that pass the selection."""
    none, nothing = np.zeros(0, np.int64), no_events(select)
    parts = [(none, none.reshape(0, 3), nothing.photons, dict(nothing.observables), none > 0)]
    for group in tree.groups(tier.skim, entries):
        columns = tree.read(tier.skim, group)
        address, sound = auxiliary.addresses(columns[tier.auxiliary])
        faults.mark(
            "bad_auxiliary", ~sound, group, f"its {tier.auxiliary} has no run, luminosity section and event"
        )
        raw = {name: columns[f"{tier.photons}{name}_"] for name in ("pt", "eta", "phi")}
        photons = _lists(tree, raw, tier.photons)
        _check_photons(photons, group, faults)
        photons, keep, observables = by_pt(photons), np.ones(len(group), bool), {}
        if select is not None:
            with np.errstate(all="ignore"):  # faulty photons are dropped below
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
    """Events with photons only, for a selection that uses nothing else."""
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
    """Mask of sound rows that repeat an earlier sound row, bool `[n]`."""
    order = np.lexsort(rows[sound].T)  # stable: equal rows keep their order
    rows = rows[sound][order]
    again = np.zeros(len(sound), bool)
    again[np.flatnonzero(sound)[order[1:]]] = (rows[1:] == rows[:-1]).all(axis=1)
    return again


def _complete(
    tree: Tree, tier: Tier, candidates: Candidates, label: int, faults: Faults
) -> Iterator[tuple[Candidates, Events]]:
    """Yield candidates in groups, and the same events with hits; drop events with faulty hits."""
    for group in tree.groups(tier.hits, candidates.entry):
        rows = candidates[np.searchsorted(candidates.entry, group)]
        columns = tree.read(tier.hits, group)
        lists = {}
        for name, prefix in tier.calorimeters.items():
            raw = {"id": columns[f"{prefix}id_.id_"], "energy": columns[f"{prefix}energy_"]}
            lists[name] = rec_hits.hits(name, _lists(tree, raw, prefix), group, faults)
        raw = {f"p{axis.lower()}": columns[f"{tier.tracks}momentum_.fCoordinates.f{axis}"] for axis in "XYZ"}
        raw["quality"] = columns[f"{tier.tracks}quality_"]
        lists["tracks"] = rec_hits.tracks(_lists(tree, raw, tier.tracks), group, faults)
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
    """The columns of one collection; all must have the same number of values per event."""
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
    """An empty `Events` with the observables of a selection, to concatenate with others."""
    return Events.empty([observable.name for observable in select.observables] if select else ())
