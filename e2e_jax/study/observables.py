"""Named numbers of an event."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Observable:
    """A named number of an event.

    Attributes:
      name: the column's name, an identifier such as "mass".
      unit: such as "GeV"; "" for a number without unit.
      title: on axes and in tables, such as "Diphoton mass"; the name by default.
      least: the lowest value that the selection can give. A classifier refuses events below it. None for no
        bound.
    """

    name: str
    unit: str = ""
    title: str = ""
    least: float | None = None

    @property
    def label(self) -> str:
        """Title and unit, as an axis shows them: "Diphoton mass [GeV]"."""
        title = self.title or self.name
        return f"{title} [{self.unit}]" if self.unit else title

    @property
    def phrase(self) -> str:
        """The title inside a sentence: "diphoton mass", but "HT"."""
        title = self.title or self.name
        return title if title[:2].isupper() else title[:1].lower() + title[1:]
