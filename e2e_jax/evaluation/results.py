"""From predictions to results: the metrics of a task with uncertainties.

Each head of a task (`Task.heads`) has its own part of the results.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from e2e_jax.evaluation import decorrelation, metrics, regression
from e2e_jax.evaluation.cvm import cvm_metric
from e2e_jax.evaluation.cvm_uncertainty import cvm_floor, cvm_uncertainty
from e2e_jax.evaluation.weights import of_events
from e2e_jax.runs.provenance import provenance
from e2e_jax.study import Task


@dataclasses.dataclass(frozen=True)
class Options:
    """How the metrics are computed.

    Attributes:
      window: events per window of the CVM metric.
      step: events between the starts of consecutive windows.
      limit: maximum CVM of the best epoch; 1 admits every epoch.
      bootstrap: number of bootstrap samples for the uncertainties.
      seed: seed of those samples.
    """

    window: int = 200
    step: int = 50
    limit: float = 1.0
    bootstrap: int = 200
    seed: int = 0


def evaluate(
    task: Task,
    predictions: np.ndarray,
    labels: np.ndarray,
    observables: Mapping[str, np.ndarray] | None = None,
    options: Options | None = None,
    *,
    weights: np.ndarray | None = None,
    targets: Mapping[str, np.ndarray] | None = None,
    config: Mapping | None = None,
    epoch: int | None = None,
    train_events: int | None = None,
    dataset: Mapping | None = None,
) -> dict:
    """The results of a network on a validation sample.

    Args:
      task: the task.
      predictions: `[n, columns]`, in the order of `task.columns`; for a classifier the probabilities.
      labels: int `[n]`, index into `task.labels`; every label of a class must be present.
      observables: name -> `[n]`, the observables from which the task decorrelates.
      options: options of the metrics; `Options()` by default.
      weights: `[n]`, event weights, not negative; 1 by default. The metrics of targets do not use them.
      targets: target -> true values `[n]`; None for a classifier.
      config, epoch, train_events, dataset: properties of the run, copied into the results.

    Returns:
      The content of results.json: "config", "task", "dataset", "events" {"train", "validation"}, "epoch",
      "provenance", and the parts of the heads.

      For classes: "auc_vs_rest" (of each class), "auc_pairwise" (pair-normalized; the signal against the
      events of each other label), "auc_pairwise_raw" and "cvm" (None without a decorrelation), each with a
      "value" and an "uncertainty" ("cvm" also with the "floor" of an independent score for as many events).
      With a decorrelation also "decorrelation": observable -> {"cvm", "inverse_jsd"}, see
      `decorrelation.inverse_jsd`, and "r50" and "r90" of the signal against the events in which it is
      decorrelated, see `decorrelation.rejections`. "cvm" is the maximum over the observables. If the task has
      efficiencies, also "background_rejection": efficiency -> result of `metrics.background_rejection`, with
      1 - the false positive rate as "value" and 1 / the rate as "inverse".

      For targets: "regression", target -> result of `regression.results`.

    Raises:
      ValueError: a class has no events, a value is not finite, or there are too few events for the CVM.
    """
    options = options or Options()
    predictions, labels, observables, targets = _checked(task, predictions, labels, observables, targets)
    parts = {}
    if task.classifies:
        parts |= _of_classes(task, predictions, labels, observables, of_events(weights, len(labels)), options)
    if task.targets:
        columns = dict(zip(task.columns, predictions.T))
        parts["regression"] = regression.of_targets(columns, targets, options.bootstrap, options.seed)
    return {
        "config": dict(config or {}),
        "task": task.to_json(),
        "dataset": dict(dataset or {}),
        "events": {"train": train_events, "validation": len(labels)},
        **parts,
        "epoch": epoch,
        "provenance": provenance(options.seed),
    }


def _of_classes(task, probabilities, labels, observables, weights, options) -> dict:
    """The results for the classes, whose probabilities are the first columns of `probabilities`."""
    targets = task.of_labels(labels)
    random = {"replicas": options.bootstrap, "seed": options.seed}

    def area(scores, is_signal, weights, strata):
        uncertainty = metrics.bootstrap_uncertainty(
            scores, is_signal, strata=strata, weights=weights, **random
        )
        return {"value": metrics.roc_auc(scores, is_signal, weights), "uncertainty": uncertainty}

    def against(label, normalized):
        rows = rows_of_pair(task, labels, label)
        scores = pair_with_label(task, probabilities, labels, label, normalized)
        return area(*scores, weights[rows], strata=None)

    dependence = _dependence(task, probabilities, labels, observables, weights, options)
    of_observables = [found["cvm"] for found in dependence.get("decorrelation", {}).values()]
    cvm = max(of_observables, key=lambda found: found["value"], default=None)
    score = probabilities[:, task.signal_index], targets == task.signal_index
    rejection = {
        str(efficiency): metrics.background_rejection(*score, efficiency / 100, weights=weights, **random)
        for efficiency in task.efficiencies
    }
    return {
        "auc_vs_rest": {
            name: area(probabilities[:, i], targets == i, weights, labels)
            for i, name in enumerate(task.names)
        },
        "auc_pairwise": {f"{task.signal}_vs_{name}": against(name, True) for name in task.backgrounds},
        "auc_pairwise_raw": {f"{task.signal}_vs_{name}": against(name, False) for name in task.backgrounds},
        **({"background_rejection": rejection} if rejection else {}),
        "cvm": cvm,
        **dependence,
    }


def validation_metrics(
    task: Task,
    predictions: np.ndarray,
    labels: np.ndarray,
    observables: Mapping[str, np.ndarray] | None = None,
    options: Options | None = None,
    weights: np.ndarray | None = None,
    targets: Mapping[str, np.ndarray] | None = None,
) -> dict[str, float]:
    """The metrics without uncertainties, fast enough for every epoch.

    Args, errors: as for `evaluate`.

    Returns:
      "auc_<class>" for each class (vs rest), "auc_<signal>_vs_<label>" for each other label (pair-normalized)
      and, with a decorrelation, "cvm". With several observables "cvm" is their maximum, and each has its own
      "cvm_<observable>". For targets the result of `regression.row`.
    """
    options = options or Options()
    predictions, labels, observables, targets = _checked(task, predictions, labels, observables, targets)
    row = {}
    if task.classifies:
        row |= _row_of_classes(
            task, predictions, labels, observables, of_events(weights, len(labels)), options
        )
    if task.targets:
        row |= regression.row(dict(zip(task.columns, predictions.T)), targets)
    return row


def _row_of_classes(task, probabilities, labels, observables, weights, options) -> dict[str, float]:
    """The metrics of the classes without uncertainties."""
    targets = task.of_labels(labels)
    row = {
        f"auc_{name}": metrics.roc_auc(probabilities[:, i], targets == i, weights)
        for i, name in enumerate(task.names)
    }
    for label in task.backgrounds:
        scores = pair_with_label(task, probabilities, labels, label)
        own = weights[rows_of_pair(task, labels, label)]
        row[f"auc_{task.signal}_vs_{label}"] = metrics.roc_auc(*scores, own)
    chosen, windows = task.decorrelated(labels), (options.window, options.step)
    scores = probabilities[chosen, task.signal_index]
    found = {
        f"cvm_{name}": cvm_metric(scores, values[chosen], *windows, weights[chosen])
        for name, values in observables.items()
    }
    if found:
        row |= {**(found if len(found) > 1 else {}), "cvm": max(found.values())}
    return row


def rows_of_pair(task: Task, labels: np.ndarray, label: str) -> np.ndarray:
    """Whether each event is signal or has the given label, bool `[n]`."""
    return (task.of_labels(labels) == task.signal_index) | (labels == task.labels.index(label))


def pair_with_label(task: Task, probabilities, labels, label: str, normalized: bool = True):
    """Scores of the signal against one label, and whether each event is signal; see `metrics.pair_scores`."""
    index = task.labels.index(label)
    targets = task.of_labels(labels)
    rows = rows_of_pair(task, labels, label)
    pair = task.signal_index, task.class_of_label[index]
    return metrics.pair_scores(probabilities[rows], targets[rows], *pair, normalized)


def _dependence(task, probabilities, labels, observables, weights, options):
    """The results for the decorrelation; {} without a decorrelation."""
    if not observables:
        return {}
    scores, chosen = probabilities[:, task.signal_index], task.decorrelated(labels)
    is_signal = task.of_labels(labels) == task.signal_index
    both, random = chosen | is_signal, {"replicas": options.bootstrap, "seed": options.seed}
    # If only signal events are decorrelated, there is no background to cut.
    has_background = bool(weights[both & ~is_signal].sum())
    of_observable = {}
    for name, values in observables.items():
        sample = scores[chosen], values[chosen], options.window, options.step
        own = {"weights": weights[chosen]}
        of_observable[name] = {
            "cvm": {
                "value": cvm_metric(*sample, **own),
                "uncertainty": cvm_uncertainty(*sample, seed=options.seed, **own),
                "floor": cvm_floor(*sample, **own),
            }
        }
        if has_background:
            cut = scores[both], is_signal[both], values[both], weights[both]
            of_observable[name]["inverse_jsd"] = decorrelation.inverse_jsd(*cut, **random)
    made = {"decorrelation": of_observable}
    if has_background:
        made |= decorrelation.rejections(scores[both], is_signal[both], weights[both], **random)
    return made


def _checked(task, predictions, labels, observables, targets):
    """The arguments as arrays of consistent shapes."""
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    expected = (len(labels), len(task.columns))
    if predictions.shape != expected:
        raise ValueError(
            f"{len(labels)} labels need predictions of the shape {expected}, in the order "
            f"{', '.join(task.columns)}; got {predictions.shape}."
        )
    counts = task.counts(labels)
    if task.classifies and not all(counts.values()):
        raise ValueError(
            f"A class has no events, so it has no AUC: {counts}. Evaluate on a sample with every class."
        )
    targets = dict(targets or {})
    if wrong := [name for name in task.targets if np.shape(targets.get(name)) != labels.shape]:
        raise ValueError(
            f"The task predicts {wrong[0]!r}, so {len(labels)} events need as many true values of it: give "
            "them as targets={...}."
        )
    made = {}
    for name in task.decorrelate:
        values = (observables or {}).get(name)
        if values is None or np.shape(values) != labels.shape:
            found = "none" if values is None else f"the shape {np.shape(values)}"
            raise ValueError(
                f"The task decorrelates from {name!r}, so {len(labels)} events need as many values of it; "
                f"got {found}."
            )
        made[name] = np.asarray(values)
    return predictions, labels, made, {name: np.asarray(targets[name]) for name in task.targets}
