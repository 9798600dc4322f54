"""ROC curves: signal efficiency against background rejection, for one run or several in one figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from e2e_jax.display.figure import literal
from e2e_jax.evaluation import metrics
from e2e_jax.evaluation.results import pair_with_label, rows_of_pair
from e2e_jax.report.pictures import COLOURS, DASHES, Picture, class_colours, new_figure
from e2e_jax.report.runs import Run
from e2e_jax.report.scored import Scored
from e2e_jax.study import Task

POINTS = 200
"""Points of a drawn curve along either axis, the resolution of a printed line."""
EFFICIENCIES = np.linspace(0, 1, 101)
"""Efficiencies at which the band of a curve is computed."""
RESAMPLES = 100
"""Bootstrap samples for a band."""


class Curve(NamedTuple):
    """A ROC curve: name, color, points, area with uncertainty, and band.

    The band is a range of the rejection at `EFFICIENCIES`, `[2, 101]`: the 68 % interval of the bootstrap, or
    for an ensemble the range of its networks.
    """

    name: str
    colour: str
    efficiency: np.ndarray
    rejection: np.ndarray
    threshold: np.ndarray
    area: float
    uncertainty: float
    band: np.ndarray

    @property
    def legend(self) -> str:
        return f"{self.name}: {self.area:.3f} ± {self.uncertainty:.3f}"


class Comparison(NamedTuple):
    """The curves of one figure."""

    name: str
    title: str
    curves: list[Curve]


def curve(
    name: str,
    colour: str,
    scores: np.ndarray,
    is_signal: np.ndarray,
    weights: np.ndarray | None = None,
    area: dict | None = None,
) -> Curve:
    """The ROC curve of scores.

    Args:
      name, colour: name and color of the curve.
      scores, is_signal, weights: `[n]`, as for `metrics.roc_auc`, with its errors.
      area: "value" and "uncertainty" of the area, if known; otherwise they are computed, with DeLong's
        formula for the uncertainty.
    """
    if area is None:
        area = {
            "value": metrics.roc_auc(scores, is_signal, weights),
            "uncertainty": metrics.delong_uncertainty(scores, is_signal, weights),
        }
    false, true, threshold = metrics.roc_curve(scores, is_signal, weights)
    grid = np.linspace(0, 1, POINTS)
    # Points at equal steps of both rates keep the shape of steep and of flat parts.
    kept = np.unique(
        np.concatenate([np.searchsorted(rate, grid).clip(0, len(rate) - 1) for rate in (false, true)])
    )
    points = true[kept], 1 - false[kept], threshold[kept]
    return Curve(name, colour, *points, area["value"], area["uncertainty"], band(scores, is_signal, weights))


def band(scores: np.ndarray, is_signal: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """The 68 % interval of the background rejection at `EFFICIENCIES`, `[2, 101]`, by a Poisson bootstrap.

    Args: as for `metrics.roc_auc`.
    """
    order = np.argsort(-scores, kind="stable")
    # Events of equal scores pass together.
    last = np.flatnonzero(np.diff(scores[order], append=np.nan))
    signal, random = np.asarray(is_signal, bool)[order], np.random.default_rng(0)
    counted = np.ones(len(order)) if weights is None else np.asarray(weights, float)[order]
    rejections = []
    for _ in range(RESAMPLES):
        weight = counted * random.poisson(1, len(order))
        true, false = (np.cumsum(weight * chosen)[last] for chosen in (signal, ~signal))
        rejections.append(_rejection(false / (false[-1] or 1), true / (true[-1] or 1)))
    return np.quantile(rejections, (0.16, 0.84), axis=0)


def with_members(one: Curve, members: Sequence[tuple]) -> Curve:
    """The curve of an ensemble with the range of its networks, given (scores, is_signal, weights) of each."""
    if not members:
        return one
    rejections = [_rejection(*metrics.roc_curve(*member)[:2]) for member in members]
    return one._replace(band=np.stack([np.min(rejections, axis=0), np.max(rejections, axis=0)]))


def _rejection(false: np.ndarray, true: np.ndarray) -> np.ndarray:
    """The background rejection at `EFFICIENCIES`."""
    return np.interp(EFFICIENCIES, true, 1 - false)


def versus_rest(scored: Scored, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of a class, whether each event belongs to it, and the event weights."""
    index = scored.task.names.index(name)
    return scored.probabilities[:, index], scored.targets == index, scored.counts


