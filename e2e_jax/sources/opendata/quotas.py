"""Chooses the events of a dataset: the first selected events of each era, split at random.

The run-dependent simulation marks the eras of 2012 by run numbers. All labels have the same proportions of
eras, so detector conditions do not separate the labels.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Collection, Iterable, Mapping

import numpy as np

from e2e_jax.errors import SourceError
from e2e_jax.events.diphotons import leading
from e2e_jax.execution.jobs import SPLITS
from e2e_jax.sources.opendata.skim import FileSkim
from e2e_jax.study.samples import Era
from e2e_jax.study.samples import quotas as quotas_of_eras

ANY_RUN = None
"""Used instead of the run of an era if events of any run are taken."""

Quotas = Mapping[int | None, int]
"""Run of an era, or `ANY_RUN`, -> events."""

ADDRESS = ("run", "lumi", "event")


class QuotaError(ValueError):
    """Fewer selected events than requested; the message counts them by label and era."""


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Maximum numbers of events per label.

    Attributes:
      train, validation, test: events in the split.
      sample: events chosen before the split; some may remain unused. 0 for the sum of the splits.
      eras: the eras and their shares; empty for the first events of any run.
    """

    train: int
    validation: int
    test: int = 0
    sample: int = 0
    eras: tuple[Era, ...] = ()

    def __post_init__(self):
        if self.sample and self.sample < self.train + self.validation + self.test:
            raise ValueError(
                f"A sample of {self.sample} events is too small for {self.train} training, "
                f"{self.validation} validation and {self.test} test events. Make it larger, or leave it at 0."
            )

    def quotas(self, part: str) -> Quotas:
        """Events of each era in a split, one of `jobs.SPLITS`, or in the "sample" before the split."""
        if part == "sample":
            least = _sum({split: self.quotas(split) for split in SPLITS})
            asked = self._by_era(self.sample)
            return {era: max(asked[era], events) for era, events in least.items()}
        return self._by_era(getattr(self, part))

    def _by_era(self, events: int) -> Quotas:
        if not self.eras:
            return {ANY_RUN: events}
        return dict(zip((era.run for era in self.eras), quotas_of_eras(events, self.eras)))


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The chosen events of one label, in the order of the files.

    Attributes:
      files: the files that were skimmed until the quotas were filled.
      columns: "file" (index into `files`), "entry", "run", "lumi", "event": int64 `[n]`; the observables:
        float32 `[n]`; "photons", the two leading ones: float32 `[n, 2, 3]`.
      found: run of an era (or `ANY_RUN`) -> events found, at most its quota.
      other_runs: run -> selected events of runs without a quota.
      skipped: reason -> dropped events, "file: reason" -> dropped files.
      entries: total number of events read.
    """

    files: tuple[str, ...]
    columns: Mapping[str, np.ndarray]
    found: Quotas
    other_runs: Mapping[int, int]
    skipped: Mapping[str, int]
    entries: int

    def __len__(self) -> int:
        return len(self.columns["entry"])


def choose(
    skims: Iterable[tuple[str, FileSkim]],
    quotas: Quotas,
    on_error: str = "fail",
    refused: Collection[tuple[str, int]] = frozenset(),
) -> Chosen:
    """Take the first events of each era in the order of the files, until all quotas are filled.

    `skims` is not consumed further. `share` handles quotas that were not filled.

    Args:
      skims: (file, its skim), in the order of the list.
      quotas: events wanted.
      on_error: treatment of repeated events: raise ("fail") or count ("skip").
      refused: (file, entry) of events to drop.

    Raises:
      SourceError: an event occurs twice and `on_error` is "fail".
    """
    missing, other_runs, skipped = dict(quotas), collections.Counter(), collections.Counter()
    files, parts, places, entries = [], [], {}, 0
    for file, skim in skims:
        found, rows = skim.candidates, []
        files.append(file)
        entries += found.entries
        skipped.update(skim.skipped)
        for row, address in enumerate(zip(*(getattr(found, name).tolist() for name in ADDRESS))):
            era, place = address[0] if ANY_RUN not in quotas else ANY_RUN, (file, int(found.entry[row]))
            if era not in missing:
                other_runs[era] += 1
            elif missing[era] and place not in refused:
                if address not in places:
                    places[address] = place
                    missing[era] -= 1
                    rows.append(row)
                elif on_error == "skip":
                    skipped["duplicate"] += 1
                else:
                    raise _duplicate(address, places[address], place)
        parts.append(_rows(found, rows, len(files) - 1))
        if not any(missing.values()):
            break
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    reached = {era: quota - missing[era] for era, quota in quotas.items()}
    return Chosen(tuple(files), columns, reached, dict(other_runs), dict(skipped), entries)


def _rows(found, rows, file) -> dict[str, np.ndarray]:
    taken = found[np.array(rows, np.int64)]
    numbers = {name: getattr(taken, name) for name in ("entry", *ADDRESS)}
    file_column = {"file": np.full(len(rows), file, np.int64)}
    return {**file_column, **numbers, **taken.observables, "photons": leading(taken.photons)}


def _duplicate(address, first, second) -> SourceError:
    file, entry = second
    name = f"run {address[0]}, lumi {address[1]}, event {address[2]}"
    return SourceError(
        file,
        "duplicate",
        f"Entry {entry} of {file} ({name}) is the same event as entry {first[1]} of {first[0]}. Remove one "
        "of the files from the list, or skip and count such events with on_error=skip.",
    )


def share(chosen: Mapping[str, Chosen], sizes: Sizes, strict: bool = False) -> dict[str, Quotas]:
    """The number of events of each label in each split.

    If a label has too few events of an era, every split of every label is reduced by the same factor, so
    labels and eras keep their proportions.

    Args:
      chosen: label -> its events.
      sizes: the largest sizes of the splits.
      strict: whether too few events are an error.

    Returns:
      split -> events of each era.

    Raises:
      QuotaError: there are too few events and `strict`, or a split would be empty.
    """
    asked = {split: sizes.quotas(split) for split in SPLITS}
    total = _sum(asked)
    found = {era: min(events.found[era] for events in chosen.values()) for era in total}
    scarcest = min(
        (era for era in total if total[era]), key=lambda era: found[era] / total[era], default=None
    )
    if scarcest is None or found[scarcest] >= total[scarcest]:
        return asked
    used = {
        split: {era: events * found[scarcest] // total[scarcest] for era, events in quotas.items()}
        for split, quotas in asked.items()
    }
    empty = any(any(asked[split].values()) and not any(used[split].values()) for split in SPLITS)
    if strict or empty:
        raise _too_few(chosen, total, sizes.eras)
    return used


def _sum(splits: Mapping[str, Quotas]) -> Quotas:
    """Events of each era in all splits."""
    return {era: sum(quotas[era] for quotas in splits.values()) for era in splits[SPLITS[0]]}


def _names(eras: tuple[Era, ...]) -> dict[int | None, str]:
    """Run of an era, or `ANY_RUN` -> its name in messages."""
    return {era.run: f"run {era.run} ({era.name})" for era in eras} | {ANY_RUN: "any run"}


def _too_few(chosen: Mapping[str, Chosen], quotas: Quotas, eras: tuple[Era, ...]) -> QuotaError:
    names = _names(eras)
    lines, fraction = [], 1.0
    for name, events in chosen.items():
        short = [era for era, quota in quotas.items() if events.found[era] < quota]
        if not short:
            continue
        fraction = min(fraction, *(events.found[era] / quotas[era] for era in short))
        text = ", ".join(f"{names[era]} {events.found[era]} of {quota}" for era, quota in quotas.items())
        others = ", ".join(f"{count} of run {run}" for run, count in events.other_runs.items())
        lines.append(
            f"{name} has {text}, in {len(events.files)} files with {events.entries} events"
            + (f" (and {others})" if others else "")
        )
    others = any(events.other_runs for events in chosen.values())
    return QuotaError(
        f"There are too few selected events: {'; '.join(lines)}. List more files, or ask for fewer events: "
        f"{fraction:.1%} of the size are available"
        + (", or use events of any run with eras=any." if others else ".")
    )


def table(
    chosen: Mapping[str, Chosen], used: Mapping[str, Quotas], sizes: Sizes, published: tuple[Era, ...] = ()
) -> str:
    """Events found and used of each label and era, as text.

    Reading stops when the sizes are reached. If fewer events are used, the last line gives their number.

    Args:
      chosen: label -> its events.
      used: split -> events of each era, see `share`.
      sizes: the largest sizes of the splits.
      published: eras whose shares are the events of the paper's Table 1, for a further column.
    """
    asked, taken = _sum({split: sizes.quotas(split) for split in SPLITS}), _sum(used)
    paper = {era.run: era.share for era in published}
    paper[ANY_RUN] = sum(paper.values())
    names, rows = _names(sizes.eras), [("label", "era", "found", "used", "Table 1")]
    for label, events in chosen.items():
        for era in asked:
            numbers = (events.found[era], taken[era], paper.get(era, 0))
            rows.append((label, names[era], *(f"{number:,}" for number in numbers)))
    line = "{:<12} {:<20} {:>9} {:>9}" + (" {:>9}" if published else "")
    lines = [line.format(*row) for row in rows]
    total, most = sum(taken.values()), sum(asked.values())
    if total < most:
        lines.append(
            f"The data reach {total / most:.1%} of the sizes asked for: {total:,} events per label instead "
            f"of {most:,}."
        )
    return "\n".join(lines)


def split_events(run: np.ndarray, label: int, used: Mapping[str, Quotas], seed: int) -> np.ndarray:
    """The split of each chosen event of a label, at random within its era.

    Args:
      run: run numbers of the events `[n]`; each era has at least as many as in `used`.
      label: index of the label.
      used: split -> events of each era, see `share`.
      seed: seed of the dataset.

    Returns:
      int64 `[n]`: index of the split in `used`; -1 for events in no split.
    """
    split = np.full(len(run), -1)
    for place, era in enumerate(_sum(used)):
        rows = np.arange(len(run)) if era is ANY_RUN else np.flatnonzero(run == era)
        rows = np.random.default_rng((seed, label, place)).permutation(rows)
        first = 0
        for number, quotas in enumerate(used.values()):
            split[rows[first : first + quotas[era]]] = number
            first += quotas[era]
    return split
