"""Named numbers of an event."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Observable:
    """A named number of an event.

    Attributes:
      name: name of the column, an identifier such as "mass".
      unit: unit such as "GeV"; "" for a number without unit.
      title: title on axes and in tables, such as "Diphoton mass"; by default the name.
      least: minimum value after the selection. A classifier rejects events below it. None for no bound.
    """

    name: str
    unit: str = ""
    title: str = ""
    least: float | None = None

    @property
    def label(self) -> str:
        """Title and unit as an axis label: "Diphoton mass [GeV]"."""
        title = self.title or self.name
        return f"{title} [{self.unit}]" if self.unit else title

    @property
    def phrase(self) -> str:
        """The title for use in a sentence: "diphoton mass", but "HT"."""
        title = self.title or self.name
        return title if title[:2].isupper() else title[:1].lower() + title[1:]
