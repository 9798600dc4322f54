"""Interactive pictures of an event for plotly.js: its hits in the (eta, phi) plane and in space."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from e2e_jax.detector import geometry
from e2e_jax.display.cells import (
    EB_RADIUS,
    EE_RADIUS,
    EE_Z,
    Cells,
    Gradients,
    cells,
    directions,
    on_cylinder,
)
from e2e_jax.display.figure import LAYERS, MARK, photon_name, photon_text
from e2e_jax.display.showers import Shower, crystal_directions, find_showers
from e2e_jax.events.diphotons import Events

LONGEST = 80.0
"""Length in space of a hit at the maximum of its scale, in cm."""
RING = 0.14
"""Radius of a photon's mark in (eta, phi): eight crystals."""
HIGHEST_ETA = 3.0

SALIENCY = ("#2166ac", "#92c5de", "#e6e6e6", "#f4a582", "#b2182b")
"""Color scale from hits that lower the probability to hits that raise it."""
DECADES = 2
"""Range of the logarithmic part of the saliency's color scale, which is linear around 0."""


def plane(events: Events, index: int, gradients: Gradients | None = None):
    """The event in the (eta, phi) plane: cells at their true size, tracks as points, rings around photons.

    Args: as for `cells`.

    Returns:
      A `plotly.graph_objects.Figure`. `layout.meta.ratio` is its height divided by its width.
    """
    import plotly.graph_objects as go

    def draw(one: Cells, colours: np.ndarray, hover: dict):
        marker = {"color": colours, "line": {"width": 0}}
        if one.layer == "tracks":
            marker |= {"size": 4, "symbol": "diamond"}
            return go.Scatter(x=one.phi, y=one.eta, mode="markers", marker=marker, **hover)
        height, width = one.width.T
        bar = {"x": one.phi, "width": width, "base": one.eta - height / 2, "y": height}
        return go.Bar(**bar, marker=marker, **hover)

    layout = {
        "barmode": "overlay",
        "plot_bgcolor": "#ffffff",
        "margin": {"l": 44, "r": 8, "t": 40 if gradients else 8, "b": 44},
        "meta": {"ratio": HIGHEST_ETA / np.pi},
        "xaxis": {
            "title": {"text": "φ [rad]", "standoff": 4},
            "range": [-np.pi, np.pi],
            "tickvals": [-np.pi, -np.pi / 2, 0, np.pi / 2, np.pi],
            "ticktext": ["−π", "−π/2", "0", "π/2", "π"],
        },
        "yaxis": {"title": "η", "range": [-HIGHEST_ETA, HIGHEST_ETA], "scaleanchor": "x", "dtick": 1},
        "shapes": [],
        "annotations": [],
    }
    for axis in ("xaxis", "yaxis"):
        layout[axis] |= {"constrain": "domain", "zeroline": False, "showgrid": False, "ticks": "outside"}
    for number, shower in enumerate(find_showers(events, index)):
        eta, phi = _seen_at(shower)
        corners = {"x0": phi - RING, "x1": phi + RING, "y0": eta - RING, "y1": eta + RING}
        layout["shapes"].append({"type": "circle", "line": {"color": MARK, "width": 2}} | corners)
        style = {"showarrow": False, "font": {"color": MARK, "size": 15}, "yshift": 18 if eta < 2.4 else -18}
        layout["annotations"].append({"x": phi, "y": eta, "text": photon_name(number)} | style)
    return _figure(cells(events, index, gradients), draw, layout)


def space(events: Events, index: int, gradients: Gradients | None = None):
    """The event in space: hits as bars along their direction, tracks as straight lines to the ECAL.

    Args, Returns: as for `plane`.
    """
    import plotly.graph_objects as go

    def draw(one: Cells, colours: np.ndarray, hover: dict):
        away = directions(one.eta, one.phi)
        if one.layer == "tracks":
            barrel = EB_RADIUS * np.cosh(one.eta)
            length = np.minimum(barrel, EE_Z / np.maximum(abs(np.tanh(one.eta)), 1e-6))
        else:
            length = 3 + LONGEST * _scaled(one.layer, one.strength)
        ends = one.start + length[:, None] * away
        # The third point interrupts the line.
        points = np.stack([one.start, ends, np.full_like(ends, np.nan)], axis=1).reshape(-1, 3)
        hover["customdata"] = np.repeat(hover["customdata"], 3, axis=0)
        line = {"color": np.repeat(colours, 3), "width": 1 if one.layer == "tracks" else 7}
        return go.Scatter3d(**_axes_of(points), mode="lines", line=line, **hover)

    hidden = {"visible": False, "showspikes": False}
    layout = {
        "margin": {"l": 0, "r": 0, "t": 40 if gradients else 0, "b": 0},
        "scene": {
            **{f"{axis}axis": hidden for axis in "xyz"},
            "aspectmode": "data",
            "camera": {"eye": {"x": 0.7, "y": -1.7, "z": 0.6}, "up": {"x": 0, "y": 0, "z": 1}},
        },
    }
    figure = _figure(cells(events, index, gradients), draw, layout)
    outline = {"mode": "lines", "line": {"color": "#9a9a9a", "width": 1.5}, "hoverinfo": "skip"}
    figure.add_trace(go.Scatter3d(**_axes_of(_outline()), **outline))
    for number, shower in enumerate(find_showers(events, index)):
        eta, phi = (np.array([value]) for value in _seen_at(shower))
        end = on_cylinder(eta, phi, 1.0)
        end *= min(EB_RADIUS, EE_Z / max(abs(end[0, 2]), 1e-6)) + 95
        points = _axes_of(np.concatenate([np.zeros((1, 3)), end]))
        style = {"line": {"color": MARK, "width": 3, "dash": "dash"}, "textfont": {"color": MARK, "size": 15}}
        about = photon_text(number, shower).replace("\n", ", ").replace("$p_T$", "pT")
        names = {"text": ["", photon_name(number)], "hovertemplate": f"{about}<extra></extra>"}
        figure.add_trace(go.Scatter3d(**points, mode="lines+text", **style, **names))
    return figure


