"""Predicted against true values of the targets: map, errors, and errors in bins of the truth."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from e2e_jax.display.figure import literal
from e2e_jax.report.pictures import COLOURS, FAINT, INK, SIZE, Picture, new_figure
from e2e_jax.report.runs import Run
from e2e_jax.report.scored import Regressed, Scored
from e2e_jax.study import Observable

CELLS = 10, 40
"""Minimum and maximum number of rows and columns of the map."""


def draw_map(scored: Scored, target: Observable, origin: str, note: str = "") -> Figure:
    """The predictions against the truth; each column is normalized to one."""
    found = scored.regressed[target.name]
    edges = _edges(found.truth)
    predicted = np.clip(found.predicted, edges[0], edges[-1])
    counts = np.histogram2d(predicted, found.truth, bins=(edges, edges))[0]
    with new_figure(origin, note or f"{len(found.truth):,} events") as (figure, axes):
        fraction = counts / np.maximum(counts.sum(axis=0), 1)
        drawn = axes.pcolormesh(edges, edges, fraction, cmap="cividis", rasterized=True, vmin=0)
        figure.colorbar(drawn, ax=axes, pad=0.02).set_label("Fraction of the events in the column")
        # White on black is visible on dark and on light pixels.
        for colour, width in (("black", 5), ("white", 2.5)):
            axes.plot(edges[[0, -1]], edges[[0, -1]], "-", color=colour, linewidth=width)
        axes.set(xlabel=_label("True", target), ylabel=_label("Predicted", target))
        axes.set(xlim=edges[[0, -1]], ylim=edges[[0, -1]])
        axes.tick_params(which="both", top=False)
    return figure


def draw_errors(found: Regressed, target: Observable, origin: str) -> Figure:
    """The distribution of the errors and, with predicted uncertainties, of the pulls."""
    error = found.predicted - found.truth
    shown = [(error, _label("Predicted minus true", target))]
    if found.sigma is not None:
        shown.append((error / found.sigma, "The same, divided by the predicted uncertainty"))
    size = SIZE[0], SIZE[1] * (1.7 if len(shown) > 1 else 1)
    with new_figure(origin, f"{len(error):,} events", size, nrows=len(shown), squeeze=False) as (_, panels):
        for axes, (values, label) in zip(panels.flat, shown):
            reach = float(np.quantile(abs(values), 0.995))
            edges = np.linspace(-reach, reach, 61)
            axes.hist(values, edges, histtype="step", linewidth=2.5, color=COLOURS[0])
            axes.axvline(0, color=INK, linestyle=":", linewidth=2)
            low, middle, high = np.quantile(values, (0.1587, 0.5, 0.8413))
            for place in (low, high):
                axes.axvline(place, color=FAINT, linestyle="--", linewidth=2)
            text = f"median {middle:.3g}\nresolution {(high - low) / 2:.3g}"
            axes.text(0.97, 0.95, text, transform=axes.transAxes, ha="right", va="top", fontsize=20)
            axes.set(xlabel=label, ylabel="Events", xlim=(-reach, reach))
    return panels.flat[0].figure


def draw_bins(results: dict, target: Observable, origin: str) -> Figure:
    """Mean absolute error, resolution and bias in bins of the truth, with their uncertainties."""
    bins = results["bins"]
    middle = [(one["low"] + one["high"]) / 2 for one in bins]
    half = [(one["high"] - one["low"]) / 2 for one in bins]
    style = {"nrows": 2, "sharex": True}
    size, unit = (SIZE[0], SIZE[1] * 1.3), f" [{target.unit}]" if target.unit else ""
    with new_figure(origin, "", size, **style) as (figure, (upper, lower)):
        shown = ((upper, "mae", "mean absolute error"), (upper, "resolution", "resolution"))
        for number, (axes, key, name) in enumerate((*shown, (lower, "bias", "bias"))):
            values = [one[key]["value"] for one in bins]
            spread = [one[key]["uncertainty"] for one in bins]
            marks = {"fmt": "os^"[number], "markersize": 9, "color": COLOURS[number]}
            axes.errorbar(middle, values, spread, half, label=name, **marks)
            axes.margins(y=0.2)
            axes.legend(loc="best", fontsize=20)
        constant = results["mae_constant"]["value"]
        upper.axhline(constant, color=FAINT, linestyle=":")
        upper.set_ylim(bottom=0)
        lower.axhline(0, color=INK, linestyle=":", linewidth=2)
        upper.set_ylabel(literal(f"Error{unit}"))
        lower.set_ylabel(literal(f"Mean error{unit}"))
        lower.set_xlabel(_label("True", target))
        figure.align_ylabels()
    return figure


def pictures(run: Run) -> list[Picture]:
    """The pictures of each target of a run; empty for a classifier."""
    made = []
    for target in map(run.task.target, run.task.targets):
        name, title = target.name, target.title or target.name
        results = run.results["regression"][name]
        made += [
            Picture(
                f"regression_{name}",
                f"{title}: predicted against true",
                "The predictions against the truth, each column of true values adding up to one. On the line "
                "a prediction is right.",
                draw_map(run.scored, target, run.origin),
            ),
            Picture(
                f"errors_{name}",
                f"{title}: errors",
                "Predictions minus true values. The dashed lines enclose the central 68 %; the resolution is "
                "half of their distance.",
                draw_errors(run.scored.regressed[name], target, run.origin),
            ),
            Picture(
                f"resolution_{name}",
                f"{title}: errors in bins of the truth",
                "Each bin has as many events. The dotted line in the upper panel is the mean absolute error "
                "of the best constant prediction.",
                draw_bins(results, target, run.origin),
            ),
        ]
    return made


def _label(first: str, target: Observable) -> str:
    """The label of an axis: "True mass of a [GeV]"."""
    return literal(f"{first} {target.phrase}" + (f" [{target.unit}]" if target.unit else ""))


def _edges(truth: np.ndarray) -> np.ndarray:
    """Edges of the rows and columns of the map, fewer for few events."""
    low, high = float(truth.min()), float(truth.max())
    cells = int(np.clip(np.sqrt(len(truth)) / 2, *CELLS))
    return np.linspace(low, high if high > low else low + 1, cells + 1)
