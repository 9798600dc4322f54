"""The metrics of results.json by name, and the printed table of them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from e2e_jax.evaluation.published import paper_row
from e2e_jax.evaluation.regression import LEAST_TRUTH
from e2e_jax.evaluation.spread import SEEDS
from e2e_jax.study import Task

Place = tuple[str, ...]
"""Place of a metric in the results: a sequence of keys."""

AUC, PAIRWISE, REJECTION, CVM = "auc_vs_rest", "auc_pairwise", "background_rejection", "cvm"
DECORRELATION, JSD, REJECTIONS = "decorrelation", "inverse_jsd", ("r50", "r90")
REGRESSION = "regression"

REGRESSION_METRICS = {
    "mae": "mean absolute error",
    "mre": "mean relative error",
    "bias": "bias",
    "resolution": "resolution",
    "pull_width": "width of the pull",
}
"""Key of a target's results -> its name."""


def metrics(task: Task, results: Mapping) -> dict[Place, str]:
    """Place in the results and name of each metric, in table order."""
    named = (_of_classes(task) if task.classifies else {}) | _of_targets(task)
    return {place: name for place, name in named.items() if value_at(results, place)}


def _of_targets(task: Task) -> dict[Place, str]:
    named = {}
    for target in map(task.target, task.targets):
        title = target.title or task.title(target.name)
        for key, metric in REGRESSION_METRICS.items():
            unit = f" [{target.unit}]" if target.unit and key not in ("mre", "pull_width") else ""
            named[REGRESSION, target.name, key] = f"{title}, {metric}{unit}"
    return named


def _of_classes(task: Task) -> dict[Place, str]:
    signal = task.title(task.signal)
    if len(task.scored) == 1:
        others = " and ".join(map(task.title, task.backgrounds))
        named = {(AUC, task.signal): f"{signal} vs {others}"}
    else:
        classes = sorted(task.names, key=lambda name: name != task.signal)
        named = {(AUC, name): f"{task.title(name)} vs rest" for name in classes}
        named |= {
            (PAIRWISE, f"{task.signal}_vs_{label}"): f"{signal} vs {task.title(label)}"
            for label in task.backgrounds
        }
    named |= {(REJECTION, str(e)): f"rejection at {e} %" for e in task.efficiencies}
    named |= {(REJECTION, str(e), "inverse"): f"1 / FPR at {e} %" for e in task.efficiencies}
    return named | {(CVM,): "CVM"} | _of_observables(task) | {(name,): name.upper() for name in REJECTIONS}


def _of_observables(task: Task) -> dict[Place, str]:
    """1/JSD; with several observables also the CVM of each, because "cvm" is the maximum."""
    several = len(task.decorrelate) > 1
    named: dict[Place, str] = {}
    for name in task.decorrelate:
        end = f" ({name})" if several else ""
        named |= {(DECORRELATION, name, CVM): f"CVM{end}"} if several else {}
        named[DECORRELATION, name, JSD] = f"1/JSD{end}"
    return named


def is_headline(place: Place, task: Task) -> bool:
    """Whether a metric is shown first: it concerns the signal, or it is a regression error."""
    if place[0] == REGRESSION:
        return place[-1] in ("mae", "resolution")
    of_decorrelation = place[0] in (DECORRELATION, *REJECTIONS)
    return place[-1] != "inverse" and not of_decorrelation and (place[0] != AUC or place[1] == task.signal)


def value_at(results: Mapping, place: Place) -> Mapping:
    """The "value" and "uncertainty" at a place of the results; {} if missing."""
    for key in place:
        results = results.get(key) or {}
    return results


def digits(place: Place) -> int:
    """Number of decimals with which a metric is printed."""
    if place[-1] == CVM:
        return 4
    return {JSD: 0, "inverse": 1, "r50": 1}.get(place[-1], 2 if place[-1] == "r90" else 3)


