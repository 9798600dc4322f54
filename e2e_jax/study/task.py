"""What a classifier learns: classes, signal and decorrelation."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence

import numpy as np

from e2e_jax.study.observables import Observable

MAX_CLASSES = 20


@dataclasses.dataclass(frozen=True)
class Task:
    """What a classifier learns.

    A user's study gives the first fields. The study adds `labels`, `observables` and `events`, and only then
    the properties and methods are defined.

    Attributes:
      signal: the class whose score is the result: a label, or a name in `classes`.
      decorrelate: the observable or observables of which the signal's score must be independent; () for none.
      of: the label or labels in whose events it must be independent.
      classes: class -> its label or labels, in the order of the logits. Labels in no class are left out. By
        default each label is a class.
      efficiencies: of the signal, in per cent, at which the rejection of the background is a result.
      titles: label or class -> its name in tables and figures, such as "γγ". By default the name itself, with
        spaces for underscores.
      labels: the names of the dataset's labels, in order.
      observables: the observables of the dataset's events.
      events: the kind of the dataset's events, a key of `events.kinds.KINDS`.

    Raises:
      ValueError: a name is not among those it must be of, a label is in two classes, or there are fewer than
        2 or more than 20 classes.
    """

    signal: str
    decorrelate: str | Sequence[str] = ()
    of: str | Sequence[str] = ()
    classes: Mapping[str, str | Sequence[str]] = dataclasses.field(default_factory=dict)
    efficiencies: tuple[int, ...] = ()
    titles: Mapping[str, str] = dataclasses.field(default_factory=dict)
    labels: tuple[str, ...] = ()
    observables: tuple[Observable, ...] = ()
    events: str = "collisions"

    def __post_init__(self):
        object.__setattr__(self, "of", _names(self.of))
        object.__setattr__(self, "decorrelate", _names(self.decorrelate))
        classes = {name: _names(labels) for name, labels in self.classes.items()}
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "labels", tuple(self.labels))
        object.__setattr__(self, "efficiencies", tuple(self.efficiencies))
        object.__setattr__(self, "titles", dict(self.titles))
        observables = tuple(o if isinstance(o, Observable) else Observable(**o) for o in self.observables)
        object.__setattr__(self, "observables", observables)
        if self.decorrelate and not self.of:
            raise ValueError(
                f"The task decorrelates from {_quoted(self.decorrelate)} but names no label in whose "
                'events: give it as of=..., such as of="gamma_gamma".'
            )
        if self.labels:
            self._check()

    def _check(self):
        names = self.names
        if not 2 <= len(names) <= MAX_CLASSES:
            raise ValueError(
                f"The task has {len(names)} classes ({', '.join(names)}); it takes 2 to {MAX_CLASSES}."
            )
        if self.signal not in names:
            raise ValueError(f"The task's signal is {self.signal!r}, but its classes are {', '.join(names)}.")
        used = [label for labels in self.classes.values() for label in labels]
        for label in (*used, *self.of):
            if label not in self.labels:
                raise ValueError(f"The task names {label!r}, but the labels are {', '.join(self.labels)}.")
        if twice := sorted({label for label in used if used.count(label) > 1}):
            raise ValueError(f"The task puts {', '.join(twice)} into more than one class.")
        if empty := [name for name, labels in self.classes.items() if not labels]:
            raise ValueError(f"The task's class {empty[0]!r} has no label.")
        if left_out := [label for label in self.of if self.targets[self.labels.index(label)] < 0]:
            raise ValueError(
                f"The task decorrelates in the events of {left_out[0]!r}, which is in none of its classes."
            )
        known = [observable.name for observable in self.observables]
        for name in self.decorrelate:
            if name not in known:
                have = f"are {', '.join(known)}" if known else "do not exist: its selection gives none"
                raise ValueError(
                    f"The task decorrelates from {name!r}, but the dataset's observables {have}."
                )
            if self.decorrelate.count(name) > 1:
                raise ValueError(f"The task decorrelates from {name!r} more than once. Name it once.")

    @property
    def names(self) -> tuple[str, ...]:
        """The class of each logit."""
        return tuple(self.classes) or self.labels

    @property
    def targets(self) -> tuple[int, ...]:
        """For each label its class; -1 where its events are left out."""
        if not self.classes:
            return tuple(range(len(self.labels)))
        return tuple(
            next((i for i, inside in enumerate(self.classes.values()) if label in inside), -1)
            for label in self.labels
        )

    @property
    def signal_index(self) -> int:
        """The logit of the signal."""
        return self.names.index(self.signal)

    @property
    def backgrounds(self) -> tuple[str, ...]:
        """The labels from which the signal is separated."""
        index = self.signal_index
        return tuple(label for label, target in zip(self.labels, self.targets) if target not in (-1, index))

    @property
    def scored(self) -> tuple[str, ...]:
        """The classes whose scores are shown: of two classes with one label each, the signal alone."""
        return (self.signal,) if len(self.names) == 2 and len(self.backgrounds) == 1 else self.names

    @property
    def decorrelate_observables(self) -> tuple[Observable, ...]:
        """The observables of which the score must be independent, in the order of `decorrelate`."""
        known = {observable.name: observable for observable in self.observables}
        return tuple(known[name] for name in self.decorrelate)

    @property
    def decorrelate_phrase(self) -> str:
        """These observables inside a sentence: "diphoton mass and HT"; "" for none."""
        return " and ".join(observable.phrase for observable in self.decorrelate_observables)

    def title(self, name: str) -> str:
        """A label or class as tables and figures show it."""
        return self.titles.get(name, name.replace("_", " "))

    def of_labels(self, labels, xp=np):
        """The class of each event, of the labels' shape; -1 where it is left out or its label is not known.

        Args:
          labels: int, indices into `labels`, -1 where not known.
          xp: the array module, numpy or jax.numpy.
        """
        if self.targets == tuple(range(len(self.labels))):
            return labels
        return xp.where(labels >= 0, xp.asarray(self.targets, np.int32)[labels], -1)

    def decorrelated(self, labels, xp=np):
        """Which events the score is decorrelated in, boolean, of the labels' shape."""
        wanted = [self.labels.index(label) for label in self.of if self.decorrelate]
        return xp.isin(labels, xp.asarray(wanted, np.int32))

    def counts(self, labels: np.ndarray) -> dict[str, int]:
        """How many events each label has that is not left out, by its name."""
        return {
            name: int(np.sum(labels == index))
            for index, (name, target) in enumerate(zip(self.labels, self.targets))
            if target >= 0
        }

    def changed(
        self,
        signal: str = "",
        decorrelate: str | Sequence[str] = (),
        of: Sequence[str] = (),
        classes: Sequence[str] = (),
    ) -> Task:
        """The task with other fields; an empty argument leaves the field as it is.

        Args:
          signal: as for the task.
          decorrelate: an observable or observables, or "none" for no decorrelation.
          of: labels.
          classes: one text per class: "background=gamma_gamma+gamma_jet", or "h" for the class of one label.

        Raises:
          ValueError: as for the task.
        """
        decorrelate = _names(decorrelate)
        given = {"signal": signal, "decorrelate": decorrelate, "of": tuple(of), "classes": _classes(classes)}
        fields = {name: value for name, value in given.items() if value}
        if decorrelate == ("none",):
            fields |= {"decorrelate": (), "of": ()}
        return dataclasses.replace(self, **fields)

    def to_json(self) -> dict:
        """The task as JSON holds it; `Task(**json)` is the task again."""
        return json.loads(json.dumps(dataclasses.asdict(self)))


def _classes(given: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """{"background": ("gamma_gamma", "gamma_jet"), "h": ("h",)} of the texts that `Task.changed` takes."""
    classes = {}
    for text in given:
        name, _, labels = text.partition("=")
        if name in classes:
            raise ValueError(f"The task names the class {name!r} twice: {', '.join(given)}.")
        classes[name] = tuple((labels or name).split("+"))
    return classes


def _quoted(names: Sequence[str]) -> str:
    return " and ".join(map(repr, names))


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    return ((given,) if given else ()) if isinstance(given, str) else tuple(given)
