"""Some events that show what the classifier sees: chosen by their scores, found in the dataset, drawn."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_hex

from e2e_jax.detector import images, projections
from e2e_jax.display.figure import LAYERS, MARK, RING, event_figure, event_images
from e2e_jax.display.panels import Panel, panels
from e2e_jax.display.reading import read_events
from e2e_jax.display.showers import find_showers
from e2e_jax.events.base import Record
from e2e_jax.events.diphotons import Events
from e2e_jax.events.showers import Showers
from e2e_jax.report.pictures import Picture
from e2e_jax.report.runs import Run, Scored
from e2e_jax.report.shower_figure import draw_shower

FIRST_FROM = 0.56
"""Where the first of several images begins, as a part of the height."""


class Chosen(NamedTuple):
    """An event to show: its place among the scores, the name of its files, its heading, why it was chosen."""

    row: int
    name: str
    title: str
    caption: str


class NotFound(Exception):
    """The events cannot be shown; the message says why."""


def choose(scored: Scored) -> list[Chosen]:
    """The most signal-like signal, the most typical event of each other label, and the most mistaken of all.

    Most mistaken is the event whose true class has the least probability. Without classes, see `_by_errors`.
    """
    if not scored.task.classifies:
        return _by_errors(scored)
    targets = scored.targets
    kept = np.flatnonzero(targets >= 0)
    own = np.full(len(targets), np.nan)
    own[kept] = scored.probabilities[kept, targets[kept]]
    mistaken = int(kept[np.argmin(own[kept])])
    task, chosen = scored.task, []
    taken_for = task.names[int(scored.probabilities[mistaken].argmax())]
    signal = task.title(task.signal)
    shown = {f"{task.signal}_like": (scored.is_signal, f"{signal}-like {signal}")}
    shown |= {
        f"typical_{label}": (scored.of(label), f"typical {task.title(label)}") for label in task.backgrounds
    }
    for name, (having, words) in shown.items():
        rows = np.flatnonzero(having)
        best = int(rows[np.argmax(own[rows])])
        chosen.append(Chosen(best, f"event_most_{name}", f"The most {words} event", _scores(scored, best)))
    true = task.title(task.labels[int(scored.labels[mistaken])])
    title = f"The most mistaken: {true} taken for {task.title(taken_for)}"
    return [*chosen, Chosen(mistaken, "event_most_mistaken", title, _scores(scored, mistaken))]


def _by_errors(scored: Scored) -> list[Chosen]:
    """The events with the smallest, the median and the largest error of the first target."""
    target = scored.task.targets[0]
    found = scored.regressed[target]
    order = np.argsort(abs(found.predicted - found.truth), kind="stable")
    rows = {"smallest": order[0], "median": order[len(order) // 2], "largest": order[-1]}
    title = f"error of {scored.task.target(target).phrase}"
    return [
        Chosen(int(row), f"event_{name}_error", f"The {name} {title}", _scores(scored, int(row)))
        for name, row in rows.items()
    ]


def find(run: Run, chosen: list[Chosen]) -> tuple[Record, str]:
    """Reads the chosen events from the run's dataset, by run, lumi and event number.

    Returns:
      The events in their order, and their origin.

    Raises:
      NotFound: the dataset is absent or damaged, or does not hold them.
    """
    name, data_dir = run.config.dataset.name, run.config.dataset.data_dir
    rows = [one.row for one in chosen]
    try:
        # The scores are in the order of the dataset, unless somebody sorted them or built it anew.
        events, origin, _ = read_events(name, rows, "validation", data_dir=data_dir)
        if not _are(run, rows, events):
            everything, *_ = read_events(name, range(len(run.address)), "validation", data_dir=data_dir)
            places = {key: place for place, key in enumerate(_keys(everything))}
            wanted = [places.get((*run.address[row], run.scored.labels[row])) for row in rows]
            if None in wanted:
                raise NotFound(
                    f"The dataset {name} here does not hold event {_address(run, rows[wanted.index(None)])}: "
                    "it is another build than the run was evaluated on, so no events are shown."
                )
            events = everything[wanted]
    except (ValueError, OSError, ImportError) as error:
        raise NotFound(f"The run's dataset cannot be read, so no events are shown: {error}") from error
    return events, origin


def pictures(run: Run) -> list[Picture]:
    """The event displays of a run.

    Raises:
      NotFound: as `find`.
    """
    chosen = choose(run.scored)
    events, origin = find(run, chosen)
    if isinstance(events, Showers):
        view = run.config.inputs.geometry
        drawn = [draw_shower(events, index, view, origin) for index in range(len(chosen))]
        return [Picture(*one[1:], figure, themed=False) for one, figure in zip(chosen, drawn)]
    geometry = run.config.inputs.geometry
    geometry = geometry if run.config.inputs.kind in ("images", "tokens") else "barrel"
    return [
        Picture(
            one.name,
            one.title,
            one.caption,
            event_figure(events, index, geometry, origin, run.task),
            interactive(events, index, geometry),
            themed=False,
        )
        for index, one in enumerate(chosen)
    ]


def interactive(events: Events, index: int, geometry: str = "barrel") -> str:
    """An event for plotly.js, as JSON: what a pixel holds under the pointer, photons ringed.

    Args: as for `display.figure.event_figure`.
    """
    import plotly.graph_objects as go

    of_image = panels(geometry)
    drawn, showers = event_images(events, index, geometry), find_showers(events, index)
    rows, columns = next(iter(of_image.values())).shape
    layout = {
        "template": "none",
        "plot_bgcolor": "#ffffff",
        "shapes": [],
        "margin": {"l": 48, "r": 8, "t": 12, "b": 44},
        "hovermode": "closest",
        "showlegend": False,
        # Height over width, by which the page chooses the height: the first image has this part of it.
        "meta": {"ratio": rows / columns / (1 if len(of_image) == 1 else 1 - FIRST_FROM)},
    }
    traces = []
    for number, (name, panel) in enumerate(of_image.items()):
        traces += _layers(drawn[name], panel, "" if number == 0 else str(number + 1))
        layout |= _axes(panel, number, len(of_image))
        for shower in showers:
            if (place := panel.position(shower)) is not None:
                (x, y), axis = place, "" if number == 0 else str(number + 1)
                corners = {"x0": x - RING, "x1": x + RING, "y0": y - RING, "y1": y + RING}
                ring = {
                    "type": "circle",
                    "line": {"color": MARK, "width": 2},
                    "xref": f"x{axis}",
                    "yref": f"y{axis}",
                }
                layout["shapes"].append(ring | corners)
    return go.Figure(traces, layout).to_json()


def _layers(image: np.ndarray, panel: Panel, axis: str) -> list:
    """The channels of an image as heatmaps of those pixels that hold something."""
    import plotly.graph_objects as go

    traces = []
    for channel, (label, colours, norm, _) in LAYERS.items():
        values = image[..., images.CHANNELS.index(channel)] * (panel.hcal_factor if channel == "hcal" else 1)
        row, column = np.nonzero(values)
        if traces and len(row) == 0:
            # An empty layer would keep the pointer from those below it.
            continue
        quantity, unit = label.replace("$p_T$", "pT").removesuffix("]").split(" [")
        x_name, y_name = axis_names(panel)
        place = f"{x_name} %{{x}}, {y_name} %{{text}}"
        # plotly makes a grid of the coordinates that occur: each occurs, first without a value.
        rows, columns = image.shape[:2]
        x = np.concatenate([np.arange(columns), np.zeros(rows, int), column]) + panel.left
        y = np.concatenate([np.zeros(columns, int), np.arange(rows), row]) + panel.bottom
        z = [*[None] * (rows + columns), *values[row, column].astype(float).round(3).tolist()]
        traces.append(
            go.Heatmap(
                x=x.tolist(),
                y=y.tolist(),
                z=z,
                text=row_numbers(panel, y).tolist(),
                xaxis=f"x{axis}",
                yaxis=f"y{axis}",
                colorscale=_scale(colours, norm),
                zmin=norm.vmin,
                zmax=norm.vmax,
                showscale=False,
                hoverongaps=False,
                name=quantity,
                hovertemplate=f"{quantity} %{{z:.2f}} {unit}<br>{place}<extra></extra>",
            )
        )
    return traces


def row_numbers(panel: Panel, y: np.ndarray) -> np.ndarray:
    """What the rows at coordinates `[n]` are called: there is no ieta = 0, and a tower has several rows."""
    if not panel.wraps:
        return y.astype(int)
    rows = projections.TOWER_SIDE if "HCAL" in panel.names[1] else 1
    return (np.sign(y) * np.ceil(abs(y) / rows)).astype(int)


def axis_names(panel: Panel) -> list[str]:
    """What the axes of a panel count, without the rest of its label."""
    return [re.sub(r"\s{2,}.*", "", name) for name in panel.names[:2]]


def _axes(panel: Panel, number: int, panels: int) -> dict:
    """The axes of a panel: those that wrap in phi fill a row, the square ones after the first share one."""
    axis = "" if number == 0 else str(number + 1)
    rows, columns = panel.shape
    x_low, y_low = panel.left - 0.5, panel.bottom - 0.5
    x_domain, y_domain = [0.0, 1.0], [0.0, 1.0]
    if panels > 1:
        y_domain = [FIRST_FROM, 1.0] if number == 0 else [0.0, FIRST_FROM - 0.12]
    if number > 0:
        width = 1 / (panels - 1)
        x_domain = [(number - 1) * width + 0.06 * (number > 1), number * width - 0.06 * (number < panels - 1)]
    names = axis_names(panel)
    shared = {"constrain": "domain", "zeroline": False, "showgrid": False, "ticks": "outside"}
    return {
        f"xaxis{axis}": shared
        | {"title": names[0], "range": [x_low, x_low + columns], "domain": x_domain, "anchor": f"y{axis}"},
        f"yaxis{axis}": shared
        | {"title": names[1], "range": [y_low, y_low + rows], "domain": y_domain, "anchor": f"x{axis}"}
        | {"scaleanchor": f"x{axis}"},
    }


def _scale(colours: tuple[str, ...], norm) -> list[list]:
    """Stops of plotly's colour scale, which is linear in the value, for a norm that may be logarithmic."""
    map_of = LinearSegmentedColormap.from_list("", colours)
    values = np.unique(np.concatenate([norm.inverse(np.linspace(0, 1, 13)), [norm.vmin, norm.vmax]]))
    places = (values - norm.vmin) / (norm.vmax - norm.vmin)
    return [[float(place.clip(0, 1)), to_hex(map_of(norm(value)))] for place, value in zip(places, values)]


def _scores(scored: Scored, row: int) -> str:
    task, names = scored.task, zip(scored.task.names, scored.probabilities[row])
    parts = [f"P({task.title(name)}) = {value:.3f}" for name, value in names]
    for name, found in scored.regressed.items():
        unit = f" {task.target(name).unit}".rstrip()
        parts.append(f"{name} predicted {found.predicted[row]:.3g}{unit}, true {found.truth[row]:.3g}{unit}")
    return ", ".join(parts) + "."


def _keys(events: Record) -> Iterable[tuple]:
    return zip(*(getattr(events, name).tolist() for name in ("run", "lumi", "event", "label")))


def _are(run: Run, rows: list[int], events: Record) -> bool:
    wanted = [(*run.address[row].tolist(), int(run.scored.labels[row])) for row in rows]
    return wanted == list(_keys(events))


def _address(run: Run, row: int) -> str:
    return ":".join(str(number) for number in run.address[row])
