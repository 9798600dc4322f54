"""Drawing of an event: overlaid tracks, ECAL and HCAL, with marked photons and enlarged showers."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from e2e_jax.detector import images
from e2e_jax.display.panels import Panel, panels
from e2e_jax.display.showers import Shower, find_showers
from e2e_jax.events.diphotons import COLLECTIONS, Events
from e2e_jax.study import Task

LAYERS = {
    "hcal": ("HCAL energy [GeV]", ("#e6e6e6", "#454545"), Normalize(0, 10), "max"),
    "ecal": ("ECAL energy [GeV]", ("#b5d4ee", "#3a86c8", "#08306b"), LogNorm(0.1, 100), "both"),
    "tracks": ("Track $p_T$ [GeV]", ("#ffd11a", "#f5a800", "#8a4b00"), LogNorm(0.3, 100), "both"),
}
"""Channel -> label, colors, scale and the scale's open ends, in drawing order. The scales are the same for
every event, so that pictures can be compared."""

MARK = "#b3005e"
"""Color of the photons' marks: dark, and distinct from blue, yellow and gray also for color-blind readers."""
RING = 8.0
"""Radius of a mark in crystals; it encloses a shower."""
ZOOM = 15.5
"""Half the side of an enlarged region, in crystals."""
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "axes.titlesize": 12,
    "axes.labelsize": 12,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
}
"""Printed at half its width, the picture still has letters of 5 points."""

WIDTH, LEFT, RIGHT = 7.0, 0.78, 0.82
"""Width of the picture and of its margins, in inches."""
ABOVE, BELOW, SIDE = 0.62, 0.56, 2.55
"""Space above and below an image for ticks and labels, and side of an enlarged region; inches."""
BARS = 0.72
"""Height of the color bars with their labels, in inches."""


def event_figure(
    events: Events, index: int, geometry: str = "barrel", origin: str = "", task: Task | None = None
) -> Figure:
    """The picture of an event: all images of a geometry, enlarged showers of the photons, color bars.

    Args:
      events: the events.
      index: index of the event.
      geometry: name of a geometry.
      origin: origin of the event, for the title.
      task: names the labels and observables for the title, if any.

    Returns:
      A figure with a width of 7 inches, not attached to a window.
    """
    drawn = event_images(events, index, geometry)
    showers = find_showers(events, index)
    of_image = panels(geometry)
    rows = _rows(of_image)
    with matplotlib.rc_context(STYLE):
        height = 0.5 + BARS + sum(ABOVE + height + BELOW for height, _ in [*rows, (SIDE, [])])
        figure = Figure(figsize=(WIDTH, height), facecolor="white")
        top = height - 0.5
        figure.text(0.5, 1 - 0.08 / height, event_title(events, index, origin, task), ha="center", va="top")
        for row_height, places in rows:
            for name, left, width in places:
                axes = _axes(figure, left, top - ABOVE - row_height, width, row_height)
                draw_image(axes, drawn[name], of_image[name])
                mark_photons(axes, of_image[name], showers)
                if not of_image[name].wraps:
                    axes.set_title(of_image[name].title)
            top -= ABOVE + row_height + BELOW
        _enlarge(figure, top - ABOVE - SIDE, drawn, of_image, showers)
        _colour_bars(figure)
    return figure


def draw_event(axes: Axes, events: Events, index: int, geometry: str = "barrel", image: str = ""):
    """Draws one image of an event into the caller's axes; the title gives pT, eta and phi of the photons.

    Args:
      axes: axes to draw into; sets limits, ticks and labels.
      events: the events.
      index: index of the event.
      geometry: name of a geometry.
      image: one of the geometry's images, a key of `panels(geometry)`; its first by default.
    """
    image = image or next(iter(panels(geometry)))
    panel = panels(geometry)[image]
    showers = find_showers(events, index)
    draw_image(axes, event_images(events, index, geometry)[image], panel)
    mark_photons(axes, panel, showers)
    lines = [photon_text(number, shower).replace("\n", ", ") for number, shower in enumerate(showers)]
    axes.set_title("\n".join(lines), color=MARK)


