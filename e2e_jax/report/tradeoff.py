"""AUC against decorrelation for a scan of methods and strengths: a table and a figure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from e2e_jax.display.figure import literal
from e2e_jax.evaluation.tables import CVM, Place, digits, measured, metrics, value_at
from e2e_jax.files.atomic import write_whole
from e2e_jax.report.pictures import COLOURS, FAINT, Picture, new_figure
from e2e_jax.study import Task

NAME = "tradeoff"
METHODS = {
    "cvm": "CVM",
    "disco": "DisCo",
    "mode": "MoDe",
    "planing": "planing",
    "none": "no decorrelation",
}
"""Names of the methods in figure and table."""
MARKERS = "osD^v*"
PLACES = (
    {"xytext": (9, 7), "ha": "left"},
    {"xytext": (9, -20), "ha": "left"},
    {"xytext": (-9, 7), "ha": "right"},
    {"xytext": (-9, -20), "ha": "right"},
)
"""Offset of the strength's label from its point, by method, so that labels of close points stay legible."""
SIZE = (10.0, 9.5)
"""Size of a panel with its part of the legend, in inches."""


class Scanned(NamedTuple):
    """A training of a scan: method, strength, and its results or the reason why there are none."""

    method: str
    strength: float
    results: Mapping | None
    failure: str = ""


def write(workdir: Path, scanned: Sequence[Scanned]) -> list[Path]:
    """Writes tradeoff.md and tradeoff.json and, if a training is finished, tradeoff.png and tradeoff.pdf.

    Returns:
      The paths.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    paths = [workdir / f"{NAME}.md", workdir / f"{NAME}.json"]
    write_whole(paths[0], markdown(scanned))
    write_whole(paths[1], json.dumps(as_json(scanned), indent=2) + "\n")
    if any(one.results for one in scanned):
        Picture(NAME, "AUC against decorrelation", "", figure(scanned)).write(workdir)
        paths += [workdir / f"{NAME}.png", workdir / f"{NAME}.pdf"]
    return paths


def jsd_place(results: Mapping) -> Place:
    """Place of 1/JSD in the results, for the observable on which the score depends most; () if missing."""
    places = [("decorrelation", name, "inverse_jsd") for name in results.get("decorrelation", {})]
    there = [place for place in places if value_at(results, place).get("value") is not None]
    return min(there, key=lambda place: value_at(results, place)["value"], default=())


def columns(results: Mapping) -> dict[Place, str]:
    """The metrics of the table: place in the results -> name."""
    named = metrics(Task(**results["task"]), results)
    chosen = {place: name for place, name in named.items() if place[0].startswith("auc")}
    chosen[(CVM,)] = "CVM"
    if place := jsd_place(results):
        chosen[place] = "1/JSD"
    return chosen


def as_json(scanned: Sequence[Scanned]) -> list[dict]:
    """One entry per training: method, strength, and each metric by name with value and uncertainty."""
    entries = []
    for one in scanned:
        entry = {"method": one.method, "strength": one.strength, "failure": one.failure}
        if one.results:
            entry["epoch"], entry["seed"] = one.results["epoch"], one.results["config"]["seed"]
            entry["seeds"] = one.results["config"]["seeds"]
            entry["metrics"] = {
                name: dict(zip(("value", "uncertainty"), measured(one.results, place)[0]))
                for place, name in columns(one.results).items()
            }
            entry["cvm_floor"] = value_at(one.results, (CVM,)).get("floor")
        entries.append(entry)
    return entries


def markdown(scanned: Sequence[Scanned]) -> str:
    """The table in GitHub's Markdown."""
    done = [one for one in scanned if one.results]
    names = list(dict.fromkeys(name for one in done for name in columns(one.results).values()))
    rows = [["method", "strength", *names]]
    for one in scanned:
        cells = {}
        for place, name in columns(one.results).items() if one.results else ():
            value, uncertainty = measured(one.results, place)[0]
            after = _digits(place)
            cells[name] = f"{value:.{after}f} ± {uncertainty:.{after}f}"
        missing = (one.failure and f"failed: {one.failure}") or "not finished"
        texts = [cells.get(name, "–") for name in names] if one.results else [missing.replace("|", "\\|")]
        texts += [""] * (len(names) - len(texts))
        rows.append([METHODS.get(one.method, one.method), f"{one.strength:g}", *texts])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---|" + "---:|" * (len(rows[0]) - 1))
    return "\n".join([*lines, "", *notes(scanned)]) + "\n"


