"""Training curves, confusion matrix and calibration."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from e2e_jax.display.figure import literal
from e2e_jax.evaluation.weights import effective_number, of_events
from e2e_jax.report.pictures import COLOURS, FAINT, INK, SIZE, Picture, class_colours, new_figure
from e2e_jax.report.runs import Run
from e2e_jax.report.scored import Scored

BINS = 12
"""Bins of a reliability curve, with equal numbers of events."""


class Reliability(NamedTuple):
    """Predicted and observed probability, each `[bins]`; expected calibration error: their mean distance."""

    predicted: np.ndarray
    observed: np.ndarray
    error: np.ndarray
    calibration_error: float


def confusion(scored: Scored) -> np.ndarray:
    """Summed weights `[true class, class with the highest probability]`; counts without weights."""
    classes = len(scored.task.names)
    kept = scored.targets >= 0
    chosen = scored.probabilities[kept].argmax(axis=1)
    counts = scored.counts[kept]
    cells = np.bincount(scored.targets[kept] * classes + chosen, counts, minlength=classes**2)
    return cells.reshape(classes, classes).astype(counts.dtype)


def reliability(
    predicted: np.ndarray, is_true: np.ndarray, bins: int = BINS, weights: np.ndarray | None = None
) -> Reliability:
    """The reliability curve of a probability `[n]` with truth `[n]` and weights `[n]`.

    The events are divided by their probability into bins of equal size. The error is binomial; if none or all
    are true, it is that of one event.

    References:
      A. Niculescu-Mizil and R. Caruana, "Predicting good probabilities with supervised learning", ICML 2005.
    """
    order = np.argsort(predicted, kind="stable")
    weights = of_events(weights, len(predicted))
    parts = [part for part in np.array_split(order, bins) if weights[part].any()]
    size = np.array([effective_number(weights[part]) for part in parts])
    mean = np.array([np.average(predicted[part], weights=weights[part]) for part in parts])
    observed = np.array([np.average(is_true[part], weights=weights[part]) for part in parts])
    safe = np.clip(observed, 1 / (size + 1), 1 - 1 / (size + 1))
    total = np.array([weights[part].sum() for part in parts])
    distance = float(np.sum(total * abs(mean - observed)) / total.sum())
    return Reliability(mean, observed, np.sqrt(safe * (1 - safe) / size), distance)


def draw_confusion(scored: Scored, origin: str) -> Figure:
    """The confusion matrix; each true class is normalized to 100 %."""
    counts = confusion(scored)
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [literal(scored.task.title(name)) for name in scored.task.names]
    accuracy = np.trace(counts) / counts.sum()
    with new_figure(origin, f"accuracy {100 * accuracy:.1f} %") as (figure, axes):
        drawn = axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(counts):
            # These two colors do not change on a dark page, because the squares do not change either.
            colour = "#fefefe" if fractions[row, column] > 0.55 else "#101010"
            text = f"{100 * fractions[row, column]:.1f} %\n{count:,.0f}"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=24)
        places = range(len(names))
        axes.set_xticks(places, names)
        axes.set_yticks(places, names, rotation=90, va="center")
        axes.tick_params(which="both", length=0)
        axes.minorticks_off()
        axes.set_xlabel("Class with the highest probability")
        axes.set_ylabel("True class")
        figure.colorbar(drawn, ax=axes, pad=0.02).set_label("Fraction of the true class")
    return figure


def draw_calibration(scored: Scored, origin: str) -> Figure:
    """Reliability curves, and below them the distribution of the probabilities."""
    style = {"nrows": 2, "sharex": True, "gridspec_kw": {"height_ratios": (2.6, 1), "hspace": 0.03}}
    size = SIZE[0], SIZE[1] * 1.2
    with new_figure(origin, f"{len(scored.labels):,} events", size, **style) as (figure, (upper, lower)):
        upper.plot([0, 1], [0, 1], ":", color=FAINT, label="perfect")
        task, colours = scored.task, class_colours(scored.task)
        for name in task.scored:
            index, colour = task.names.index(name), colours[name]
            predicted = scored.probabilities[:, index]
            made = reliability(predicted, scored.targets == index, weights=scored.weights)
            label = f"{literal(task.title(name))}: error {made.calibration_error:.3f}"
            upper.errorbar(
                made.predicted, made.observed, made.error, fmt="o-", markersize=8, color=colour, label=label
            )
            style = {"histtype": "step", "linewidth": 2.5, "color": colour, "weights": scored.counts}
            lower.hist(predicted, np.linspace(0, 1, 41), **style)
        upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="Fraction that is of the class")
        lower.set(xlabel="Predicted probability", ylabel="Events / 0.025", yscale="log")
        # Above the diagonal, away from the curve of a calibrated classifier.
        upper.legend(loc="upper left", fontsize=20)
        figure.align_ylabels()
    return figure


TRAINING = (
    ("Cross-entropy", {"train_cross_entropy": "training", "validation_cross_entropy": "validation"}),
    (
        "Loss of the targets",
        {"train_regression_loss": "training", "validation_regression_loss": "validation"},
    ),
    ("ROC AUC vs rest", {}),
    ("CVM", {"cvm": "CVM"}),
)
"""Panels of the training curves: axis label, and columns of metrics.jsonl; for the AUCs one per class. Panels
without data are omitted."""


def draw_training(run: Run) -> Figure:
    """Losses, AUCs and CVM after each epoch; the best epoch is marked."""
    epochs = [row["epoch"] for row in run.history]
    note = f"{run.results['events'].get('train') or 0:,} training events"
    known = {column for row in run.history for column in row}
    colours = {f"auc_{name}": colour for name, colour in class_colours(run.task).items()}
    areas = {f"auc_{name}": literal(run.task.title(name)) for name in run.task.scored}
    shown = {label: columns or areas for label, columns in TRAINING}
    for target in map(run.task.target, run.task.targets):
        unit = f" [{target.unit}]" if target.unit else ""
        shown.setdefault(f"Mean absolute error{unit}", {})[f"mae_{target.name}"] = target.name
    shown = {label: columns for label, columns in shown.items() if known & columns.keys()}
    size = SIZE[0], 13 * len(shown) / 3
    style = {"nrows": len(shown), "sharex": True, "squeeze": False}
    with new_figure(run.origin, note, size, **style) as (figure, panels):
        panels = panels[:, 0]
        for axes, (label, names) in zip(panels, shown.items()):
            for number, (column, name) in enumerate(names.items()):
                colour = colours.get(column, COLOURS[number % len(COLOURS)])
                values = [row.get(column, np.nan) for row in run.history]
                axes.plot(
                    epochs, values, ("o-", "s--", "^-.")[number % 3], color=colour, label=name, markersize=9
                )
            axes.set_ylabel(label)
            axes.margins(y=0.1)
        lowest = panels[-1]
        if "CVM" in shown:
            limit = run.config.cvm.limit
            if limit < 1:
                lowest.axhline(limit, color=FAINT, linestyle=":", label=f"limit {limit:g}")
            lowest.set_ylim(bottom=0)
        lowest.set_xlabel("Epoch")
        lowest.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
        lowest.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        lowest.xaxis.set_minor_locator(NullLocator())
        for axes in panels:
            # In a separate strip above the highest point.
            low, high = axes.get_ylim()
            axes.set_ylim(low, high + 0.24 * (high - low))
            if run.results["epoch"] is not None:
                axes.axvline(run.results["epoch"], color=INK, linestyle=":", linewidth=2)
            axes.legend(loc="upper center", ncols=3, fontsize=20, columnspacing=1.2)
        figure.align_ylabels()
    return figure


def pictures(run: Run) -> list[Picture]:
    """Training curves (if the run's epochs are known), and for classes confusion matrix and reliability."""
    task, phrase = run.task, run.task.decorrelate_phrase
    price = f" The decorrelation from the {phrase} may cost calibration." if phrase else ""
    made = _of_classes(run, price) if task.classifies else []
    if run.history:
        what = [*(["areas"] if task.classifies else []), *(["errors"] if task.targets else [])]
        what += ["CVM"] if phrase else []
        followed = " and ".join(filter(None, [", ".join(["Losses", *what[:-1]]), *what[-1:]]))
        caption = f"{followed} after each epoch; the dotted line marks the one chosen."
        made.insert(0, Picture("training", "Training", caption, draw_training(run)))
    return made


def _of_classes(run: Run, price: str) -> list[Picture]:
    """Confusion matrix and reliability curves."""
    return [
        Picture(
            "confusion",
            "Confusion matrix",
            "The events of each true class by the class that the classifier finds most probable.",
            draw_confusion(run.scored, run.origin),
        ),
        Picture(
            "calibration",
            "Calibration",
            "Of the events that are given a probability, the fraction that is of the class; the error is the "
            f"mean distance from the diagonal.{price}",
            draw_calibration(run.scored, run.origin),
        ),
    ]
