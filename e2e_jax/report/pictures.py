"""A figure of the report: its style, its files, and how it stands in a page that may be light or dark."""

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
"""What is written and drawn in lines; what stands back."""
COLOURS = ("#3f79f0", "#e42536", "#e88a00", "#964a8b", "#188a80", "#7a21dd")
"""Of curves, in order: after M. A. Petroff, "Accessible color sequences", arXiv:2107.02270, the yellow ones
darker, since thin lines need the contrast."""
DASHES = ("-", "--", "-.", ":")
DARK = {
    INK: "#e8e8e6",
    COLOURS[0]: "#75a1ff",
    COLOURS[1]: "#ff6570",
    COLOURS[3]: "#d492c9",
    COLOURS[5]: "#b794ff",
}
"""What takes the place of a colour on a dark page; the others do for both."""
SIZE = (10.0, 8.5)
"""Width and height in inches. mplhep's letters of 26 points are 9 at half the width of a page."""
DOTS = 120
STYLE = {
    **mplhep.style.CMS,
    "figure.figsize": SIZE,
    # The second has the letters that the first lacks, such as γ and →.
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
      name: of its files, without their ends.
      title: its heading in the page.
      caption: what is seen, in a sentence or two.
      figure: the drawing.
      interactive: the same as JSON for plotly.js; None where there is none.
      themed: whether its colours may change with the page; otherwise it stands on white.
      sources: the drawing as data URIs, "light" and, where it is themed, "dark"; once it was written.
    """

    name: str
    title: str
    caption: str
    figure: Figure
    interactive: str | None = None
    themed: bool = True
    sources: dict[str, str] = dataclasses.field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Writes the PNG and the PDF, keeps what the page shows in `sources`, and lets go of the drawing."""
        with matplotlib.rc_context(STYLE if self.themed else {}):
            path = folder / f"{self.name}.png"
            self.figure.savefig(path, dpi=DOTS if self.themed else 300, facecolor="white")
            # Laid out once, for all formats.
            self.figure.set_layout_engine("none")
            # Without its date a PDF is the same every time.
            about = {"CreationDate": None}
            self.figure.savefig(folder / f"{self.name}.pdf", facecolor="white", metadata=about)
            if self.themed:
                drawn = _svg(self.figure)
                self.sources = {"light": _uri(drawn, "svg+xml"), "dark": _uri(dark(drawn), "svg+xml")}
            else:
                self.sources = {"light": _uri(path.read_bytes(), "png")}
        self.figure.clear()


def dark(svg: str) -> str:
    """A drawing in the colours of a dark page."""
    for light, other in DARK.items():
        svg = svg.replace(light, other)
    return svg


def class_colours(task: Task) -> dict[str, str]:
    """A colour for each class: that of the signal is always the same."""
    signal = COLOURS[1]
    others = itertools.cycle(colour for colour in COLOURS if colour != signal)
    return {name: signal if name == task.signal else next(others) for name in task.names}


@contextmanager
def new_figure(origin: str, note: str = "", size: tuple[float, float] = SIZE, **axes) -> Iterator[tuple]:
    """A figure in the report's style and its axes, below a line that says what the events are.

    Args:
      origin: where the events come from.
      note: stands at the right end of that line.
      size: inches.
      **axes: as for `Figure.subplots`.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        drawn = figure.subplots(**axes)
        yield figure, drawn
        header(drawn if isinstance(drawn, Axes) else drawn.flat[0], origin, note)


def header(axes: Axes, origin: str, note: str = "") -> None:
    """Writes above axes what the events are (left) and what else there is to say (right)."""
    origin, note = literal(origin), literal(note)
    # Side by side above the narrowest axes, those with a colour bar.
    size = 23 * min(1.0, 40 / max(len(origin) + len(note), 1))
    above = {"xy": (0, 1), "xycoords": "axes fraction", "textcoords": "offset points", "va": "bottom"}
    if "/" not in origin:  # the name of a dataset stays as it is
        origin = origin[:1].upper() + origin[1:]
    axes.annotate(origin, **above, xytext=(0, 8), style="italic", fontsize=size, weight="bold")
    above["xy"] = (1, 1)
    axes.annotate(note, **above, xytext=(0, 8), ha="right", fontsize=size)


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, dpi=DOTS, metadata={"Date": None})
    # A third of what matplotlib writes is indentation and comments.
    return re.sub(
        r"\s+", " ", re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    )


def _uri(content: str | bytes, kind: str) -> str:
    content = content.encode() if isinstance(content, str) else content
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
