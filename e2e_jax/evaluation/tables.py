"""The metrics of results.json by name, and the table of them that is printed."""

from __future__ import annotations

from collections.abc import Mapping

from e2e_jax.evaluation.published import paper_row
from e2e_jax.evaluation.regression import LEAST_TRUTH
from e2e_jax.study import Task

Place = tuple[str, ...]
"""Where a metric is in the results: its keys."""

AUC, PAIRWISE, REJECTION, CVM = "auc_vs_rest", "auc_pairwise", "background_rejection", "cvm"
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
    """Where each metric is in the results, and its name, in the order of a table."""
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
    return named | {(CVM,): "CVM"}


def is_headline(place: Place, task: Task) -> bool:
    """Whether a metric is among those that are shown first: it is about the signal, or an error."""
    if place[0] == REGRESSION:
        return place[-1] in ("mae", "resolution")
    return place[-1] != "inverse" and (place[0] != AUC or place[1] == task.signal)


def value_at(results: Mapping, place: Place) -> Mapping:
    """The "value" and "uncertainty" at a place of the results; {} where there is none."""
    for key in place:
        results = results.get(key) or {}
    return results


def digits(place: Place) -> int:
    """Digits after the point that a metric is printed with."""
    return 4 if place == (CVM,) else 1 if place[-1] == "inverse" else 3


def cvm_floor_text(results: Mapping) -> str:
    """The CVM of an independent score on as many events, as it is printed; "" where there is none."""
    floor = value_at(results, (CVM,)).get("floor")
    return "" if floor is None else f"{floor:.{digits((CVM,))}f}"


def notes(task: Task) -> list[str]:
    """How the metrics of a task are defined, in sentences."""
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


def results_table(task: Task, results: Mapping) -> str:
    """The table to print: each metric with its uncertainty, the paper's, and the difference.

    Args:
      task: of the run.
      results: as `results.evaluate` returns them.
    """
    events, paper = results["events"], paper_row(results)
    named, origin = metrics(task, results), results["dataset"].get("origin")
    width = max(22, *(len(name) + 2 for name in named.values()))
    head = f"{'':{width}}{'here':>18}"
    lines = [
        f"{results['config']['name']}: epoch {results['epoch']}, {events['train']} training and "
        f"{events['validation']} validation events" + (f", {origin}" if origin else ""),
        f"{head}{'paper':>10}{'difference':>13}" if paper else head,
    ]
    for place, name in named.items():
        ours, after = value_at(results, place), digits(place)
        line = f"{name:{width}}{ours['value']:>10.{after}f} ± {ours['uncertainty']:<5.{after}f}"
        if place in paper:
            difference = ours["value"] - paper[place]
            line = f"{line:{width + 18}}{paper[place]:>10.3f}{difference:>+13.{after}f}"
        lines.append(line)
    areas = ["Areas (vs) are ROC AUCs."] if task.classifies else []
    lines.append(" ".join([*areas, *notes(task)]))
    for name in task.targets:
        constant = results[REGRESSION][name]["mae_constant"]["value"]
        lines.append(f"The best constant prediction of {name} has a mean absolute error of {constant:.3f}.")
    if task.classifies and len(task.scored) > 1:
        raw = ", ".join(f"{auc['value']:.3f}" for auc in results["auc_pairwise_raw"].values())
        lines[-1] += f" Raw P({task.title(task.signal)}): {raw}."
    if floor := cvm_floor_text(results):
        of = task.observable.phrase
        lines.append(f"The CVM of a score that is independent of the {of} is {floor} on average.")
    return "\n".join(line.rstrip() for line in lines)
