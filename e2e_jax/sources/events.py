"""The event record: what every source produces and everything downstream reads.

An event is a handful of scalars, two photons, and four lists of different length: ECAL barrel
hits, ECAL endcap hits, HCAL hits and tracks. `Events` keeps each list flat, with offsets, so a
million events are a few arrays, and pads it only when a batch goes to the device.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from e2e_jax.detector import geometry

CLASSES = ("gamma_gamma", "h", "gamma_jet")
"""Class names in label order, as in the authors' files: 0 Born gamma gamma, 1 H, 2 gamma+jet."""

COLLECTIONS: dict[str, dict[str, type]] = {
    "eb": {"cell": np.uint16, "energy": np.float32},
    "ee": {"cell": np.uint16, "energy": np.float32},
    "hcal": {"cell": np.uint16, "energy": np.float32},
    "tracks": {"pt": np.float32, "eta": np.float32, "phi": np.float32},
}
"""Columns of the ragged collections. `cell` is the index of `detector.geometry`; GeV and rad."""

CELLS = {"eb": geometry.EB_CELLS, "ee": geometry.EE_CELLS, "hcal": geometry.HCAL_CELLS}


def cell_exists(collection: str, cells: np.ndarray) -> np.ndarray:
    """Which cells of "eb", "ee" or "hcal", below `CELLS`, name a crystal or tower that there is.

    Not all numbers do: the endcaps' grids have corners and a beam hole, and above |ieta| 20 the HCAL's towers
    have odd iphi. No image would show such a hit.
    """
    if collection == "ee":
        return geometry.ee_exists()[cells]
    if collection == "hcal":
        return geometry.hcal_exists()[cells % geometry.HCAL_TOWERS]
    return np.ones(np.shape(cells), bool)


SCALARS = {
    "run": np.int64,
    "lumi": np.int64,
    "event": np.int64,
    "mass": np.float32,
    "label": np.int32,
}
"""Columns with one number an event; mass is the diphoton mass in GeV."""


@dataclasses.dataclass(frozen=True)
class Ragged:
    """Lists of different length, one an event: flat columns and the offsets between events.

    Attributes:
      offsets: int64 `[n + 1]`; event i owns entries `offsets[i]:offsets[i + 1]`.
      columns: name -> flat array `[offsets[-1]]`; also readable as attributes (`hits.energy`).
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
        """Columns as rectangular arrays `[n, length]`, short events filled with zeros.

        Args:
          length: entries kept an event; the longest event's by default.

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
            out[name] = np.zeros((len(self), length), column.dtype)
            out[name][filled] = column
        return out


@dataclasses.dataclass(frozen=True)
class Events:
    """Collision events with their hits in the detector's native segmentation.

    Attributes:
      run, lumi, event: int64 `[n]`, the event's address.
      mass: float32 `[n]`, diphoton mass in GeV.
      photons: float32 `[n, 2, 3]`, (pt, eta, phi) of the two photons, leading first; GeV, rad.
      label: int32 `[n]`, index into `CLASSES`; -1 where it is not known.
      eb, ee: rec hits with `cell` (`geometry.eb_cell`, `geometry.ee_cell`) and `energy` in GeV.
      hcal: rec hits with `cell` (`geometry.hcal_cell`, which keeps the depth) and `energy` in GeV.
      tracks: highPurity tracks with `pt` in GeV, `eta` and `phi` at the perigee.
    """

    run: np.ndarray
    lumi: np.ndarray
    event: np.ndarray
    mass: np.ndarray
    photons: np.ndarray
    label: np.ndarray
    eb: Ragged
    ee: Ragged
    hcal: Ragged
    tracks: Ragged

    def __len__(self) -> int:
        return len(self.mass)

    def __getitem__(self, rows) -> Events:
        """Selects events by slice, boolean mask or index array."""
        return Events(**{f.name: getattr(self, f.name)[rows] for f in dataclasses.fields(self)})

    @classmethod
    def concatenate(cls, parts: Iterable[Events]) -> Events:
        """Joins several records, in order."""
        parts = list(parts)
        if not parts:
            raise ValueError("No events to concatenate: the list of records is empty.")
        joined = {}
        for field in dataclasses.fields(cls):
            values = [getattr(part, field.name) for part in parts]
            join = Ragged.concatenate if field.name in COLLECTIONS else np.concatenate
            joined[field.name] = join(values)
        return cls(**joined)

    @classmethod
    def from_examples(cls, examples: Iterable[Mapping]) -> Events:
        """Builds from dataset examples (`Events.examples`), one dict an event."""
        examples = list(examples)
        fields = {name: np.array([e[name] for e in examples], dtype) for name, dtype in SCALARS.items()}
        fields["photons"] = np.array([e["photons"] for e in examples], np.float32).reshape(-1, 2, 3)
        for name, columns in COLLECTIONS.items():
            lists = [e["detector"][name] for e in examples]
            counts = np.array([len(item[next(iter(columns))]) for item in lists], np.int64)
            flat = {c: [np.zeros(0, t), *(np.asarray(i[c], t) for i in lists)] for c, t in columns.items()}
            fields[name] = Ragged.from_counts(counts, {c: np.concatenate(parts) for c, parts in flat.items()})
        return cls(**fields)

    def examples(self) -> Iterator[dict]:
        """Yields one nested dict an event, as the dataset stores it."""
        for i in range(len(self)):
            example = {name: getattr(self, name)[i] for name in SCALARS}
            example["photons"] = self.photons[i]
            example["detector"] = {name: getattr(self, name).event(i) for name in COLLECTIONS}
            yield example

    def to_batch(self, lengths: Mapping[str, int] | None = None) -> dict:
        """The padded batch that jitted code takes.

        Args:
          lengths: padded length of each collection; the longest event's where it is not given.

        Returns:
          `{"mass": [n], "photons": [n, 2, 3], "label": [n], "eb": {"cell": [n, length],
          "energy": [n, length]}, ...}`. Padding has cell 0 and energy (or pt) 0, so it adds nothing.
        """
        lengths = lengths or {}
        batch = {"mass": self.mass, "photons": self.photons, "label": self.label}
        for name in COLLECTIONS:
            batch[name] = getattr(self, name).padded(lengths.get(name))
        return batch

    def validate(self) -> Events:
        """Returns itself, or raises a ValueError that names the first bad event and value."""
        lengths = {field.name: len(getattr(self, field.name)) for field in dataclasses.fields(self)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"The columns of these events differ in length: {lengths}.")
        for name in ("mass", "photons"):
            self._refuse(name, ~np.isfinite(getattr(self, name)), "is not finite")
        self._refuse("mass", self.mass <= 0, "is not a positive mass in GeV")
        unknown = (self.label < -1) | (self.label >= len(CLASSES))
        self._refuse("label", unknown, f"is no class (-1 to {len(CLASSES) - 1})")
        for name, columns in COLLECTIONS.items():
            ragged = getattr(self, name)
            for column in columns:
                values = ragged.columns[column]
                if column == "cell":
                    outside = f"is outside the detector (cells 0 to {CELLS[name] - 1})"
                    self._refuse(f"{name}.cell", values >= CELLS[name], outside, ragged)
                    bad, why = ~cell_exists(name, values), "is a place without a crystal or tower"
                else:
                    bad, why = ~np.isfinite(values), "is not finite"
                self._refuse(f"{name}.{column}", bad, why, ragged)
        return self

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
            "Drop these events, or mend the source that wrote them."
        )
