"""What the score tells about the mass: the score against it, and the spectrum that a cut leaves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from e2e_jax.classes import BACKGROUND
from e2e_jax.report.pictures import COLOURS, FAINT, INK, SIZE, Picture, class_title, new_figure
from e2e_jax.report.runs import Run, Scored

HIGGS_MASS = 125.0
"""Of the simulated H, in GeV."""
BIN = 5.0
"""Least width of a bin in mass, in GeV."""
ROWS = 25
"""Bins of a map in score."""
EFFICIENCIES = (0.7, 0.5, 0.3)
"""Signal efficiencies of the cuts whose effect on the background's spectrum is shown."""
FEWEST = 10
"""Passed events below which a spectrum says nothing."""


class ScoreMap(NamedTuple):
    """How the score is distributed at each mass.

    Attributes:
      mass: edges of the columns in GeV, `[columns + 1]`.
      score: edges of the rows `[rows + 1]`.
      fraction: of a column's events in each row, `[rows, columns]`.
      quartiles: of the scores of each column, `[3, columns]`.
    """

    mass: np.ndarray
    score: np.ndarray
    fraction: np.ndarray
    quartiles: np.ndarray


class Spectrum(NamedTuple):
    """A mass spectrum: number of events that passed in each bin, and the signal efficiency of the cut."""

    efficiency: float
    counts: np.ndarray


def mass_bins(mass: np.ndarray, fewest: float) -> np.ndarray:
    """Edges in GeV, multiples of `BIN`, of bins that hold at least so many of the masses `[n]`.

    The 5 % heaviest events are left out, unless that is all above the H.
    """
    low = BIN * np.floor(mass.min() / BIN)
    high = max(np.quantile(mass, 0.95), HIGGS_MASS + 2 * BIN, low + BIN)
    even = np.arange(low, high + BIN, BIN)
    counts = np.histogram(mass, even)[0]
    edges, held = [low], 0
    for count, edge in zip(counts, even[1:]):
        held += count
        if held >= fewest:
            edges.append(edge)
            held = 0
    if len(edges) == 1:
        edges.append(even[-1])
    return np.array(edges)


def score_map(scores: np.ndarray, mass: np.ndarray) -> ScoreMap:
    """The map of scores `[n]` against masses `[n]` in GeV."""
    edges = mass_bins(mass, max(20, len(mass) / 60))
    rows = np.linspace(0, min(1.0, max(np.quantile(scores, 0.998) * 1.08, 0.05)), ROWS + 1)
    counts = np.histogram2d(scores, mass, bins=(rows, edges))[0]
    columns = [scores[(mass >= low) & (mass < high)] for low, high in pairwise(edges)]
    quartiles = [
        np.quantile(column, (0.25, 0.5, 0.75)) if len(column) else [np.nan] * 3 for column in columns
    ]
    return ScoreMap(edges, rows, counts / np.maximum(counts.sum(axis=0), 1), np.transpose(quartiles))


def draw_score_map(scored: Scored, label: str, origin: str, cvm: dict | None = None, of: str = "") -> Figure:
    """P(H) against the mass for the events of one label, each column of mass normalised to itself.

    Args:
      scored: the events.
      label: which of them.
      origin: where they come from.
      cvm: "value", "uncertainty" and "floor" of the CVM, to be written above.
      of: the classifier's name, or whatever tells the figure from others of its kind.
    """
    chosen = scored.of(label)
    made = score_map(scored.signal[chosen], scored.mass[chosen])
    with new_figure(origin, _note(label, of)) as (figure, axes):
        drawn = axes.pcolormesh(made.mass, made.score, made.fraction, cmap="cividis", rasterized=True, vmin=0)
        bar = figure.colorbar(drawn, ax=axes, pad=0.02)
        bar.set_label("Fraction of the events at this mass")
        middle = (made.mass[1:] + made.mass[:-1]) / 2
        # Black under white: seen on dark and on light pixels.
        for colour, width in (("black", 5), ("white", 2.5)):
            style = {"color": colour, "linewidth": width}
            axes.plot(middle, made.quartiles[1], "-", **style)
            axes.plot(middle, made.quartiles[[0, 2]].T, "--", **style)
        top = made.score[-1]
        axes.set(xlim=made.mass[[0, -1]], ylim=(0, top * 1.13), ylabel="H score P(H)")
        axes.set_xlabel(r"Diphoton mass $m_{\gamma\gamma}$ [GeV]")
        axes.plot([], [], "-", color=INK, label="median")
        axes.plot([], [], "--", color=INK, label="quartiles")
        # In the room above the highest score.
        if cvm:
            axes.text(0.02, 0.985, _cvm(cvm), transform=axes.transAxes, va="top", fontsize=19)
        style = {"fontsize": 19, "columnspacing": 1.0, "handlelength": 1.3, "borderaxespad": 0.2}
        axes.legend(loc="upper right", ncols=2, **style)
        axes.minorticks_on()
        axes.tick_params(which="both", top=False)
    return figure


def spectra(scored: Scored, label: str, edges: np.ndarray) -> list[Spectrum]:
    """Spectra of the events of one label: all of them, then those that pass each cut on P(H)."""
    chosen = scored.of(label)
    made = []
    for efficiency in (1.0, *EFFICIENCIES):
        cut = np.quantile(scored.signal[scored.of("h")], 1 - efficiency) if efficiency < 1 else -np.inf
        passed = scored.signal[chosen] >= cut
        made.append(Spectrum(efficiency, np.histogram(scored.mass[chosen][passed], edges)[0]))
    return made


