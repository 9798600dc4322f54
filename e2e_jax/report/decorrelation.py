"""The score against a decorrelated observable, and the spectrum of the observable after cuts on the score."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from e2e_jax.display.figure import literal
from e2e_jax.report.pictures import COLOURS, FAINT, INK, SIZE, Picture, new_figure
from e2e_jax.report.runs import Run
from e2e_jax.report.scored import Scored
from e2e_jax.study import Observable

FINEST = 20
"""Approximate maximum number of bins of the observable."""
ROWS = 25
"""Score bins of a map."""
EFFICIENCIES = (0.7, 0.5, 0.3)
"""Signal efficiencies of the cuts in the spectra of the background."""
FEWEST = 10
"""Minimum number of passed events for a meaningful spectrum."""


class ScoreMap(NamedTuple):
    """Distribution of the score at each value of the observable.

    Attributes:
      observable: edges of the columns, `[columns + 1]`.
      score: edges of the rows `[rows + 1]`.
      fraction: fraction of a column's events in each row, `[rows, columns]`.
      quartiles: quartiles of the scores of each column, `[3, columns]`.
    """

    observable: np.ndarray
    score: np.ndarray
    fraction: np.ndarray
    quartiles: np.ndarray


class Spectrum(NamedTuple):
    """A spectrum: summed weight of the passed events in each bin, and the sum of squared weights.

    Without weights both are the number of events. `efficiency` is the signal efficiency of the cut.
    """

    efficiency: float
    counts: np.ndarray
    squares: np.ndarray


def bin_width(low: float, high: float) -> float:
    """The width, 1, 2 or 5 times a power of ten, that divides a range into at most `FINEST` bins."""
    if not high > low:
        return 1.0
    rough = (high - low) / FINEST
    power = 10.0 ** np.floor(np.log10(rough))
    return float(power * next(step for step in (1, 2, 5, 10) if step * power >= 0.999 * rough))


def bins(values: np.ndarray, fewest: float, marked: float) -> np.ndarray:
    """Edges of bins that each hold at least `fewest` of the values `[n]`; multiples of one width.

    The highest 5 % of the values are left out, unless these are all values above the marked one.
    """
    high = max(float(np.quantile(values, 0.95)), marked)
    width = bin_width(float(values.min()), high)
    low = width * np.floor(values.min() / width)
    even = np.arange(low, max(high + 2 * width, low + 1.5 * width), width)
    counts = np.histogram(values, even)[0]
    edges, held = [low], 0
    for count, edge in zip(counts, even[1:]):
        held += count
        if held >= fewest:
            edges.append(edge)
            held = 0
    if len(edges) == 1:
        edges.append(even[-1])
    return np.array(edges)


def quantiles(values: np.ndarray, fractions: float | Sequence[float], weights: np.ndarray | None = None):
    """`np.quantile` with optional weights."""
    if weights is None:
        return np.quantile(values, fractions)
    return np.quantile(values, fractions, weights=weights, method="inverted_cdf")


def middle_of_signal(scored: Scored, name: str) -> float:
    """The median of an observable over the signal's events, which the figures mark."""
    return float(quantiles(scored.observables[name][scored.is_signal], 0.5, _own(scored, scored.is_signal)))


def cut_of(scored: Scored, efficiency: float) -> float:
    """The cut on the score that keeps this fraction of the signal."""
    chosen = scored.is_signal
    return float(quantiles(scored.signal[chosen], 1 - efficiency, _own(scored, chosen)))


def _own(scored: Scored, chosen: np.ndarray) -> np.ndarray | None:
    return None if scored.weights is None else scored.weights[chosen]


def score_map(
    scores: np.ndarray, values: np.ndarray, marked: float, weights: np.ndarray | None = None
) -> ScoreMap:
    """The map of scores `[n]` against the observable `[n]`; `marked` as for `bins`."""
    edges = bins(values, max(20, len(values) / 60), marked)
    rows = np.linspace(0, min(1.0, max(np.quantile(scores, 0.998) * 1.08, 0.05)), ROWS + 1)
    counts = np.histogram2d(scores, values, bins=(rows, edges), weights=weights)[0]
    quartiles = []
    for low, high in pairwise(edges):
        inside = (values >= low) & (values < high)
        own = None if weights is None else weights[inside]
        filled = inside.any() if own is None else own.any()
        quartiles.append(quantiles(scores[inside], (0.25, 0.5, 0.75), own) if filled else [np.nan] * 3)
    return ScoreMap(edges, rows, counts / np.maximum(counts.sum(axis=0), 1), np.transpose(quartiles))


