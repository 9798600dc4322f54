"""A self-contained page with interactive pictures of events."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2
from markupsafe import Markup
from matplotlib.colors import LogNorm

from e2e_jax.display.cells import Gradients
from e2e_jax.display.figure import LAYERS, event_title
from e2e_jax.display.interactive import SALIENCY, plane, space
from e2e_jax.events.diphotons import Events
from e2e_jax.study import Task


class Explained(NamedTuple):
    """Explanation of events by a classifier.

    Attributes:
      name: title of the class whose probability was differentiated.
      scores: the probabilities of each event, as text.
      gradients: gradients of each event's hits.
    """

    name: str
    scores: Sequence[str]
    gradients: Sequence[Gradients]


def page(events: Events, origin: str, task: Task, explained: Explained | None = None) -> str:
    """The content of a page with each event in the (eta, phi) plane and in space.

    Args:
      events: the events to show.
      origin: origin of the events.
      task: names the labels and observables.
      explained: adds probabilities and saliency.
    """
    from plotly.offline import get_plotlyjs

    shown = []
    for index in range(len(events)):
        title, _, about = event_title(events, index, origin, task).rpartition("\n")
        gradients = explained.gradients[index] if explained else None
        figures = [Markup(_html(draw(events, index, gradients))) for draw in (plane, space)]
        scores = explained.scores[index] if explained else ""
        shown.append({"title": title or about, "about": about, "scores": scores, "figures": figures})
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        shown=shown,
        plotly=Markup(get_plotlyjs()),
        scales=_scales(explained),
        saliency=explained.name if explained else "",
    )


def _scales(explained: Explained | None) -> list[dict[str, str]]:
    """The color scales: name, colors, and the labels of both ends."""
    made = []
    for label, colours, norm, _ in LAYERS.values():
        name, _, unit = label.replace("$p_T$", "pT").removesuffix("]").partition(" [")
        ends = (
            f"{norm.vmin:g}",
            f"{norm.vmax:g} {unit}" + (", logarithmic" if isinstance(norm, LogNorm) else ""),
        )
        made.append({"name": name, "colours": ", ".join(colours), "low": ends[0], "high": ends[1]})
    if explained:
        about = {"name": "Saliency", "low": "lowers", "high": "raises the probability"}
        made.append({"colours": ", ".join(SALIENCY), **about})
    return made


def _html(figure) -> str:
    """The HTML element of a figure, which fills its card and keeps its aspect ratio."""
    height = "min(78vh, 100vw)"
    config = {"displaylogo": False, "responsive": True}
    return figure.to_html(full_html=False, include_plotlyjs=False, default_height=height, config=config)
