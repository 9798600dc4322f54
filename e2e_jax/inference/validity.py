"""Validity of events: a classifier scores only events that a source of its training could give.

A classifier returns confident probabilities for any input, also for events that its selection would refuse.
The rules here are those of the training's sources: a pT for each photon that the network reads, possible
observables of the selection, finite energies below `rec_hits.MAX_ENERGY`, and hits in existing cells.
`Classifier.predict` applies them to records and batches, and exported files apply the same function in their
graph.

The cuts by which a selection chooses a region (pt, |eta|, a mass above 90 GeV) are not rules: a diphoton of a
sideband or of another mass hypothesis is a sensible input, and a classifier does not store the region of its
training. The rules refuse only events that are no diphotons at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax
import numpy as np

from e2e_jax.events.base import Ragged, Record, column_type
from e2e_jax.events.kinds import KINDS
from e2e_jax.models import preprocessing
from e2e_jax.models.preprocessing import Inputs
from e2e_jax.sources.root.rec_hits import MAX_ENERGY
from e2e_jax.study import Task

READ = "read_events(path, select=...), for instance select=e2e_jax.study.photons()"
"""Advice for events of files without observables."""


class Rule(NamedTuple):
    """Values that break a rule.

    Attributes:
      name: name of the column, such as "mass" or "eb.energy".
      values: values of the column, by events (and entries), or of a record's collection by entries.
      bad: mask of the values that break the rule, bool of the shape of `values`.
      why: what is wrong, after "name = value".
    """

    name: str
    values: np.ndarray
    bad: np.ndarray
    why: str


def is_invalid(events_or_batch, task: Task, inputs: Inputs, xp=np):
    """Mask of events that no source of the training can give, bool `[n]`.

    Args:
      events_or_batch: a record, a padded batch of hits, or images, with `checked_columns`. Padding (cell 0,
        energy 0) breaks no rule. Missing columns are not checked.
      task: defines the kind of the events, and their observables.
      inputs: the inputs of the classifier.
      xp: numpy, or jax.numpy for a batch inside a compiled program.
    """
    columns = _columns(events_or_batch)
    total = xp.zeros(_rows(events_or_batch, columns), bool)
    for rule in _rules(columns, task, inputs, xp):
        total |= _by_event(rule, events_or_batch, xp)
    return total


def reason(events_or_batch, task: Task, inputs: Inputs) -> str:
    """A sentence about the first invalid event, in the order of the rules."""
    for rule in _rules(_columns(events_or_batch), task, inputs, np):
        if rule.bad.any():
            place = tuple(np.argwhere(rule.bad)[0])
            row = np.flatnonzero(_by_event(rule, events_or_batch, np))[0]
            return f"{_address(events_or_batch, row)}: {rule.name} = {rule.values[place]} {rule.why}."
    raise ValueError("Every event is valid.")


def check_columns(events_or_batch, task: Task, inputs: Inputs) -> None:
    """Refuse missing or inconsistent columns, and inputs that are neither hits nor images.

    Args: as for `is_invalid`.

    Raises:
      ValueError: names the inconsistent or missing entry, and the expected one.
    """
    if isinstance(events_or_batch, KINDS[task.events]):
        _check_record(events_or_batch)
        for name in inputs.needed:
            if name not in events_or_batch.observables:
                raise ValueError(
                    f"These events have no observable {name!r}, which this classifier reads. The selection "
                    f"of its study computes it: read AODSIM files with {READ}."
                )
    elif isinstance(events_or_batch, Mapping):
        _check_batch(events_or_batch, task, inputs)
        for name in inputs.needed:
            if name not in events_or_batch:
                raise ValueError(
                    f"This batch has no {name!r}, which this classifier reads: an array with one number per "
                    f"event, next to the others ({', '.join(events_or_batch)}). For events of AODSIM files "
                    f"it comes from the selection, {READ}."
                )
    else:
        raise ValueError(_expected(events_or_batch, task, inputs))


def _rules(columns: Mapping[str, np.ndarray], task: Task, inputs: Inputs, xp) -> Iterator[Rule]:
    """The rules for the columns; with numpy, only broken rules."""
    record = KINDS[task.events]
    for name, values in columns.items():
        collection, _, column = name.rpartition(".")
        if column == "cell":
            yield from _cell_rules(name, values, columns.get(f"{collection}.energy"), inputs, record, xp)
        elif column != "label" and name not in task.targets and not (xp is np and _is_small(values)):
            finite = xp.isfinite(values)
            yield Rule(name, values, ~finite, "is not finite")
            far = finite & ~(abs(values) < MAX_ENERGY)
            yield Rule(name, values, far, f"is not below {MAX_ENERGY:,.0f} in size")
    for observable in task.known_observables:
        if observable.least is not None and (values := columns.get(observable.name)) is not None:
            why = f"is below {observable.least:g} {observable.unit}, the least that the selection can give"
            yield Rule(observable.name, values, ~(values >= observable.least), why)
    if inputs.photons and "photons" in columns:
        pt = columns["photons"][:, : inputs.photons, 0]
        yield Rule("photons", pt, ~(pt > 0), "is the pt of a photon that is not there")


def _cell_rules(name, cells, energy, inputs, record, xp) -> Iterator[Rule]:
    collection = name.removesuffix(".cell")
    number = record.cells(inputs)[collection]
    outside = (cells < 0) | (cells >= number)
    yield Rule(name, cells, outside, f"is outside the detector (its cells are 0 to {number - 1})")
    exists = record.cell_exists(collection, np.arange(number))
    if not exists.all():
        absent = ~outside & ~xp.asarray(exists)[xp.where(outside, 0, cells).astype(np.int32)]
        if energy is not None:
            absent &= ~((cells == 0) & (energy == 0))
        yield Rule(name, cells, absent, "is a place without a crystal or tower")


def _is_small(values: np.ndarray) -> bool:
    """Whether all values are finite and below the limit, computed without a temporary array."""
    return not values.size or bool(values.min() > -MAX_ENERGY and values.max() < MAX_ENERGY)


def _columns(events_or_batch) -> dict[str, np.ndarray]:
    """The columns that a network may read, by name: "mass", "eb.cell" (for a record by entries), "barrel"."""
    if not isinstance(events_or_batch, Record):
        return {
            jax.tree_util.keystr(path, simple=True, separator="."): leaf
            for path, leaf in jax.tree_util.tree_leaves_with_path(dict(events_or_batch))
        }
    columns = events_or_batch.batched()
    for name in events_or_batch.COLLECTIONS:
        ragged = getattr(events_or_batch, name)
        columns |= {f"{name}.{column}": values for column, values in ragged.columns.items()}
    return columns


def _rows(events_or_batch, columns):
    """Number of events; a symbol in a program for any number of events."""
    first = next(iter(columns.values()))
    return len(events_or_batch) if isinstance(events_or_batch, Record) else np.shape(first)[0]


def _by_event(rule: Rule, events_or_batch, xp):
    """Mask of the events that break a rule, bool `[n]`."""
    collection = rule.name.partition(".")[0]
    if isinstance(events_or_batch, Record) and collection in events_or_batch.COLLECTIONS:
        bad = np.zeros(len(events_or_batch), bool)
        entries = np.argwhere(rule.bad)[:, 0]
        bad[np.searchsorted(getattr(events_or_batch, collection).offsets, entries, side="right") - 1] = True
        return bad
    return xp.any(rule.bad, axis=tuple(range(1, rule.bad.ndim)))


def _address(events_or_batch, row: int) -> str:
    if not isinstance(events_or_batch, Record):
        return f"Event {row}"
    numbers = ", ".join(f"{name} {getattr(events_or_batch, name)[row]}" for name in ("run", "lumi", "event"))
    return f"Event {row} ({numbers})"


def _check_record(events: Record) -> None:
    rows = len(events)
    shapes = dict.fromkeys((*events.SCALARS, *events.observables), ())
    shapes |= {name: shape for name, (shape, _) in events.TENSORS.items()}
    for name, shape in shapes.items():
        values = getattr(events, name)
        if np.shape(values) != (rows, *shape):
            raise ValueError(
                f"The column {name!r} has the shape {np.shape(values)}, but these {rows} events (as many as "
                f"labels) take {(rows, *shape)}. Select events with events[rows], which keeps all columns "
                "together."
            )
    for name, declared in events.ragged().items():
        _check_ragged(name, getattr(events, name), declared, rows)


def _check_ragged(name: str, ragged: Ragged, declared: Mapping, rows: int) -> None:
    offsets = np.asarray(ragged.offsets)
    if offsets.shape != (rows + 1,) or offsets[0] != 0 or (np.diff(offsets) < 0).any():
        raise ValueError(
            f"The offsets of {name!r} do not divide it among these {rows} events: they are {rows + 1} "
            f"ascending numbers from 0, and here {len(offsets)}. Ragged.from_counts makes them."
        )
    for column, kind in declared.items():
        shape = (int(offsets[-1]), *column_type(kind)[1])
        found = np.shape(ragged.columns[column]) if column in ragged.columns else "missing"
        if found != shape:
            raise ValueError(
                f"The column '{name}.{column}' is {found}, but the offsets of {name!r} are those of {shape}. "
                "Every column of a collection has one entry for each hit."
            )


def _check_batch(batch: Mapping, task: Task, inputs: Inputs) -> None:
    record = KINDS[task.events]
    columns = {name: np.asarray(values) for name, values in _columns(batch).items()}
    for name, column in columns.items():
        if column.ndim == 0 or column.dtype.kind not in "fiub":
            raise ValueError(f"{name!r} is no array of numbers with an entry an event: {column.dtype}[].")
        if name.endswith(".cell") and column.dtype.kind not in "iu":
            raise ValueError(f"{name!r} holds {column.dtype}, but cells are integers (detector.geometry).")
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(
            f"The entries of this batch are of different numbers of events: {lengths or 'none'}."
        )
    (rows,) = set(lengths.values())
    shapes = preprocessing.dense_shapes(inputs)
    for name, shape in shapes.items():
        if name in columns and columns[name].shape[1:] != shape:
            raise ValueError(
                f"The image {name!r} has the shape {columns[name].shape}, but this classifier sees "
                f"{_listed(shapes)}, the channels {', '.join(inputs.channels)}, in GeV."
            )
    observables = {observable.name: ((), np.float32) for observable in task.observables}
    for name, (shape, _) in {**record.BATCHED, **observables}.items():
        if name in columns and columns[name].shape != (rows, *shape):
            raise ValueError(
                f"{name!r} has the shape {columns[name].shape}, but {rows} events take {(rows, *shape)}."
            )
    for name, declared in record.COLLECTIONS.items():
        if name not in batch or name in shapes:
            continue
        given = {c: columns.get(f"{name}.{c}") for c in declared if f"{name}.{c}" in columns}
        lists = {
            c: values.shape[: values.ndim - len(column_type(declared[c])[1])] for c, values in given.items()
        }
        if not lists or len(set(lists.values())) > 1 or len(next(iter(lists.values()))) != 2:
            raise ValueError(
                f"The columns of {name!r} must all be [events, hits], as {record.__name__}.to_batch makes "
                f"them; they are {lists or type(batch[name]).__name__}."
            )


def _expected(given, task: Task, inputs: Inputs) -> str:
    shapes = preprocessing.dense_shapes(inputs)
    shape = f" of shape {np.shape(given)}" if hasattr(given, "shape") else ""
    kind, needed = KINDS[task.events].__name__, inputs.observable
    dense = f"{{{_listed(shapes)}{f', {needed!r}: [n]' if needed else ''}}}"
    beside = f" with {needed!r} next to them" if needed else ""
    return (
        f"predict takes {kind}, a padded batch of hits ({kind}.to_batch)"
        f"{f', or images{beside}, {dense}' if shapes else ''}; got {type(given).__name__}{shape}."
    )


def _listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name!r}: [n, {', '.join(map(str, shape))}]" for name, shape in shapes.items())