def draw_image(axes: Axes, image: np.ndarray, panel: Panel, around: tuple[float, float] | None = None):
    """Draws the channels of an image in layers: HCAL, then ECAL, then tracks.

    Nonempty pixels are drawn as squares, so a PDF is sharp at any size.

    Args:
      axes: axes to draw into.
      image: float32 `[rows, columns, 3]`, the channels of `images.CHANNELS`.
      panel: the frame of the image.
      around: shows only the surroundings of this position.
    """
    _hatch_outside(axes, panel)
    for channel, (_, _, norm, _) in LAYERS.items():
        pixels = image[..., images.CHANNELS.index(channel)] * (panel.hcal_factor if channel == "hcal" else 1)
        row, column = np.nonzero(pixels)
        values = pixels[row, column]
        if panel.wraps and around is not None:
            turn = np.array([[-1], [0], [1]]) * panel.shape[1]
            row, column, values = np.tile(row, 3), (column + turn).ravel(), np.tile(values, 3)
        squares = _squares(panel, row, column)
        layer = PolyCollection(squares, array=values, cmap=_colours(channel), norm=norm)
        # Edges in the pixel's color hide the gaps that viewers leave between squares.
        layer.set(edgecolor="face", linewidth=0.1, label=channel)
        axes.add_collection(layer, autolim=False)
    panel.frame(axes, around, ZOOM)


def _hatch_outside(axes: Axes, panel: Panel):
    """Hatches the area outside the detector."""
    axes.patch.set(hatch="////", edgecolor="#c8c8c8")
    if panel.crystals is None:
        low, high = (panel.bottom - 0.5 + edge for edge in (0, panel.shape[0]))
        axes.axhspan(low, high, facecolor="white", edgecolor="none")
    else:
        squares = _squares(panel, *np.nonzero(panel.crystals()))
        axes.add_collection(PolyCollection(squares, color="white", linewidth=0.1), autolim=False)


def _squares(panel: Panel, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Corners of pixels in a panel's coordinates, `[n, 4, 2]`."""
    centre = np.stack([panel.left + column, panel.bottom + row], axis=-1)[:, None, :]
    return centre + np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])


def mark_photons(axes: Axes, panel: Panel, showers: list[Shower]):
    """Draws a ring around each shower in a panel, with the photon's number and pT in GeV."""
    low, high = axes.get_xlim()
    for number, shower in enumerate(showers):
        if (place := panel.position(shower)) is None:
            continue
        for turn in (-1, 0, 1) if panel.wraps else (0,):
            x, y = place[0] + turn * panel.shape[1], place[1]
            if low - RING < x < high + RING:
                axes.add_patch(Circle((x, y), RING, fill=False, edgecolor=MARK, linewidth=1.3))
        _label(axes, place, photon_name(number))


