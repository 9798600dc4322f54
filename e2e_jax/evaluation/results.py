"""From scores to results: the metrics of a task with uncertainties."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from e2e_jax.evaluation import metrics
from e2e_jax.evaluation.cvm import cvm_metric
from e2e_jax.evaluation.cvm_uncertainty import cvm_floor, cvm_uncertainty
from e2e_jax.runs.provenance import provenance
from e2e_jax.study import Task


@dataclasses.dataclass(frozen=True)
class Options:
    """How the metrics are computed.

    Attributes:
      window: events in a window of the CVM metric.
      step: events from the start of one window to the next.
      limit: the best epoch is chosen among those whose CVM is below this; 1 admits every epoch.
      bootstrap: samples behind the uncertainties.
      seed: of those samples.
    """

    window: int = 200
    step: int = 50
    limit: float = 1.0
    bootstrap: int = 200
    seed: int = 0


def evaluate(
    task: Task,
    probabilities: np.ndarray,
    labels: np.ndarray,
    observable: np.ndarray | None = None,
    options: Options | None = None,
    *,
    config: Mapping | None = None,
    epoch: int | None = None,
    train_events: int | None = None,
    dataset: Mapping | None = None,
) -> dict:
    """The results of a classifier on a validation sample.

    Args:
      task: what was learnt.
      probabilities: `[n, classes]`, softmax outputs in the order of `task.names`.
      labels: int `[n]`, index into `task.labels`; each that is in a class is present.
      observable: `[n]`, the observable that the task decorrelates from; None where there is none.
      options: of the metrics; `Options()` by default.
      config, epoch, train_events, dataset: of the run, copied into the results.

    Returns:
      The content of results.json: "config", "task", "dataset", "events" {"train", "validation"},
      "auc_vs_rest" (of each class), "auc_pairwise" (pair-normalized; the signal against the events of each
      other label), "auc_pairwise_raw" and "cvm" (None without a decorrelation), with a "value" and an
      "uncertainty" each ("cvm" also with the "floor" that an independent score has on as many events),
      "epoch", "provenance".
      Where the task has efficiencies, also "background_rejection": by efficiency what
      `metrics.background_rejection` returns, 1 - the false positive rate as "value", and 1 / the rate as
      "inverse".

    Raises:
      ValueError: a class has no events, a value is not finite, or there are too few events for the CVM.
    """
    options = options or Options()
    probabilities, labels, observable = _checked(task, probabilities, labels, observable)
    targets = task.of_labels(labels)
    random = {"replicas": options.bootstrap, "seed": options.seed}

    def area(scores, is_signal, strata):
        uncertainty = metrics.bootstrap_uncertainty(scores, is_signal, strata=strata, **random)
        return {"value": metrics.roc_auc(scores, is_signal), "uncertainty": uncertainty}

    def against(label, normalized):
        return area(*pair_with_label(task, probabilities, labels, label, normalized), strata=None)

    cvm = None
    if observable is not None:
        sample = _cvm_sample(task, probabilities, labels, observable, options)
        cvm = {
            "value": cvm_metric(*sample),
            "uncertainty": cvm_uncertainty(*sample, seed=options.seed),
            "floor": cvm_floor(*sample),
        }
    score = probabilities[:, task.signal_index], targets == task.signal_index
    rejection = {
        str(efficiency): metrics.background_rejection(*score, efficiency / 100, **random)
        for efficiency in task.efficiencies
    }
    return {
        "config": dict(config or {}),
        "task": task.to_json(),
        "dataset": dict(dataset or {}),
        "events": {"train": train_events, "validation": len(labels)},
        "auc_vs_rest": {
            name: area(probabilities[:, i], targets == i, labels) for i, name in enumerate(task.names)
        },
        "auc_pairwise": {f"{task.signal}_vs_{name}": against(name, True) for name in task.backgrounds},
        "auc_pairwise_raw": {f"{task.signal}_vs_{name}": against(name, False) for name in task.backgrounds},
        **({"background_rejection": rejection} if rejection else {}),
        "cvm": cvm,
        "epoch": epoch,
        "provenance": provenance(options.seed),
    }


def validation_metrics(
    task: Task,
    probabilities: np.ndarray,
    labels: np.ndarray,
    observable: np.ndarray | None = None,
    options: Options | None = None,
) -> dict[str, float]:
    """The metrics without uncertainties: cheap enough for every epoch.

    Args, errors: as for `evaluate`.

    Returns:
      "auc_<class>" for each class (vs rest), "auc_<signal>_vs_<label>" for each other label (pair-normalized)
      and, with a decorrelation, "cvm".
    """
    options = options or Options()
    probabilities, labels, observable = _checked(task, probabilities, labels, observable)
    targets = task.of_labels(labels)
    row = {
        f"auc_{name}": metrics.roc_auc(probabilities[:, i], targets == i) for i, name in enumerate(task.names)
    }
    for label in task.backgrounds:
        scores = pair_with_label(task, probabilities, labels, label)
        row[f"auc_{task.signal}_vs_{label}"] = metrics.roc_auc(*scores)
    if observable is None:
        return row
    return row | {"cvm": cvm_metric(*_cvm_sample(task, probabilities, labels, observable, options))}


def pair_with_label(task: Task, probabilities, labels, label: str, normalized: bool = True):
    """Scores of the signal against one label, and which events are signal; see `metrics.pair_scores`."""
    index = task.labels.index(label)
    targets = task.of_labels(labels)
    rows = (targets == task.signal_index) | (labels == index)
    pair = task.signal_index, task.targets[index]
    return metrics.pair_scores(probabilities[rows], targets[rows], *pair, normalized)


def _cvm_sample(task, probabilities, labels, observable, options):
    """What the CVM is computed from: scores of the signal and observables, window and step."""
    chosen = task.decorrelated(labels)
    return probabilities[chosen, task.signal_index], observable[chosen], options.window, options.step


def _checked(task, probabilities, labels, observable):
    """The arguments as arrays that fit each other."""
    probabilities, labels = np.asarray(probabilities), np.asarray(labels)
    expected = (len(labels), len(task.names))
    if probabilities.shape != expected:
        raise ValueError(
            f"{len(labels)} labels need probabilities of the shape {expected}, in the order "
            f"{', '.join(task.names)}; got {probabilities.shape}."
        )
    counts = task.counts(labels)
    if not all(counts.values()):
        raise ValueError(
            f"A class has no events, so it has no AUC: {counts}. Evaluate on a sample with every class."
        )
    if not task.decorrelate:
        return probabilities, labels, None
    if observable is None or np.shape(observable) != labels.shape:
        found = "none" if observable is None else f"the shape {np.shape(observable)}"
        raise ValueError(
            f"The task decorrelates from {task.decorrelate!r}, so {len(labels)} events need as many values "
            f"of it; got {found}."
        )
    return probabilities, labels, np.asarray(observable)
