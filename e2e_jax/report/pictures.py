"""A figure of the report: style, files, and display on a light or dark page."""

from __future__ import annotations

import base64
import dataclasses
import io
import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import mplhep
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from e2e_jax.display.figure import literal
from e2e_jax.study import Task

INK, FAINT = "#1a1a1a", "#8a8a8a"
"""Colors of text and lines, and of the background elements."""
COLOURS = ("#3f79f0", "#e42536", "#e88a00", "#964a8b", "#188a80", "#7a21dd")
"""Colors of curves, in order: from M. A. Petroff, "Accessible color sequences", arXiv:2107.02270, with darker
yellows, because thin lines need contrast."""
DASHES = ("-", "--", "-.", ":")
DARK = {
    INK: "#e8e8e6",
    COLOURS[0]: "#75a1ff",
    COLOURS[1]: "#ff6570",
    COLOURS[3]: "#d492c9",
    COLOURS[5]: "#b794ff",
}
"""Replacements of colors on a dark page; other colors are used for both."""
SIZE = (10.0, 8.5)
"""Width and height in inches. At half a page width, mplhep's letters of 26 points become 9 points."""
DOTS = 120
STYLE = {
    **mplhep.style.CMS,
    "figure.figsize": SIZE,
    # The second font has the letters that the first lacks, such as γ and →.
    "font.family": ["TeX Gyre Heros", "DejaVu Sans"],
    "mathtext.fallback": "stixsans",
    "axes.unicode_minus": True,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 3,
    "legend.handlelength": 1.7,
    "svg.hashsalt": "e2e_jax",
}


@dataclasses.dataclass
class Picture:
    """A figure of the report.

    Attributes:
      name: name of its files, without suffix.
      title: heading in the page.
      caption: description in one or two sentences.
      figure: the drawing.
      interactive: the same as JSON for plotly.js, or None.
      themed: whether its colors follow the page; otherwise the background is white.
      sources: the drawing as data URIs, "light" and, if themed, "dark"; set when it is written.
    """

    name: str
    title: str
    caption: str
    figure: Figure
    interactive: str | None = None
    themed: bool = True
    sources: dict[str, str] = dataclasses.field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Writes the PNG and the PDF, stores the page's version in `sources`, and releases the drawing."""
        with matplotlib.rc_context(STYLE if self.themed else {}):
            path = folder / f"{self.name}.png"
            self.figure.savefig(path, dpi=DOTS if self.themed else 300, facecolor="white")
            # One layout for all formats.
            self.figure.set_layout_engine("none")
            # Without a date the PDF is reproducible.
            about = {"CreationDate": None}
            self.figure.savefig(folder / f"{self.name}.pdf", facecolor="white", metadata=about)
            if self.themed:
                drawn = _svg(self.figure)
                self.sources = {"light": _uri(drawn, "svg+xml"), "dark": _uri(dark(drawn), "svg+xml")}
            else:
                self.sources = {"light": _uri(path.read_bytes(), "png")}
        self.figure.clear()


def dark(svg: str) -> str:
    """A drawing in the colors of a dark page."""
    for light, other in DARK.items():
        svg = svg.replace(light, other)
    return svg


def class_colours(task: Task) -> dict[str, str]:
    """A color for each class; the signal always has the same color."""
    signal = COLOURS[1]
    others = itertools.cycle(colour for colour in COLOURS if colour != signal)
    return {name: signal if name == task.signal else next(others) for name in task.names}


@contextmanager
def new_figure(origin: str, note: str = "", size: tuple[float, float] = SIZE, **axes) -> Iterator[tuple]:
    """A figure in the report's style and its axes, below a line with the origin of the events.

    Args:
      origin: origin of the events.
      note: text at the right end of that line.
      size: size in inches.
      **axes: as for `Figure.subplots`.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        drawn = figure.subplots(**axes)
        yield figure, drawn
        header(drawn if isinstance(drawn, Axes) else drawn.flat[0], origin, note)


def header(axes: Axes, origin: str, note: str = "") -> None:
    """Writes the origin of the events (left) and a note (right) above the axes."""
    origin, note = literal(origin), literal(note)
    # Both fit above the narrowest axes, those with a color bar.
    size = 23 * min(1.0, 40 / max(len(origin) + len(note), 1))
    above = {"xy": (0, 1), "xycoords": "axes fraction", "textcoords": "offset points", "va": "bottom"}
    if "/" not in origin:  # names of datasets are not changed
        origin = origin[:1].upper() + origin[1:]
    axes.annotate(origin, **above, xytext=(0, 8), style="italic", fontsize=size, weight="bold")
    above["xy"] = (1, 1)
    axes.annotate(note, **above, xytext=(0, 8), ha="right", fontsize=size)


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, dpi=DOTS, metadata={"Date": None})
    # A third of matplotlib's output is indentation and comments.
    return re.sub(
        r"\s+", " ", re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    )


def _uri(content: str | bytes, kind: str) -> str:
    content = content.encode() if isinstance(content, str) else content
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