def draw_score_map(
    scored: Scored, label: str, observable: Observable, origin: str, cvm: dict | None = None, of: str = ""
) -> Figure:
    """The signal's score against an observable for the events of one label; each column is normalized to one.

    Args:
      scored: the events.
      label: label of the events to draw.
      observable: one of the task's decorrelation observables.
      origin: origin of the events.
      cvm: "value", "uncertainty" and "floor" of the CVM, written above the map.
      of: name that distinguishes the figure, such as the classifier's name.
    """
    chosen, task = scored.of(label), scored.task
    values, middle = scored.observables[observable.name][chosen], middle_of_signal(scored, observable.name)
    made = score_map(scored.signal[chosen], values, middle, _own(scored, chosen))
    with new_figure(origin, _note(scored, label, of)) as (figure, axes):
        drawn = axes.pcolormesh(
            made.observable, made.score, made.fraction, cmap="cividis", rasterized=True, vmin=0
        )
        bar = figure.colorbar(drawn, ax=axes, pad=0.02)
        bar.set_label("Fraction of the events in the column")
        middle = (made.observable[1:] + made.observable[:-1]) / 2
        # White on black is visible on dark and on light pixels.
        for colour, width in (("black", 5), ("white", 2.5)):
            style = {"color": colour, "linewidth": width}
            axes.plot(middle, made.quartiles[1], "-", **style)
            axes.plot(middle, made.quartiles[[0, 2]].T, "--", **style)
        top = made.score[-1]
        signal = literal(task.title(task.signal))
        axes.set(xlim=made.observable[[0, -1]], ylim=(0, top * 1.13), ylabel=f"{signal} score P({signal})")
        axes.set_xlabel(literal(observable.label))
        axes.plot([], [], "-", color=INK, label="median")
        axes.plot([], [], "--", color=INK, label="quartiles")
        # In the space above the highest score.
        if cvm:
            axes.text(0.02, 0.985, _cvm(cvm), transform=axes.transAxes, va="top", fontsize=19)
        style = {"fontsize": 19, "columnspacing": 1.0, "handlelength": 1.3, "borderaxespad": 0.2}
        axes.legend(loc="upper right", ncols=2, **style)
        axes.minorticks_on()
        axes.tick_params(which="both", top=False)
    return figure


def spectra(scored: Scored, label: str, name: str, edges: np.ndarray) -> list[Spectrum]:
    """Spectra of an observable for one label: all events, then the events that pass each cut."""
    values, counts = scored.observables[name], scored.counts
    made = []
    for efficiency in (1.0, *EFFICIENCIES):
        cut = cut_of(scored, efficiency) if efficiency < 1 else -np.inf
        passed = scored.of(label) & (scored.signal >= cut)
        sums = (np.histogram(values[passed], edges, weights=counts[passed] ** power)[0] for power in (1, 2))
        made.append(Spectrum(efficiency, *sums))
    return made


def draw_spectrum(
    scored: Scored, label: str, observable: Observable, origin: str, cvm: dict | None = None, of: str = ""
) -> Figure:
    """The spectrum of one background before and after cuts on the score, normalized, and their ratio.

    Args: as for `draw_score_map`.
    """
    name, task = observable.name, scored.task
    edges, signal = _spectrum_bins(scored, label, name), literal(task.title(task.signal))
    everything, *cuts = spectra(scored, label, name, edges)
    total, width = everything.counts.sum() or 1, np.diff(edges)
    style = {"nrows": 2, "sharex": True, "gridspec_kw": {"height_ratios": (2, 1), "hspace": 0.03}}
    with new_figure(origin, _note(scored, label, of), (SIZE[0], 1.15 * SIZE[1]), **style) as (
        _,
        (upper, lower),
    ):
        fractions = everything.counts / total
        upper.stairs(fractions / width, edges, color=INK, linewidth=3, label="all events")
        lower.axhline(1, color=INK, linewidth=2)
        seen = [np.ones(1)]
        for number, cut in enumerate(cuts):
            passed = cut.counts.sum()
            title = f"{signal} efficiency {100 * cut.efficiency:.0f} % ({100 * passed / total:.1f} % pass)"
            if passed**2 < FEWEST * cut.squares.sum() or not passed:
                upper.plot([], [], " ", label=f"{title}: too few")
                continue
            style = {"color": COLOURS[number], "linewidth": 2.5}
            upper.stairs(cut.counts / passed / width, edges, label=title, **style)
            ratio, error = _ratio(cut, everything)
            middle = (edges[1:] + edges[:-1]) / 2 + (number - 1) * width / 6
            points = {"fmt": ("o", "s", "^")[number % 3], "markersize": 8, "elinewidth": 2.5}
            lower.errorbar(middle, ratio, error, color=COLOURS[number], **points)
            seen.append(ratio[np.isfinite(ratio)])
        for axes in (upper, lower):
            axes.axvline(middle_of_signal(scored, name), color=FAINT, linestyle=":", linewidth=2)
        upper.set(
            ylabel=f"Fraction of events{f' / {observable.unit}' if observable.unit else ''}",
            xlim=edges[[0, -1]],
        )
        _make_room(upper, edges)
        lower.set_ylabel("Cut / all", loc="center")
        lower.set_ylim(
            max(0.0, np.min(np.concatenate(seen)) - 0.2), min(np.max(np.concatenate(seen)) + 0.3, 8.0)
        )
        lower.set_xlabel(literal(observable.label))
        legend = upper.legend(
            loc="upper right", fontsize=20, alignment="left", title=_cvm(cvm) if cvm else None
        )
        legend.get_title().set_fontsize(20)
    return upper.figure


