"""What a classifier tells apart: a config's classes, each of them one or several labels of the dataset."""

from __future__ import annotations

import dataclasses

import numpy as np

from e2e_jax.sources.events import CLASSES

SIGNAL, BACKGROUND = "h", "gamma_gamma"
"""The label whose score is the result, and the one in which that score must not follow the mass."""


@dataclasses.dataclass(frozen=True)
class Classes:
    """The classes of a config.

    Attributes:
      names: the class of each logit.
      targets: for each label of `sources.events.CLASSES` its class; -1 where its events are left out.
    """

    names: tuple[str, ...] = CLASSES
    targets: tuple[int, ...] = tuple(range(len(CLASSES)))

    @classmethod
    def of(cls, config) -> Classes:
        """The classes that `config.dataset.classes` names; the dataset's labels where there is no such field.

        Raises:
          ValueError: it does not name a class for each label, H shares one or has none, gamma gamma has none,
            or `config.model.classes` is another number.
        """
        given = tuple(config.dataset.get("classes", CLASSES))
        where = f"config.dataset.classes is {given}"
        if len(given) != len(CLASSES):
            raise ValueError(
                f"{where}; it names the class of each of the labels {', '.join(CLASSES)}, in this order: "
                'equal names are one class, "" leaves the label\'s events out.'
            )
        signal, background = CLASSES.index(SIGNAL), CLASSES.index(BACKGROUND)
        if given[signal] != SIGNAL or given.count(SIGNAL) != 1 or not given[background]:
            raise ValueError(
                f"{where}; its second place, and no other, must be {SIGNAL!r}, whose score is the result, "
                "and the first must not be empty: gamma gamma events decorrelate that score from the mass."
            )
        names = tuple(dict.fromkeys(name for name in given if name))
        if config.model.classes != len(names):
            raise ValueError(
                f"{where}, which are {len(names)} classes ({', '.join(names)}), but config.model.classes is "
                f"{config.model.classes}: set it to {len(names)}."
            )
        return cls(names, tuple(names.index(name) if name else -1 for name in given))

    @property
    def signal(self) -> int:
        """The logit of H."""
        return self.names.index(SIGNAL)

    def of_labels(self, labels, xp=np):
        """The class of each event, of the labels' shape; -1 where it is left out or its label is not known.

        Args:
          labels: int, indices into `sources.events.CLASSES`, -1 where not known.
          xp: the array module, numpy or jax.numpy.
        """
        if self.targets == tuple(range(len(CLASSES))):
            return labels
        return xp.where(labels >= 0, xp.asarray(self.targets, np.int32)[labels], -1)


ALL = Classes()
"""Every label a class of its own."""
