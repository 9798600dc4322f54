"""ROC curves: signal efficiency against background rejection, of one run or of several over each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from e2e_jax.display.figure import literal
from e2e_jax.evaluation import metrics
from e2e_jax.evaluation.results import pair_with_label
from e2e_jax.report.pictures import COLOURS, DASHES, Picture, class_colours, new_figure
from e2e_jax.report.runs import Run, Scored
from e2e_jax.study import Task

POINTS = 200
"""Points of a drawn curve along either axis: no line on paper shows more."""


class Curve(NamedTuple):
    """A ROC curve: what it is called, its colour, its points, and the area with its uncertainty.

    The band of an ensemble is (efficiency, lowest rejection, highest rejection) over its networks.
    """

    name: str
    colour: str
    efficiency: np.ndarray
    rejection: np.ndarray
    threshold: np.ndarray
    area: float
    uncertainty: float
    band: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    @property
    def legend(self) -> str:
        return f"{self.name}: {self.area:.3f} ± {self.uncertainty:.3f}"


class Comparison(NamedTuple):
    """Curves that belong into one figure."""

    name: str
    title: str
    curves: list[Curve]


def curve(
    name: str, colour: str, scores: np.ndarray, is_signal: np.ndarray, area: dict | None = None
) -> Curve:
    """The ROC curve of scores.

    Args:
      name, colour: of the curve.
      scores, is_signal: `[n]`, as for `metrics.roc_auc`, with its errors.
      area: "value" and "uncertainty" of the area where they are known; otherwise they are computed, the
        uncertainty by DeLong's formula.
    """
    if area is None:
        area = {
            "value": metrics.roc_auc(scores, is_signal),
            "uncertainty": metrics.delong_uncertainty(scores, is_signal),
        }
    false, true, threshold = metrics.roc_curve(scores, is_signal)
    grid = np.linspace(0, 1, POINTS)
    # Points at even steps of either rate: the curve keeps its shape where it is steep and where it is flat.
    kept = np.unique(
        np.concatenate([np.searchsorted(rate, grid).clip(0, len(rate) - 1) for rate in (false, true)])
    )
    return Curve(
        name, colour, true[kept], 1 - false[kept], threshold[kept], area["value"], area["uncertainty"]
    )


def band(
    members: Sequence[tuple[np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The band of the curves of several networks, of (scores, whether each is signal); None without any."""
    if not members:
        return None
    grid = np.linspace(0, 1, POINTS)
    rates = [metrics.roc_curve(*scores)[:2] for scores in members]
    rejections = [np.interp(grid, true, 1 - false) for false, true in rates]
    return grid, np.min(rejections, axis=0), np.max(rejections, axis=0)


def versus_rest(scored: Scored, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores of a class and which events are of it."""
    index = scored.task.names.index(name)
    return scored.probabilities[:, index], scored.targets == index


def versus_label(scored: Scored, background: str) -> tuple[np.ndarray, np.ndarray]:
    """Pair-normalized scores of the signal against the events of one label, and which are signal."""
    return pair_with_label(scored.task, scored.probabilities, scored.labels, background)


def by_class(scored: Scored, areas: dict) -> Comparison:
    """Each class against the rest, for one classifier; of two labels the signal alone, the others mirror it.

    Args:
      scored: the events.
      areas: class -> "value" and "uncertainty"; those that are missing are computed.
    """
    task, colours = scored.task, class_colours(scored.task)
    curves = [
        curve(task.title(name), colours[name], *versus_rest(scored, name), areas.get(name))._replace(
            band=band([versus_rest(member, name) for member in scored.members])
        )
        for name in task.scored
    ]
    title = "One class against the rest" if len(curves) > 1 else _against_rest(task)
    return Comparison("roc_vs_rest", title, curves)


def comparisons(runs: Sequence[Run]) -> list[Comparison]:
    """All curves of the report: a class against the rest, and the signal against each other label's events.

    With several runs there is one figure for each class, the runs in it next to each other; a run whose
    classifier does not have the class is not in it.
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
            title = f"{task.title(name)} against the rest" if len(task.scored) > 1 else _against_rest(task)
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
        curve(_name(runs, run), _colour(runs, run), *versus(run.scored, name), area)._replace(
            band=band([versus(member, name) for member in run.scored.members])
        )
        for run, versus, name, area in found
    ]


def draw(comparison: Comparison, origin: str, note: str = "") -> Figure:
    """The static figure of a comparison."""
    with new_figure(origin, note) as (figure, axes):
        for number, one in enumerate(comparison.curves):
            if one.band is not None:
                axes.fill_between(*one.band, color=one.colour, alpha=0.3, linewidth=0)
            dashes = DASHES[number % len(DASHES)]
            axes.plot(one.efficiency, one.rejection, dashes, color=one.colour, label=literal(one.legend))
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="Signal efficiency", ylabel="Background rejection")
        # Below the diagonal, where no curve comes.
        legend = axes.legend(
            loc="lower left", title=literal(f"{comparison.title}: AUC"), alignment="left", fontsize=20
        )
        legend.get_title().set(fontsize=20, weight="bold")
    return figure


def interactive(comparison: Comparison) -> str:
    """The same for plotly.js, as JSON: efficiency, rejection and the cut under the pointer."""
    import plotly.graph_objects as go

    bands = [
        go.Scatter(
            x=np.concatenate([one.band[0], one.band[0][::-1]]).astype(np.float32),
            y=np.concatenate([one.band[1], one.band[2][::-1]]).astype(np.float32),
            mode="none",
            fill="toself",
            fillcolor=one.colour,
            opacity=0.3,
            hoverinfo="skip",
            showlegend=False,
        )
        for one in comparison.curves
        if one.band is not None
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
    """The ROC curves of runs, the first of which is the report's."""
    first = runs[0]
    others = any(not run.same_events(first) for run in runs)
    note = f"{len(first.scored.labels):,} events" + (", † others" if others else "")
    caption = "Signal efficiency against background rejection for every cut on the score. "
    if any(run.scored.members for run in runs):
        caption += "A band spans the curves of an ensemble's networks. "
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


def _against_rest(task: Task) -> str:
    """What the one curve of a classifier of two labels shows."""
    others = " and ".join(map(task.title, task.backgrounds))
    return f"{task.title(task.signal)} against {others}"


def _name(runs: Sequence[Run], run: Run) -> str:
    """A run in a legend, marked as in the table where it saw other events than the first."""
    return run.name + ("" if run.same_events(runs[0]) else "†")


def _colour(runs: Sequence[Run], run: Run) -> str:
    return COLOURS[runs.index(run) % len(COLOURS)]
