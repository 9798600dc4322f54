"""What a classifier tells apart: a config's classes, each of them one or several labels of the dataset."""

from __future__ import annotations

import dataclasses

import numpy as np

from e2e_jax.events.base import Record
from e2e_jax.events.diphotons import Events
from e2e_jax.events.showers import Showers
from e2e_jax.studies import hgg, showers


@dataclasses.dataclass(frozen=True)
class Category:
    """What the samples of a category have in common, and what their classifiers are judged by.

    Attributes:
      record: what the events are.
      labels: the labels of the dataset, in order.
      signal: the label whose score is the result.
      decorrelated: the label in which that score must not follow the mass; "" where there is no mass.
      efficiencies: of the signal, in per cent, at which the rejection of the background is a result.
    """

    record: type[Record]
    labels: tuple[str, ...]
    signal: str
    decorrelated: str = ""
    efficiencies: tuple[int, ...] = ()


DIPHOTON = Category(Events, hgg.LABELS, "h", "gamma_gamma")
SHOWERS = Category(Showers, showers.LABELS, "electron", efficiencies=(50, 70, 90))
CATEGORIES = {"central": DIPHOTON, "central_forward": DIPHOTON, "showers": SHOWERS}
"""By `config.dataset.category`; `studies.hgg` defines where the photons of the first two may be."""

SIGNAL, BACKGROUND = DIPHOTON.signal, DIPHOTON.decorrelated


def category_of(config) -> Category:
    """The category that `config.dataset.category` names; central for configs of old, which lack the field.

    Raises:
      ValueError: there is no such category.
    """
    name = config.dataset.get("category", "central")
    if name not in CATEGORIES:
        raise ValueError(f"config.dataset.category is {name!r}; it is one of {', '.join(CATEGORIES)}.")
    return CATEGORIES[name]


@dataclasses.dataclass(frozen=True)
class Classes:
    """The classes of a config.

    Attributes:
      names: the class of each logit.
      targets: for each label of the category its class; -1 where its events are left out.
      category: whose labels these are.
    """

    names: tuple[str, ...] = DIPHOTON.labels
    targets: tuple[int, ...] = tuple(range(len(DIPHOTON.labels)))
    category: Category = DIPHOTON

    @classmethod
    def of(cls, config) -> Classes:
        """The classes that `config.dataset.classes` names; without that field the category's labels.

        Raises:
          ValueError: it does not name a class for each label, the signal shares one or has none, the label
            that decorrelates has none, there is no other class, or `config.model.classes` is another number.
        """
        category = category_of(config)
        labels, signal = category.labels, category.signal
        given = tuple(config.dataset.get("classes", labels))
        where = f"config.dataset.classes is {given}"
        if len(given) != len(labels):
            raise ValueError(
                f"{where}; it names the class of each of the labels {', '.join(labels)}, in this order: "
                'equal names are one class, "" leaves the label\'s events out.'
            )
        place = ("first", "second", "third")[labels.index(signal)]
        if given[labels.index(signal)] != signal or given.count(signal) != 1:
            raise ValueError(
                f"{where}; its {place} place, and no other, must be {signal!r}, whose score is the result."
            )
        if category.decorrelated and not given[labels.index(category.decorrelated)]:
            raise ValueError(
                f"{where}; the first must not be empty: {category.decorrelated.replace('_', ' ')} events "
                "decorrelate the score from the mass."
            )
        names = tuple(dict.fromkeys(name for name in given if name))
        if len(names) < 2:
            raise ValueError(f"{where}; there is nothing to tell {signal!r} from.")
        if config.model.classes != len(names):
            raise ValueError(
                f"{where}, which are {len(names)} classes ({', '.join(names)}), but config.model.classes is "
                f"{config.model.classes}: set it to {len(names)}."
            )
        return cls(names, tuple(names.index(name) if name else -1 for name in given), category)

    @property
    def signal(self) -> int:
        """The logit of the signal."""
        return self.names.index(self.category.signal)

    @property
    def backgrounds(self) -> tuple[str, ...]:
        """The labels that the signal is told from."""
        kept = zip(self.category.labels, self.targets)
        return tuple(name for name, target in kept if name != self.category.signal and target >= 0)

    @property
    def told(self) -> tuple[str, ...]:
        """The classes whose scores say something of their own: of two labels, the signal's says all."""
        two = len(self.names) == 2 and len(self.backgrounds) == 1
        return (self.category.signal,) if two else self.names

    def of_labels(self, labels, xp=np):
        """The class of each event, of the labels' shape; -1 where it is left out or its label is not known.

        Args:
          labels: int, indices into the category's labels, -1 where not known.
          xp: the array module, numpy or jax.numpy.
        """
        if self.targets == tuple(range(len(self.category.labels))):
            return labels
        return xp.where(labels >= 0, xp.asarray(self.targets, np.int32)[labels], -1)

    def counts(self, labels) -> dict[str, int]:
        """How many events each label has that is not left out, by its name."""
        return {
            name: int(np.sum(labels == label))
            for label, name in enumerate(self.category.labels)
            if self.targets[label] >= 0
        }


ALL = Classes()
"""Every label of the diphoton categories a class of its own."""