def _make_room(axes: Axes, edges: np.ndarray) -> None:
    """Leaves space for the legend at the upper right, also if the spectrum does not fall."""
    heights = np.max([patch.get_data().values for patch in axes.patches], axis=0)
    right = edges[1:] > edges[0] + 0.35 * (edges[-1] - edges[0])
    axes.set_ylim(0, max(1.12 * heights.max(), heights[right].max(initial=0) / 0.52))


def _spectrum_bins(scored: Scored, label: str, name: str) -> np.ndarray:
    """Bins with nine events on average after the tightest cut, unless they would become too wide."""
    cut = cut_of(scored, min(EFFICIENCIES))
    passed = max(np.mean(scored.signal[scored.of(label)] >= cut), 1e-6)
    values = scored.observables[name][scored.of(label)]
    fewest = float(np.clip(9 / passed, len(values) / 60, len(values) / 14))
    return bins(values, fewest, middle_of_signal(scored, name))


def _ratio(passed: Spectrum, everything: Spectrum) -> tuple[np.ndarray, np.ndarray]:
    """Ratio of the normalized spectra after and before a cut, and its error; NaN for empty bins.

    The passed events are a subset, so the error is that of the passed fraction, at least that of one event.
    """
    before = np.where(everything.counts > 0, everything.counts, np.nan)
    fraction, mean = passed.counts / before, passed.counts.sum() / everything.counts.sum()
    one = everything.squares / before
    squares = np.maximum(passed.squares, one**2)
    return fraction / mean, np.sqrt(squares * (1 - fraction)) / before / mean


def pictures(runs: Sequence[Run]) -> list[Picture]:
    """Maps and spectra of each run with a decorrelation; the first run is that of the report."""
    made = []
    for number, run in enumerate(runs):
        task = run.task
        end, of = (
            (f"_{number + 1}", f", {run.name}") if number else ("", f", {run.name}" if len(runs) > 1 else "")
        )
        labels = task.backgrounds if task.decorrelate else ()
        for label, observable in itertools.product(labels, task.decorrelate_observables):
            # The CVM is computed for the events of all these labels together.
            given = run.results.get("decorrelation", {}).get(observable.name)
            cvm = given["cvm"] if given and task.of == (label,) else None
            title = f"true {task.title(label)}{of}"
            made.append(
                Picture(
                    f"score_{observable.name}_{label}{end}",
                    f"Score against {observable.phrase}: {title}",
                    "Each column adds up to one. A score that is independent of the observable has the same "
                    "distribution in all columns.",
                    draw_score_map(run.scored, label, observable, run.origin, cvm, run.name),
                )
            )
            made.append(
                Picture(
                    f"{observable.name}_spectrum_{label}{end}",
                    f"Spectrum of the {observable.phrase} before and after cuts: {title}",
                    f"What cuts on the {task.title(task.signal)} score do to the background. The dotted line "
                    "is the median of the signal. A ratio that bulges there is a peak made by the cut.",
                    draw_spectrum(run.scored, label, observable, run.origin, cvm, run.name),
                )
            )
    return made


def _note(scored: Scored, label: str, of: str) -> str:
    return f"{of + ': ' if of else ''}true {scored.task.title(label)}"


def _cvm(cvm: dict) -> str:
    floor = f"\nindependent score: {cvm['floor']:.4f}" if "floor" in cvm else ""
    return f"CVM {cvm['value']:.4f} ± {cvm['uncertainty']:.4f}{floor}"