def _label(axes: Axes, place: tuple[float, float], text: str):
    """Writes next to a ring, on the side with enough space."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    side = 1 if place[0] < right - 0.12 * (right - left) else -1
    x = place[0] + side * (RING + 1.5)
    y = np.clip(place[1], bottom + 7, top - 7)
    align = "left" if side > 0 else "right"
    axes.text(x, y, text, color=MARK, ha=align, va="center", weight="bold", fontsize=12)


def photon_name(number: int) -> str:
    """γ₁ for the leading photon, γ₂ for the other."""
    return f"γ{'₁₂'[number]}"


def photon_text(number: int, shower: Shower) -> str:
    """Description of a photon in two lines."""
    pt, eta, phi = (f"{v:.{d}f}".replace("-", "−") for v, d in zip(shower[:3], (1, 2, 2)))
    return f"{photon_name(number)}: $p_T$ = {pt} GeV\nη = {eta}, ϕ = {phi}"


def event_title(events: Events, index: int, origin: str = "", task: Task | None = None) -> str:
    """Label, observables, origin and address of an event, in two lines."""
    label, first = int(events.label[index]), []
    if task is not None:
        first += [literal(task.title(task.labels[label]))] if label >= 0 else []
        # 0 if the source has no address.
        known = {o: events.observables.get(o.name, np.zeros(len(events)))[index] for o in task.observables}
        first += [f"{o.title or o.name}: {value:.1f} {o.unit}" for o, value in known.items() if value]
    address = f"run {events.run[index]}, lumi {events.lumi[index]}, event {events.event[index]}"
    second = filter(None, [literal(origin), address])
    return "\n".join(filter(None, ["   ".join(first), "  ·  ".join(second)]))


def literal(text: str) -> str:
    """A name escaped for matplotlib, so that dollar signs do not start mathtext."""
    return text.replace("$", r"\$")


def event_images(events: Events, index: int, geometry: str) -> dict[str, np.ndarray]:
    """The images of one event: name -> float32 `[rows, columns, 3]`, zero in missing channels."""
    event = events[[index]]
    # Padded to few different lengths, to limit recompilations of the images' program.
    lengths = {name: -(-int(getattr(event, name).counts[0]) // 1024) * 1024 for name in COLLECTIONS}
    there = [c for c in images.CHANNELS if all(c in canvas.entries for canvas in images.canvases(geometry))]
    made = images.make_images(event.to_batch(lengths), geometry, there)
    places = [images.CHANNELS.index(channel) for channel in there]
    return {name: _in_channels(np.asarray(image[0]), places) for name, image in made.items()}


def _in_channels(image: np.ndarray, places: list[int]) -> np.ndarray:
    whole = np.zeros((*image.shape[:2], len(images.CHANNELS)), np.float32)
    whole[..., places] = image
    return whole


def _rows(panels: dict[str, Panel]) -> list[tuple[float, list[tuple[str, float, float]]]]:
    """Height of each row of images, and name, left edge and width of the images in it; inches."""
    room, gap = WIDTH - LEFT - RIGHT, 0.75
    wide = [name for name, panel in panels.items() if panel.wraps]
    square = [name for name in panels if name not in wide]
    rows = [(room * np.divide(*panels[name].shape), [(name, LEFT, room)]) for name in wide]
    if square:
        side = (room + gap) / len(square) - gap
        rows.append((side, [(name, LEFT + k * (side + gap), side) for k, name in enumerate(square)]))
    return rows


def _axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a position in the figure, in inches."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def _enlarge(figure: Figure, bottom: float, drawn: dict, panels: dict[str, Panel], showers: list[Shower]):
    """Draws an enlarged square around each shower."""
    for number, shower in enumerate(showers):
        axes = _axes(figure, LEFT + number * (WIDTH - LEFT - SIDE - 0.15), bottom, SIDE, SIDE)
        axes.set_title(photon_text(number, shower), color=MARK)
        name = next((name for name in panels if panels[name].position(shower)), None)
        if name is None:
            axes.set_axis_off()
            axes.text(0.5, 0.5, "not in this image", ha="center", va="center", transform=axes.transAxes)
            continue
        place = panels[name].position(shower)
        draw_image(axes, drawn[name], panels[name], place)
        axes.add_patch(Circle(place, RING, fill=False, edgecolor=MARK, linewidth=1.3))
    if not showers:
        up = figure.get_size_inches()[1]
        figure.text(LEFT / WIDTH, (bottom + SIDE / 2) / up, "no photons known for this event", va="center")


def _colour_bars(figure: Figure):
    """Draws the color bars of the channels side by side at the bottom of the figure."""
    for place, channel in enumerate(LAYERS):
        label, _, norm, extend = LAYERS[channel]
        axes = _axes(figure, 0.25 + 2.3 * place, 0.3, 1.9, 0.13)
        scale = ScalarMappable(norm, _colours(channel))
        bar = {"orientation": "horizontal", "extend": extend, "format": "{x:g}"}
        figure.colorbar(scale, cax=axes, **bar)
        axes.minorticks_off()
        axes.set_title(label)


def _colours(channel: str) -> LinearSegmentedColormap:
    return LinearSegmentedColormap.from_list(channel, LAYERS[channel][1])