def floors(task: Task, results: Mapping) -> dict[str, str]:
    """Decorrelation metric by name -> its printed value for an independent score on as many events."""
    made = {}
    for place, name in metrics(task, results).items():
        found = value_at(results, place)
        if "floor" in found:
            after = digits(place)
            spread = f" ± {found['floor_uncertainty']:.{after}f}" if "floor_uncertainty" in found else ""
            made[name] = f"{found['floor']:.{after}f}{spread}"
    return made


def notes(task: Task) -> list[str]:
    """Sentences that define the metrics of a task."""
    said = []
    if task.targets:
        said.append(
            "Errors are prediction minus truth; the resolution is half of the central 68 % of them, and the "
            f"relative error is of events whose truth is above {LEAST_TRUTH:.0%} of its median."
        )
    if not task.classifies:
        return said
    if len(task.scored) > 1:
        said.append(f"{task.title(task.signal)} vs one label is the AUC of the pair-normalized score.")
    if task.efficiencies:
        said.append(
            "Rejection is 1 - FPR, the false positive rate at the cut that keeps this much of the signal."
        )
    return said


def measured(results: Mapping, place: Place) -> list[tuple[float, float]]:
    """(value, uncertainty) of a metric; for an ensemble, (mean, spread) over its networks comes first."""
    own = value_at(results, place)
    of_seeds = value_at(results.get(SEEDS, {}), place)
    # A network may lack a rejection of the ensemble if none of its background passes.
    nothing = [(math.nan, math.nan)] if SEEDS in results else []
    means = [(of_seeds["mean"], of_seeds["spread"])] if "mean" in of_seeds else nothing
    return [*means, (own["value"], own["uncertainty"])]


def results_table(task: Task, results: Mapping) -> str:
    """The table to print: each metric with its uncertainty, the paper's value, and the difference.

    Args:
      task: task of the run.
      results: as returned by `results.evaluate`.
    """
    events, paper = results["events"], paper_row(results)
    named, origin = metrics(task, results), results["dataset"].get("origin")
    width = max(22, *(len(name) + 2 for name in named.values()))
    seeds = results.get(SEEDS)
    heads = [f"mean of {len(seeds['members'])} seeds", "ensemble"] if seeds else ["here"]
    heads = "".join(f"{head:>18}" for head in heads)
    which = "epochs" if seeds else "epoch"
    lines = [
        f"{results['config']['name']}: {which} {results['epoch']}, {events['train']} "
        f"training and {events['validation']} validation events" + (f", {origin}" if origin else ""),
        f"{'':{width}}{heads}" + (f"{'paper':>10}{'difference':>13}" if paper else ""),
    ]
    for place, name in named.items():
        line, shown, after = name, measured(results, place), digits(place)
        for column, (value, uncertainty) in enumerate(shown):
            line = f"{line:{width + 18 * column}}{value:>10.{after}f} ± {uncertainty:<5.{after}f}"
        if place in paper:
            line = f"{line:{width + 18 * len(shown)}}{paper[place]:>10.3f}"
            line += f"{shown[0][0] - paper[place]:>+13.{after}f}"
        lines.append(line)
    areas = ["Areas (vs) are ROC AUCs."] if task.classifies else []
    lines.append(" ".join([*areas, *notes(task)]))
    for name in task.targets:
        constant = results[REGRESSION][name]["mae_constant"]["value"]
        lines.append(f"The best constant prediction of {name} has a mean absolute error of {constant:.3f}.")
    if task.classifies and len(task.scored) > 1:
        raw = ", ".join(f"{auc['value']:.3f}" for auc in results["auc_pairwise_raw"].values())
        lines[-1] += f" Raw P({task.title(task.signal)}): {raw}."
    if seeds:
        lines.append("A mean has the standard deviation over the seeds; the difference is that of the mean.")
    if given := floors(task, results):
        listed = ", ".join(f"{name} {text}" for name, text in given.items())
        lines.append(
            f"A score that is independent of the {task.decorrelate_phrase} and the class has {listed}."
        )
    return "\n".join(line.rstrip() for line in lines)
