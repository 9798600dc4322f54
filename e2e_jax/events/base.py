"""The base of all kinds of events: scalars, observables, small tensors, and lists of different length.

A subclass of `Record` declares its columns and inherits slicing, joining, padding, storing and validation.
`Ragged` stores lists as flat columns with offsets, so a million events are a few arrays. They are padded only
when a batch is made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import ClassVar, Self

import numpy as np

from e2e_jax.events import joining


@dataclasses.dataclass(frozen=True)
class Ragged:
    """Lists of different length, one per event: flat columns and the offsets of the events.

    Attributes:
      offsets: int64 `[n + 1]`; event i owns entries `offsets[i]:offsets[i + 1]`.
      columns: name -> flat array `[offsets[-1], ...]`; also readable as attributes (`hits.energy`).
    """

    offsets: np.ndarray
    columns: Mapping[str, np.ndarray]

    @classmethod
    def from_counts(cls, counts: np.ndarray, columns: Mapping[str, np.ndarray]) -> Ragged:
        """Builds from the number of entries of each event `[n]` and the flat columns."""
        offsets = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=offsets[1:])
        for name, column in columns.items():
            if len(column) != offsets[-1]:
                raise ValueError(
                    f"Column {name!r} has {len(column)} entries, but the counts add up to {offsets[-1]}."
                )
        return cls(offsets, dict(columns))

    @classmethod
    def concatenate(cls, parts: Iterable[Ragged]) -> Ragged:
        """Joins the events of several records with the same columns."""
        parts = list(parts)
        counts = np.concatenate([part.counts for part in parts])
        names = parts[0].columns
        return cls.from_counts(counts, {n: np.concatenate([p.columns[n] for p in parts]) for n in names})

    @property
    def counts(self) -> np.ndarray:
        """Entries of each event, int64 `[n]`."""
        return np.diff(self.offsets)

    @property
    def event_index(self) -> np.ndarray:
        """For each flat entry, the event it belongs to, int64 `[offsets[-1]]`."""
        return np.repeat(np.arange(len(self)), self.counts)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getattr__(self, name: str) -> np.ndarray:
        columns = object.__getattribute__(self, "__dict__").get("columns", {})
        if name in columns:
            return columns[name]
        raise AttributeError(f"No column {name!r}; there are {sorted(columns)}.")

    def __getitem__(self, rows) -> Ragged:
        """Selects events by slice, boolean mask or index array."""
        rows = np.arange(len(self))[rows]
        counts = self.counts[rows]
        entries = np.arange(counts.sum()) + np.repeat(self.offsets[rows] - np.cumsum(counts) + counts, counts)
        return self.from_counts(counts, {name: column[entries] for name, column in self.columns.items()})

    def event(self, index: int) -> dict[str, np.ndarray]:
        """The columns of one event."""
        entries = slice(self.offsets[index], self.offsets[index + 1])
        return {name: column[entries] for name, column in self.columns.items()}

    def filter(self, keep: np.ndarray) -> Ragged:
        """Keeps the flat entries where the boolean array `[offsets[-1]]` is true."""
        counts = np.bincount(self.event_index[keep], minlength=len(self))
        return self.from_counts(counts, {name: column[keep] for name, column in self.columns.items()})

    def padded(self, length: int | None = None) -> dict[str, np.ndarray]:
        """Columns as rectangular arrays `[n, length, ...]`, short events filled with zeros.

        Args:
          length: padded length; by default the length of the longest event.

        Raises:
          ValueError: an event holds more entries than `length`.
        """
        counts = self.counts
        longest = int(counts.max(initial=0))
        length = longest if length is None else length
        if longest > length:
            raise ValueError(
                f"Event {int(counts.argmax())} has {longest} entries, over the padded length {length}."
            )
        filled = np.arange(length) < counts[:, None]
        out = {}
        for name, column in self.columns.items():
            out[name] = np.zeros((len(self), length, *column.shape[1:]), column.dtype)
            out[name][filled] = column
        return out


def column_type(declared) -> tuple[type, tuple[int, ...]]:
    """(dtype, shape of one entry) of a column of `Record.COLLECTIONS`, given as a dtype or as both."""
    return declared if isinstance(declared, tuple) else (declared, ())


OBSERVABLES = "observables"
"""Field with the observables; their names in `Record.arrays` begin with it."""


class Record:
    """n events with the same columns. Subclasses are frozen dataclasses with one field per column.

    Every subclass also has the field `observables`: name -> float32 `[n]`, computed by the study's selection.
    An observable is also readable as an attribute (`events.mass`).

    Attributes:
      SCALARS: columns `[n]`, name -> dtype; "run", "lumi", "event" and "label" are among them.
      TENSORS: columns `[n, *shape]`, name -> (shape, dtype).
      OBJECTS: `Ragged` columns of reconstructed objects, name -> column -> dtype. `batched` reduces them to
        arrays.
      COLLECTIONS: `Ragged` columns of hits, name -> column -> dtype, or (dtype, shape of an entry).
      CELLS: number of cells of each collection that has a "cell" column.
      BATCHED: columns of a batch other than observables and collections, name -> (shape, dtype).
    """

    SCALARS: ClassVar[Mapping[str, type]]
    TENSORS: ClassVar[Mapping[str, tuple[tuple[int, ...], type]]] = {}
    OBJECTS: ClassVar[Mapping[str, Mapping[str, type]]] = {}
    COLLECTIONS: ClassVar[Mapping[str, Mapping[str, type | tuple]]]
    CELLS: ClassVar[Mapping[str, int]]
    BATCHED: ClassVar[Mapping[str, tuple[tuple[int, ...], type]]]

    observables: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.label)

    def __getattr__(self, name: str) -> np.ndarray:
        observables = self.__dict__.get(OBSERVABLES, {})
        if name in observables:
            return observables[name]
        raise AttributeError(
            f"{type(self).__name__} have no column {name!r}; their observables are "
            f"{', '.join(observables) or 'none'}."
        )

    def __getitem__(self, rows) -> Self:
        """Selects events by slice, boolean mask or index array."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        observables = {name: values[rows] for name, values in fields.pop(OBSERVABLES).items()}
        return type(self)(**{name: values[rows] for name, values in fields.items()}, observables=observables)

    @classmethod
    def ragged(cls) -> dict[str, Mapping]:
        """All ragged columns, `OBJECTS` and `COLLECTIONS`."""
        return {**cls.OBJECTS, **cls.COLLECTIONS}

    @classmethod
    def empty(cls, observables: Iterable[str] = ()) -> Self:
        """A record of zero events, with these observables."""
        nothing = np.zeros(0, np.int64)
        fields = {name: np.zeros(0, dtype) for name, dtype in cls.SCALARS.items()}
        fields |= {name: np.zeros((0, *shape), dtype) for name, (shape, dtype) in cls.TENSORS.items()}
        for name, declared in cls.ragged().items():
            types = {column: column_type(kind) for column, kind in declared.items()}
            columns = {column: np.zeros((0, *shape), dtype) for column, (dtype, shape) in types.items()}
            fields[name] = Ragged.from_counts(nothing, columns)
        return cls(**fields, observables={name: np.zeros(0, np.float32) for name in observables})

    @classmethod
    def concatenate(cls, parts: Iterable[Self]) -> Self:
        """Joins several records, in order; an iterator is consumed record by record (`joining`)."""
        joined = joining.join(part.parts() for part in parts)
        if not joined:
            raise ValueError("No events to concatenate: the list of records is empty.")
        return cls._assembled(joined, Ragged.from_counts)

    @classmethod
    def _assembled(cls, arrays: Mapping[str, np.ndarray], make: Callable[..., Ragged]) -> Self:
        """Builds from arrays by name; `make` builds a `Ragged` from counts or offsets and flat columns."""
        fields = {name: arrays[name] for name in (*cls.SCALARS, *cls.TENSORS)}
        for name, columns in cls.ragged().items():
            flat = {column: arrays[f"{name}.{column}"] for column in columns}
            fields[name] = make(arrays[name], flat)
        prefix = f"{OBSERVABLES}."
        found = {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
        return cls(**fields, observables=found)

    def _columns(self, of_ragged: Callable[[Ragged], np.ndarray]) -> dict[str, np.ndarray]:
        """All columns by name: "observables.mass", "eb.energy", and "eb" for the result of `of_ragged`."""
        arrays = {name: getattr(self, name) for name in (*self.SCALARS, *self.TENSORS)}
        arrays |= {f"{OBSERVABLES}.{name}": values for name, values in self.observables.items()}
        for name in self.ragged():
            ragged = getattr(self, name)
            arrays |= {name: of_ragged(ragged), **{f"{name}.{c}": v for c, v in ragged.columns.items()}}
        return arrays

    def parts(self) -> dict[str, np.ndarray]:
        """The columns in the form in which records are joined: "eb" is the number of entries per event."""
        return self._columns(lambda ragged: ragged.counts)

    def arrays(self) -> dict[str, np.ndarray]:
        """All columns by name, in the form stored on disk: "eb" holds the offsets."""
        return self._columns(lambda ragged: ragged.offsets)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Builds from all columns by name (`arrays()`)."""
        return cls._assembled(arrays, Ragged)

    @classmethod
    def from_examples(cls, examples: Iterable[Mapping], observables: Iterable[str] = ()) -> Self:
        """Builds from dataset examples (`examples()`), one dict per event, with these observables."""
        examples = list(examples)
        fields = {name: np.array([e[name] for e in examples], dtype) for name, dtype in cls.SCALARS.items()}
        for name, (shape, dtype) in cls.TENSORS.items():
            fields[name] = np.array([e[name] for e in examples], dtype).reshape(-1, *shape)
        for name, declared in cls.ragged().items():
            columns = {column: column_type(kind) for column, kind in declared.items()}
            lists = [(e if name in cls.OBJECTS else e["detector"])[name] for e in examples]
            counts = np.array([len(item[next(iter(columns))]) for item in lists], np.int64)
            flat = {
                column: [np.zeros((0, *shape), dtype), *(np.asarray(item[column], dtype) for item in lists)]
                for column, (dtype, shape) in columns.items()
            }
            fields[name] = Ragged.from_counts(counts, {c: np.concatenate(parts) for c, parts in flat.items()})
        found = {name: np.array([e[name] for e in examples], np.float32) for name in observables}
        return cls(**fields, observables=found)

    def examples(self) -> Iterator[dict]:
        """Yields one nested dict per event, in the form of the dataset: the hits under "detector"."""
        for i in range(len(self)):
            example = {name: getattr(self, name)[i] for name in (*self.SCALARS, *self.TENSORS)}
            example |= {name: values[i] for name, values in self.observables.items()}
            example |= {name: getattr(self, name).event(i) for name in self.OBJECTS}
            example["detector"] = {name: getattr(self, name).event(i) for name in self.COLLECTIONS}
            yield example

    def batched(self) -> dict[str, np.ndarray]:
        """The observables and the columns of `BATCHED`: all arrays of a batch except the hits."""
        return {**self.observables, **{name: getattr(self, name) for name in self.BATCHED}}

    def to_batch(self, lengths: Mapping[str, int] | None = None) -> dict:
        """The padded batch that jitted code takes.

        Args:
          lengths: padded length of each collection; by default the length of the longest event.

        Returns:
          `batched()`, `{"label": [n], ...}`, and the collections, such as `{"eb": {"cell": [n, length],
          "energy": [n, length]}, ...}`. Padding has cell 0 and energy (or pt) 0, so it contributes nothing.
        """
        lengths = lengths or {}
        batch = self.batched()
        for name in self.COLLECTIONS:
            batch[name] = getattr(self, name).padded(lengths.get(name))
        return batch

    @classmethod
    def cells(cls, inputs) -> Mapping[str, int]:
        """Number of cells of each collection for a network with these `config.inputs`."""
        return cls.CELLS

    @classmethod
    def unread(cls, inputs) -> tuple[str, ...]:
        """Collections that a network with these `config.inputs` does not read; training omits them."""
        return ()

    def without(self, collections: Iterable[str]) -> Self:
        """The same events with some collections empty."""
        nothing = np.zeros(len(self), np.int64)
        emptied = {}
        for name in collections:
            columns = getattr(self, name).columns
            emptied[name] = Ragged.from_counts(nothing, {c: values[:0] for c, values in columns.items()})
        return dataclasses.replace(self, **emptied)

    def validate(self, labels: int | None = None) -> Self:
        """Returns itself, or raises a ValueError that names the first bad event and value.

        Args:
          labels: how many labels the dataset has; not checked by default.
        """
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != OBSERVABLES}
        lengths = {name: len(values) for name, values in {**fields, **self.observables}.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"The columns of these events differ in length: {lengths}.")
        for name in (*self.SCALARS, *self.observables, *self.TENSORS):
            values = getattr(self, name)
            if values.dtype.kind == "f":
                self._refuse(name, ~np.isfinite(values), "is not finite")
        self._refuse("label", self.label < -1, "is no label (-1 where it is not known)")
        if labels is not None:
            self._refuse("label", self.label >= labels, f"is no label of the dataset (0 to {labels - 1})")
        for name in self.ragged():
            self._validate_collection(name, getattr(self, name))
        return self

    def _validate_collection(self, name: str, ragged: Ragged) -> None:
        for column, values in ragged.columns.items():
            if column == "cell":
                outside = f"is outside the detector (cells 0 to {self.CELLS[name] - 1})"
                self._refuse(f"{name}.cell", values >= self.CELLS[name], outside, ragged)
                absent = ~self.cell_exists(name, values)
                self._refuse(f"{name}.cell", absent, "is a place without a crystal or tower", ragged)
            elif values.dtype.kind == "f":
                self._refuse(f"{name}.{column}", ~np.isfinite(values), "is not finite", ragged)

    @classmethod
    def cell_exists(cls, collection: str, cells: np.ndarray) -> np.ndarray:
        """Which cells of a collection, below `CELLS`, exist: all, unless a subclass overrides it."""
        return np.ones(np.shape(cells), bool)

    def _refuse(self, what: str, bad: np.ndarray, why: str, ragged: Ragged | None = None) -> None:
        if not bad.any():
            return
        entry = np.argwhere(bad)[0]
        row = int(entry[0]) if ragged is None else int(ragged.event_index[entry[0]])
        name, _, column = what.partition(".")
        values = getattr(self, name) if ragged is None else ragged.columns[column]
        raise ValueError(
            f"Event {row} (run {self.run[row]}, lumi {self.lumi[row]}, event {self.event[row]}): "
            f"{what} = {values[tuple(entry)]} {why}. "
            f"{int(bad.sum())} such values in these {len(self)} events. "
            "Drop these events, or repair their source."
        )
