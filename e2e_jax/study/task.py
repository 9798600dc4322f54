"""The learning task of a network: classes, signal and decorrelation, or observables to predict."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence

import numpy as np

from e2e_jax.study.observables import Observable

MAX_CLASSES = 20

CLASSIFICATION, REGRESSION = "classification", "regression"

HEADS = {
    CLASSIFICATION: (CLASSIFICATION,),
    REGRESSION: (REGRESSION,),
    "joint": (CLASSIFICATION, REGRESSION),
}
"""Kind of a task -> its heads, the parts of the network's outputs, in order."""

REGRESSION_LOSSES = ("huber", "gaussian")


@dataclasses.dataclass(frozen=True)
class Task:
    """The learning task of a network.

    The file of a study sets the first fields. The study adds `labels`, `observables` and `events`; the
    properties and methods are defined only then.

    Attributes:
      signal: the signal class: a label, or a name in `classes`. A regression has none.
      decorrelate: the observable or observables of which the signal score must be independent; () for none.
      of: the label or labels for whose events the score must be independent.
      classes: class -> label or labels, in the order of the logits. Labels in no class are omitted. By
        default each label is a class.
      efficiencies: signal efficiencies, in percent, at which the background rejection is evaluated.
      kind: one of `HEADS`: classification, regression of observables, or both by one network.
      targets: for a regression: the observables to predict.
      loss: for a regression: "huber", or "gaussian", the negative logarithm of a Gaussian likelihood, which
        also learns the uncertainty of each prediction.
      weight: weight of the regression loss in a joint task.
      titles: label or class -> name in tables and figures, such as "γγ". By default the name itself, with
        spaces for underscores.
      labels: the names of the labels of the dataset, in order.
      observables: the observables of the events of the dataset.
      events: the kind of the events of the dataset, a key of `events.kinds.KINDS`.
      scales: target -> (center, width) in the training sample, see `scaled`. Added by the training.

    Raises:
      ValueError: a name is unknown, a label is in two classes, there are fewer than 2 or more than 20
        classes, or a field does not belong to the kind.
    """

    signal: str = ""
    decorrelate: str | Sequence[str] = ()
    of: str | Sequence[str] = ()
    classes: Mapping[str, str | Sequence[str]] = dataclasses.field(default_factory=dict)
    efficiencies: tuple[int, ...] = ()
    kind: str = CLASSIFICATION
    targets: str | Sequence[str] = ()
    loss: str = "huber"
    weight: float = 1.0
    titles: Mapping[str, str] = dataclasses.field(default_factory=dict)
    labels: tuple[str, ...] = ()
    observables: tuple[Observable, ...] = ()
    events: str = "collisions"
    scales: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        object.__setattr__(self, "of", _names(self.of))
        object.__setattr__(self, "decorrelate", _names(self.decorrelate))
        object.__setattr__(self, "targets", _names(self.targets))
        object.__setattr__(self, "scales", {name: tuple(scale) for name, scale in self.scales.items()})
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
        self._check_kind()
        if self.labels:
            self._check_observables()
            if self.classifies:
                self._check_classes()

    def _check_kind(self):
        if self.kind not in HEADS:
            raise ValueError(f"The task's kind is {self.kind!r}; it is one of {', '.join(HEADS)}.")
        if self.loss not in REGRESSION_LOSSES:
            raise ValueError(
                f"The task's loss is {self.loss!r}; that of a regression is one of "
                f"{', '.join(REGRESSION_LOSSES)}."
            )
        if bool(self.targets) != (REGRESSION in self.heads):
            found = f"the targets {', '.join(self.targets)}" if self.targets else "no targets"
            raise ValueError(
                f"A task of the kind {self.kind!r} has {found}: name the observables to predict as targets, "
                "and only those of a regression or of a joint task."
            )
        if not self.classifies and (self.signal or self.classes or self.decorrelate or self.efficiencies):
            raise ValueError(
                "A regression has no classes, so it takes no signal, classes, efficiencies or decorrelation. "
                'Leave them out, or choose the kind "joint".'
            )
        if not self.weight > 0:
            raise ValueError(f"The task's weight is {self.weight}; it is above 0.")

    def _check_observables(self):
        known = [observable.name for observable in self.observables]
        have = f"are {', '.join(known)}" if known else "do not exist: its selection gives none"
        for name in self.decorrelate:
            if name not in known:
                raise ValueError(
                    f"The task decorrelates from {name!r}, but the dataset's observables {have}."
                )
            if self.decorrelate.count(name) > 1:
                raise ValueError(f"The task decorrelates from {name!r} more than once. Name it once.")
        if missing := [name for name in self.targets if name not in known]:
            raise ValueError(f"The task's target is {missing[0]!r}, but the dataset's observables {have}.")
        if twice := sorted({name for name in self.targets if self.targets.count(name) > 1}):
            raise ValueError(f"The task names the target {twice[0]!r} twice.")

    def _check_classes(self):
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
        if left_out := [label for label in self.of if self.class_of_label[self.labels.index(label)] < 0]:
            raise ValueError(
                f"The task decorrelates in the events of {left_out[0]!r}, which is in none of its classes."
            )

    @property
    def heads(self) -> tuple[str, ...]:
        """The parts of the network's outputs: "classification", "regression", or both."""
        return HEADS[self.kind]

    @property
    def classifies(self) -> bool:
        """Whether there are classes."""
        return CLASSIFICATION in self.heads

    @property
    def outputs(self) -> int:
        """Number of network outputs per event: logits, predictions and, for "gaussian", log variances."""
        return len(self.names) + len(self.targets) * (2 if self.loss == "gaussian" else 1)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the predictions, in order: "probability_h", "predicted_mass", "sigma_mass"."""
        sigmas = self.targets if self.loss == "gaussian" else ()
        return (
            *(f"probability_{name}" for name in self.names),
            *(f"predicted_{name}" for name in self.targets),
            *(f"sigma_{name}" for name in sigmas),
        )

    @property
    def parts(self) -> int:
        """Number of equal parts of a batch: one per class, or one without classes."""
        return max(len(self.names), 1)

    @property
    def names(self) -> tuple[str, ...]:
        """The class of each logit."""
        return (tuple(self.classes) or self.labels) if self.classifies else ()

    @property
    def class_of_label(self) -> tuple[int, ...]:
        """The class of each label; -1 if its events are omitted. Without classes all are 0."""
        if not self.classifies:
            return (0,) * len(self.labels)
        if not self.classes:
            return tuple(range(len(self.labels)))
        return tuple(
            next((i for i, inside in enumerate(self.classes.values()) if label in inside), -1)
            for label in self.labels
        )

    @property
    def signal_index(self) -> int:
        """The index of the signal's logit."""
        return self.names.index(self.signal)

    @property
    def backgrounds(self) -> tuple[str, ...]:
        """The labels from which the signal is separated."""
        index = self.signal_index
        classes = zip(self.labels, self.class_of_label)
        return tuple(label for label, target in classes if target not in (-1, index))

    @property
    def scored(self) -> tuple[str, ...]:
        """The classes whose scores are shown: for two classes with one label each, only the signal."""
        return (self.signal,) if len(self.names) == 2 and len(self.backgrounds) == 1 else self.names

    @property
    def decorrelate_observables(self) -> tuple[Observable, ...]:
        """The observables to decorrelate from, in the order of `decorrelate`."""
        known = {observable.name: observable for observable in self.observables}
        return tuple(known[name] for name in self.decorrelate)

    @property
    def decorrelate_phrase(self) -> str:
        """These observables for use in a sentence: "diphoton mass and HT"; "" for none."""
        return " and ".join(observable.phrase for observable in self.decorrelate_observables)

    @property
    def known_observables(self) -> tuple[Observable, ...]:
        """The observables known before the prediction: all except the targets."""
        return tuple(o for o in self.observables if o.name not in self.targets)

    def title(self, name: str) -> str:
        """The title of a label or class in tables and figures."""
        return self.titles.get(name, name.replace("_", " "))

    def of_labels(self, labels, xp=np):
        """The class of each event, in the shape of the labels; -1 if it is omitted or its label is unknown.

        Without classes it is 0 for all events, also for those with an unknown label.

        Args:
          labels: int, indices into `labels`, -1 for unknown labels.
          xp: the array module, numpy or jax.numpy.
        """
        if not self.classifies:
            return xp.zeros_like(labels)
        if self.class_of_label == tuple(range(len(self.labels))):
            return labels
        return xp.where(labels >= 0, xp.asarray(self.class_of_label, np.int32)[labels], -1)

    def decorrelated(self, labels, xp=np):
        """Whether the score is decorrelated for each event, bool, in the shape of the labels."""
        wanted = [self.labels.index(label) for label in self.of if self.decorrelate]
        return xp.isin(labels, xp.asarray(wanted, np.int32))

    def counts(self, labels: np.ndarray) -> dict[str, int]:
        """The number of events of each label that is not omitted, by name."""
        return {
            name: int(np.sum(labels == index))
            for index, (name, target) in enumerate(zip(self.labels, self.class_of_label))
            if target >= 0
        }

    def target(self, name: str) -> Observable:
        """The observable of a target."""
        return next(observable for observable in self.observables if observable.name == name)

    def scaled(self, values: Mapping[str, np.ndarray]) -> Task:
        """The task with the mean and standard deviation of each target, the scale of the predictions.

        Args:
          values: target -> its values in the training sample, `[n]`.

        Raises:
          ValueError: a target is constant.
        """
        scales = {}
        for name in self.targets:
            center, width = (float(of(values[name], dtype=float)) for of in (np.mean, np.std))
            if not width > 1e-6 * abs(center):
                raise ValueError(
                    f"The target {name!r} is {center:g} in all {len(values[name])} training events, so there "
                    "is nothing to learn. Name another observable as target, or use other events."
                )
            scales[name] = (center, width)
        return dataclasses.replace(self, scales=scales)

    def changed(
        self,
        *,
        decorrelate: str | Sequence[str] = (),
        classes: Sequence[str] = (),
        kind: str = "",
        **fields,
    ) -> Task:
        """The task with changed fields; an empty argument leaves a field unchanged.

        Args:
          decorrelate: an observable or observables, or "none" for no decorrelation.
          classes: one text per class: "background=gamma_gamma+gamma_jet", or "h" for the class of one label.
          kind: as for the task. A regression drops all fields of a classification, and vice versa.
          **fields: other fields of the task.

        Raises:
          ValueError: as for the task.
        """
        decorrelate = _names(decorrelate)
        given = {"decorrelate": decorrelate, "classes": _classes(classes), "kind": kind, **fields}
        changes = {name: value for name, value in given.items() if value}
        if decorrelate == ("none",):
            changes |= {"decorrelate": (), "of": ()}
        if kind == REGRESSION:
            changes = {"signal": "", "decorrelate": (), "of": (), "classes": {}, "efficiencies": ()} | changes
        if kind == CLASSIFICATION:
            changes = {"targets": ()} | changes
        return dataclasses.replace(self, **changes)

    def to_json(self) -> dict:
        """The task as JSON; `Task(**json)` restores it."""
        return json.loads(json.dumps(dataclasses.asdict(self)))


def _classes(given: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """{"background": ("gamma_gamma", "gamma_jet"), "h": ("h",)} from the texts that `Task.changed` takes."""
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