def _seen_at(shower: Shower) -> tuple[float, float]:
    """Position of a shower's mark: its crystal, or the photon's direction without a crystal."""
    if not shower.collection:
        return shower.eta, shower.phi
    eta, phi = crystal_directions(shower.collection)
    return float(eta[shower.cell]), float(phi[shower.cell])


def _figure(drawn: list[Cells], draw, layout: dict):
    """All cells colored by strength, with a button for coloring by gradient."""
    import plotly.graph_objects as go

    layout = {"template": "none", "showlegend": False, "hovermode": "closest", **layout}
    layout["modebar"] = {"orientation": "v"}
    strengths = [_mixed(_scaled(one.layer, one.strength), LAYERS[one.layer][1]) for one in drawn]
    traces = [draw(one, colours, _hover(one)) for one, colours in zip(drawn, strengths)]
    if drawn[0].gradient is not None:
        largest = max(float(np.abs(one.gradient).max(initial=1e-30)) for one in drawn)
        for one in drawn:
            size = np.log1p(10**DECADES * np.abs(one.gradient) / largest) / np.log1p(10**DECADES)
            colours = _mixed((1 + np.sign(one.gradient) * size) / 2, SALIENCY)
            traces.append(draw(one, colours, _hover(one)).update(visible=False))
        half = [True] * len(drawn), [False] * len(drawn)
        buttons = [
            {"label": name, "method": "restyle", "args": [{"visible": visible}, list(range(len(traces)))]}
            for name, visible in (("Energy", [*half[0], *half[1]]), ("Saliency", [*half[1], *half[0]]))
        ]
        place = {"x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "pad": {"l": 6, "b": 4}}
        layout["updatemenus"] = [{"type": "buttons", "direction": "right", "buttons": buttons, **place}]
    return go.Figure(traces, layout)


def _hover(one: Cells) -> dict:
    quantity, unit = LAYERS[one.layer][0].replace("$p_T$", "pT").removesuffix("]").split(" [")
    columns = [one.strength, one.eta, one.phi]
    text = f"{quantity} %{{customdata[0]:.2f}} {unit}<br>η %{{customdata[1]:.2f}}, φ %{{customdata[2]:.2f}}"
    if one.gradient is not None:
        columns.append(one.gradient)
        text += "<br>saliency %{customdata[3]:.2g} / GeV"
    data = np.stack(columns, axis=1).astype(np.float32)
    return {"customdata": data, "hovertemplate": f"{text}<extra></extra>", "name": quantity}


def _scaled(layer: str, strength: np.ndarray) -> np.ndarray:
    """Positions of strengths on the scale of a layer, 0 to 1."""
    return np.clip(np.ma.filled(LAYERS[layer][2](np.asarray(strength, np.float64)), 0.0), 0, 1)


def _mixed(places: np.ndarray, colours: tuple[str, ...]) -> np.ndarray:
    """Colors at positions 0 to 1 of a scale, as "#rrggbb" `[n]`; plotly.js warns about numbers for bars."""
    rgb = LinearSegmentedColormap.from_list("", colours)(places, bytes=True)[:, :3].astype(int)
    return np.array([f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in rgb], dtype=object)


def _axes_of(points: np.ndarray) -> dict:
    """Points `[n, 3]` converted from CMS axes to the figure's axes: the beam is horizontal, y is up."""
    x, y, z = np.asarray(points, np.float32).T
    return {"x": z, "y": x, "z": y}


def _outline() -> np.ndarray:
    """Outline of the ECAL: circles at the ends and the middle of the barrel, and the rims of the endcaps."""
    angle = np.linspace(-np.pi, np.pi, 73)
    pen_up = np.full((1, 3), np.nan)
    half = EB_RADIUS * np.sinh(geometry.EB_MAX_ETA)
    parts = []
    circles = {-half: EB_RADIUS, 0.0: EB_RADIUS, half: EB_RADIUS, -EE_Z: EE_RADIUS, EE_Z: EE_RADIUS}
    for z, radius in circles.items():
        x, y = radius * np.cos(angle), radius * np.sin(angle)
        parts += [np.stack([x, y, np.full(len(angle), z)], axis=1), pen_up]
    for phi in angle[::12][:-1]:
        x, y = EB_RADIUS * np.cos(phi), EB_RADIUS * np.sin(phi)
        parts += [np.array([(x, y, -half), (x, y, half)]), pen_up]
    return np.concatenate(parts)