def versus_label(scored: Scored, background: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pair-normalized scores of the signal against one label, whether each event is signal, and weights."""
    pair = pair_with_label(scored.task, scored.probabilities, scored.labels, background)
    return *pair, scored.counts[rows_of_pair(scored.task, scored.labels, background)]


def by_class(scored: Scored, areas: dict) -> Comparison:
    """Each class against the rest, for one classifier; with two labels only the signal, by symmetry.

    Args:
      scored: the events.
      areas: class -> "value" and "uncertainty"; missing ones are computed.
    """
    task, colours = scored.task, class_colours(scored.task)
    curves = [
        with_members(
            curve(task.title(name), colours[name], *versus_rest(scored, name), areas.get(name)),
            [versus_rest(member, name) for member in scored.members],
        )
        for name in task.scored
    ]
    title = "One class against the rest" if len(curves) > 1 else against_rest(task)
    return Comparison("roc_vs_rest", title, curves)


def comparisons(runs: Sequence[Run]) -> list[Comparison]:
    """All curves of the report: a class against the rest, and the signal against each other label's events.

    With several runs there is one figure per class, with the curves of all runs that have this class.
    """
    task, made = runs[0].task, []
    if len(runs) == 1:
        made.append(by_class(runs[0].scored, runs[0].results["auc_vs_rest"]))
    else:
        for name in task.scored:
            found = [
                (run, versus_rest, name, run.results["auc_vs_rest"][name])
                for run in runs
                if name in run.task.names
            ]
            title = f"{task.title(name)} against the rest" if len(task.scored) > 1 else against_rest(task)
            made.append(Comparison(f"roc_{name}_vs_rest", title, _curves(runs, found)))
    for label in task.backgrounds if len(task.scored) > 1 else ():
        key = f"{task.signal}_vs_{label}"
        found = [
            (run, versus_label, label, run.results["auc_pairwise"][key])
            for run in runs
            if key in run.results["auc_pairwise"]
        ]
        title = f"{task.title(task.signal)} against {task.title(label)}"
        made.append(Comparison(f"roc_{key}", title, _curves(runs, found)))
    return made


def _curves(runs: Sequence[Run], found: Sequence[tuple]) -> list[Curve]:
    """The curve of each run, of (run, `versus_rest` or `versus_label`, its class or label, area)."""
    return [
        with_members(
            curve(_name(runs, run), _colour(runs, run), *versus(run.scored, name), area),
            [versus(member, name) for member in run.scored.members],
        )
        for run, versus, name, area in found
    ]


def draw(comparison: Comparison, origin: str, note: str = "") -> Figure:
    """The static figure of a comparison."""
    with new_figure(origin, note) as (figure, axes):
        for number, one in enumerate(comparison.curves):
            dashes = DASHES[number % len(DASHES)]
            axes.fill_between(EFFICIENCIES, *one.band, color=one.colour, alpha=0.2, linewidth=0)
            axes.plot(one.efficiency, one.rejection, dashes, color=one.colour, label=literal(one.legend))
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="Signal efficiency", ylabel="Background rejection")
        # Below the diagonal, away from the curves.
        legend = axes.legend(
            loc="lower left", title=literal(f"{comparison.title}: AUC"), alignment="left", fontsize=20
        )
        legend.get_title().set(fontsize=20, weight="bold")
    return figure


def interactive(comparison: Comparison) -> str:
    """The same as JSON for plotly.js, with efficiency, rejection and cut under the pointer."""
    import plotly.graph_objects as go

    bands = [
        go.Scatter(
            x=np.concatenate([EFFICIENCIES, EFFICIENCIES[::-1]]).astype(np.float32),
            y=np.concatenate([one.band[0], one.band[1][::-1]]).astype(np.float32),
            fill="toself",
            fillcolor=one.colour,
            line={"color": one.colour, "width": 0},
            opacity=0.2,
            hoverinfo="skip",
            showlegend=False,
        )
        for one in comparison.curves
    ]
    traces = [
        go.Scatter(
            x=one.efficiency.astype(np.float32),
            y=one.rejection.astype(np.float32),
            # The threshold of the first point, at which nothing passes, is infinite.
            customdata=np.where(np.isfinite(one.threshold), one.threshold, 1).astype(np.float32),
            mode="lines",
            name=one.legend,
            line={"color": one.colour, "width": 2.5, "dash": ("solid", "dash", "dashdot", "dot")[number % 4]},
            hovertemplate="efficiency %{x:.3f}<br>rejection %{y:.3f}<br>score ≥ %{customdata:.3f}",
        )
        for number, one in enumerate(comparison.curves)
    ]
    axis = {"range": [0, 1.005], "dtick": 0.2}
    layout = {
        "xaxis": axis | {"title": "Signal efficiency"},
        "yaxis": axis | {"title": "Background rejection"},
        "legend": {"x": 0, "y": -0.19, "yanchor": "top"},
        "margin": {"l": 55, "r": 12, "t": 30, "b": 50},
        "hovermode": "closest",
        "template": "none",
        "height": 420 + 20 * len(traces),
    }
    return go.Figure([*bands, *traces], layout).to_json()


def pictures(runs: Sequence[Run]) -> list[Picture]:
    """The ROC curves of runs; the first run is that of the report."""
    first = runs[0]
    others = any(not run.same_events(first) for run in runs)
    note = f"{len(first.scored.labels):,} events" + (", † others" if others else "")
    caption = "Every cut on the score; the bands are 68 % intervals of the bootstrap"
    caption += ", or the range of an ensemble's networks. " if any(r.scored.members for r in runs) else ". "
    pair = "The score is normalized to the pair of classes. "
    return [
        Picture(
            one.name,
            one.title,
            caption + (pair if "_vs_" in one.name and not one.name.endswith("_rest") else ""),
            draw(one, first.origin, note),
            interactive(one),
        )
        for one in comparisons(runs)
    ]


def against_rest(task: Task) -> str:
    """Description of the classes that a classifier separates."""
    others = " and ".join(map(task.title, task.backgrounds))
    return f"{task.title(task.signal)} against {others}"


def _name(runs: Sequence[Run], run: Run) -> str:
    """A run's name in a legend, marked as in the table if its events differ from those of the first run."""
    return run.name + ("" if run.same_events(runs[0]) else "†")


def _colour(runs: Sequence[Run], run: Run) -> str:
    return COLOURS[runs.index(run) % len(COLOURS)]