def draw_spectrum(scored: Scored, label: str, origin: str, cvm: dict | None = None, of: str = "") -> Figure:
    """The mass spectrum of one background before and after cuts on the score, normalised, and their ratio.

    Args: as for `draw_score_map`.
    """
    edges = _spectrum_bins(scored, label)
    everything, *cuts = spectra(scored, label, edges)
    total, width = max(everything.counts.sum(), 1), np.diff(edges)
    style = {"nrows": 2, "sharex": True, "gridspec_kw": {"height_ratios": (2, 1), "hspace": 0.03}}
    with new_figure(origin, _note(label, of), (SIZE[0], 1.15 * SIZE[1]), **style) as (
        _,
        (upper, lower),
    ):
        fractions = everything.counts / total
        upper.stairs(fractions / width, edges, color=INK, linewidth=3, label="all events")
        lower.axhline(1, color=INK, linewidth=2)
        seen = [np.ones(1)]
        for number, cut in enumerate(cuts):
            passed = cut.counts.sum()
            name = f"H efficiency {100 * cut.efficiency:.0f} % ({100 * passed / total:.1f} % pass)"
            if passed < FEWEST:
                upper.plot([], [], " ", label=f"{name}: too few")
                continue
            upper.stairs(cut.counts / passed / width, edges, label=name, color=COLOURS[number], linewidth=2.5)
            ratio, error = _ratio(cut.counts, everything.counts)
            middle = (edges[1:] + edges[:-1]) / 2 + (number - 1) * width / 6
            points = {"fmt": ("o", "s", "^")[number % 3], "markersize": 8, "elinewidth": 2.5}
            lower.errorbar(middle, ratio, error, color=COLOURS[number], **points)
            seen.append(ratio[np.isfinite(ratio)])
        for axes in (upper, lower):
            axes.axvline(HIGGS_MASS, color=FAINT, linestyle=":", linewidth=2)
        upper.set(ylabel="Fraction of events / GeV", xlim=edges[[0, -1]])
        _make_room(upper, edges)
        lower.set_ylabel("Cut / all", loc="center")
        lower.set_ylim(
            max(0.0, np.min(np.concatenate(seen)) - 0.2), min(np.max(np.concatenate(seen)) + 0.3, 8.0)
        )
        lower.set_xlabel(r"Diphoton mass $m_{\gamma\gamma}$ [GeV]")
        legend = upper.legend(
            loc="upper right", fontsize=20, alignment="left", title=_cvm(cvm) if cvm else None
        )
        legend.get_title().set_fontsize(20)
    return upper.figure


def _make_room(axes: Axes, edges: np.ndarray) -> None:
    """Leaves the upper right of a falling spectrum to the legend, also where it does not fall."""
    heights = np.max([patch.get_data().values for patch in axes.patches], axis=0)
    right = edges[1:] > edges[0] + 0.35 * (edges[-1] - edges[0])
    axes.set_ylim(0, max(1.12 * heights.max(), heights[right].max(initial=0) / 0.52))


def _spectrum_bins(scored: Scored, label: str) -> np.ndarray:
    """Bins in which the tightest cut leaves nine events on average, unless they would become too wide."""
    cut = np.quantile(scored.signal[scored.of("h")], 1 - min(EFFICIENCIES))
    passed = max(np.mean(scored.signal[scored.of(label)] >= cut), 1e-6)
    mass = scored.mass[scored.of(label)]
    return mass_bins(mass, float(np.clip(9 / passed, len(mass) / 60, len(mass) / 14)))


def _ratio(passed: np.ndarray, everything: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The normalised spectrum after a cut over that before, and its error; NaN where there was nothing.

    Those that pass are part of all, so the error is that of the fraction that passes.
    """
    before = np.where(everything > 0, everything, np.nan)
    fraction, mean = passed / before, passed.sum() / everything.sum()
    return fraction / mean, np.sqrt(np.maximum(passed, 1) * (1 - fraction)) / before / mean


def pictures(runs: Sequence[Run]) -> list[Picture]:
    """Maps and spectra of each run that has a mass, the first of which is the report's."""
    made = []
    for number, run in enumerate(runs):
        if run.scored.mass is None:
            continue
        end, of = (
            (f"_{number + 1}", f", {run.name}") if number else ("", f", {run.name}" if len(runs) > 1 else "")
        )
        for label in [name for name in ("gamma_gamma", "gamma_jet") if run.scored.of(name).any()]:
            cvm = run.results["cvm"] if label == BACKGROUND else None
            title = f"true {class_title(label)}{of}"
            made.append(
                Picture(
                    f"score_mass_{label}{end}",
                    f"Score against mass: {title}",
                    "Each column of mass adds up to one: a score that does not know the mass is the same in "
                    "all.",
                    draw_score_map(run.scored, label, run.origin, cvm, run.name),
                )
            )
            made.append(
                Picture(
                    f"mass_spectrum_{label}{end}",
                    f"Mass spectrum before and after cuts: {title}",
                    "What cuts on the H score do to the background's shape. A ratio that bulges at 125 GeV "
                    "(dotted) is a peak made by the classifier.",
                    draw_spectrum(run.scored, label, run.origin, cvm, run.name),
                )
            )
    return made


def _note(label: str, of: str) -> str:
    return f"{of + ': ' if of else ''}true {class_title(label)}"


def _cvm(cvm: dict) -> str:
    floor = f"\nindependent score: {cvm['floor']:.4f}" if "floor" in cvm else ""
    return f"CVM {cvm['value']:.4f} ± {cvm['uncertainty']:.4f}{floor}"