def notes(scanned: Sequence[Scanned]) -> list[str]:
    """Sentences that explain the numbers."""
    done = [one.results for one in scanned if one.results]
    said = ["Each training is evaluated at its epoch with the largest AUC of the signal, whatever its CVM."]
    if any(results["config"]["seeds"] > 1 for results in done):
        said.append("Numbers are the mean and the standard deviation over the seeds.")
    floors = [floor for results in done if (floor := value_at(results, (CVM,)).get("floor")) is not None]
    if floors:
        said.append(f"The CVM of an independent score is {np.mean(floors):.4f} on average.")
    return said


def figure(scanned: Sequence[Scanned]) -> Figure:
    """The AUC of the signal against the CVM and, if available, against 1/JSD."""
    done = [one for one in scanned if one.results]
    first = done[0].results
    task, origin = Task(**first["task"]), first["dataset"].get("origin") or first["dataset"].get("name", "")
    panels = [((CVM,), "CVM (smaller is better decorrelated)")]
    if all(jsd_place(one.results) for one in done):
        panels.append(((), "1/JSD at 50 % signal efficiency (larger is better)"))
    size = (SIZE[0] * len(panels), SIZE[1])
    note = f"{first['events']['train']:,} training events"
    with new_figure(origin, note, size, ncols=len(panels), squeeze=False) as (drawn, axes):
        for one, (place, label) in zip(axes.flat, panels):
            _panel(one, done, place, task)
            one.set(xlabel=label, xscale="log", ylabel=literal(f"AUC, {task.title(task.signal)} vs rest"))
        # Below the axes, because points may be anywhere inside.
        handles = axes.flat[0].get_legend_handles_labels()
        drawn.legend(*handles, loc="outside lower center", ncols=3, fontsize=20)
    return drawn


def _panel(axes, done: Sequence[Scanned], place: Place, task: Task) -> None:
    """The points of each method, joined in the order of their strengths; `place` () for 1/JSD."""
    for number, method in enumerate(dict.fromkeys(one.method for one in done)):
        own = sorted((one for one in done if one.method == method), key=lambda one: one.strength)
        x, x_error = np.transpose([measured(one.results, place or jsd_place(one.results))[0] for one in own])
        y, y_error = np.transpose([measured(one.results, ("auc_vs_rest", task.signal))[0] for one in own])
        style = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
        # A logarithmic axis cannot show error bars that reach zero.
        below = np.minimum(x_error, 0.9 * x)
        style |= {"markersize": 11, "linewidth": 2, "label": METHODS.get(method, method)}
        axes.errorbar(x, y, y_error, [below, x_error], elinewidth=1, capsize=3, **style)
        beside = PLACES[number % len(PLACES)] | {"textcoords": "offset points", "color": style["color"]}
        for one, *at in zip(own, x, y):
            if one.strength:
                axes.annotate(f"{one.strength:g}", at, fontsize=17, **beside)
    floors = [_floor(one.results, place) for one in done]
    if all(floor is not None for floor in floors):
        axes.axvline(np.mean(floors), color=FAINT, linestyle=":", label="independent score")


def _floor(results: Mapping, place: Place) -> float | None:
    """The value for an independent score on as many events."""
    if place:
        return value_at(results, place).get("floor")
    independent = value_at(results, jsd_place(results)).get("independent")
    return independent["value"] if isinstance(independent, Mapping) else independent


def _digits(place: Place) -> int:
    return 1 if place[-1] == "inverse_jsd" else digits(place)
