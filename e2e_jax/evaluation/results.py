"""From scores to results.json: the paper's metrics with uncertainties."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from e2e_jax.classes import ALL, Classes
from e2e_jax.evaluation import metrics
from e2e_jax.evaluation.cvm_uncertainty import cvm_floor, cvm_uncertainty
from e2e_jax.evaluation.published import METRICS, PAPER_RESULTS, paper_row, results_table
from e2e_jax.files.atomic import replacing, write_whole
from e2e_jax.models.decorrelation.cvm import cvm_metric
from e2e_jax.runs.provenance import provenance

__all__ = [
    "METRICS",
    "PAPER_RESULTS",
    "RESULTS",
    "SCORES",
    "evaluate",
    "pair_with_label",
    "paper_row",
    "provenance",
    "results_table",
    "validation_metrics",
    "write_results",
    "write_scores",
]

RESULTS = "results.json"
SCORES = "scores.parquet"


def evaluate(
    probabilities: np.ndarray,
    labels: np.ndarray,
    mass: np.ndarray | None,
    config,
    *,
    epoch: int | None = None,
    train_events: int | None = None,
    dataset: Mapping | None = None,
) -> dict:
    """The results of a classifier on a validation sample.

    Args:
      probabilities: `[n, classes]`, softmax outputs in the order of the config's classes.
      labels: int `[n]`, index into the category's labels; each that is not left out is present.
      mass: `[n]`, diphoton mass in GeV; None where the category has no mass.
      config: the run's config; read are `seed`, `dataset.category`, `dataset.classes`, `cvm.window`,
        `cvm.step` and `evaluate.bootstrap`, and the whole is copied into the results.
      epoch: the epoch that the classifier comes from.
      train_events: number of events it was trained on.
      dataset: what identifies the dataset (name, version, fingerprint, ...).

    Returns:
      The content of results.json: "config", "dataset", "events" {"train",
      "validation"}, "auc_vs_rest" (of each class), "auc_pairwise" (pair-normalised; the signal against the
      events of each other label), "auc_pairwise_raw" and "cvm" (None without a mass) with a "value" and an
      "uncertainty" each ("cvm" also with the "floor" that an independent score has on as many events),
      "epoch", "provenance". Where the category has efficiencies (showers: 50, 70 and
      90 %), also "background_rejection": by efficiency what `metrics.background_rejection` returns, 1 - the
      false positive rate as "value", and 1 / the rate as "inverse".

    Raises:
      ValueError: a class has no events, a value is not finite, or the CVM has too few gamma gamma events.
    """
    probabilities, labels, mass, classes = _checked(probabilities, labels, mass, config)
    targets = classes.of_labels(labels)
    random = {"replicas": config.evaluate.bootstrap, "seed": config.seed}

    def area(scores, is_signal, strata):
        uncertainty = metrics.bootstrap_uncertainty(scores, is_signal, strata=strata, **random)
        return {"value": metrics.roc_auc(scores, is_signal), "uncertainty": uncertainty}

    def against(background, normalised):
        return area(*pair_with_label(probabilities, labels, classes, background, normalised), strata=None)

    signal = classes.category.signal
    cvm = None
    if mass is not None:
        sample = _cvm_sample(probabilities, labels, mass, classes, config)
        cvm = {
            "value": cvm_metric(*sample),
            "uncertainty": cvm_uncertainty(*sample, seed=config.seed),
            "floor": cvm_floor(*sample),
        }
    score = probabilities[:, classes.signal], targets == classes.signal
    rejection = {
        str(efficiency): metrics.background_rejection(*score, efficiency / 100, **random)
        for efficiency in classes.category.efficiencies
    }
    return {
        "config": config.to_dict(),
        "dataset": dict(dataset or {}),
        "events": {"train": train_events, "validation": len(labels)},
        "auc_vs_rest": {
            name: area(probabilities[:, i], targets == i, labels) for i, name in enumerate(classes.names)
        },
        "auc_pairwise": {f"{signal}_vs_{name}": against(name, True) for name in classes.backgrounds},
        "auc_pairwise_raw": {f"{signal}_vs_{name}": against(name, False) for name in classes.backgrounds},
        **({"background_rejection": rejection} if rejection else {}),
        "cvm": cvm,
        "epoch": epoch,
        "provenance": provenance(config.seed),
    }


def validation_metrics(
    probabilities: np.ndarray, labels: np.ndarray, mass: np.ndarray | None, config
) -> dict[str, float]:
    """The paper's metrics without uncertainties: cheap enough for every epoch.

    Args, errors: as for `evaluate`.

    Returns:
      "auc_h", "auc_gamma_gamma", "auc_gamma_jet" (vs rest; or the config's classes), "auc_h_vs_gamma_gamma",
      "auc_h_vs_gamma_jet" (pair-normalised) and "cvm"; of showers "auc_electron", "auc_photon" and
      "auc_electron_vs_photon", which are the same.
    """
    probabilities, labels, mass, classes = _checked(probabilities, labels, mass, config)
    targets = classes.of_labels(labels)
    row = {
        f"auc_{name}": metrics.roc_auc(probabilities[:, i], targets == i)
        for i, name in enumerate(classes.names)
    }
    for name in classes.backgrounds:
        scores = pair_with_label(probabilities, labels, classes, name)
        row[f"auc_{classes.category.signal}_vs_{name}"] = metrics.roc_auc(*scores)
    if mass is None:
        return row
    return row | {"cvm": cvm_metric(*_cvm_sample(probabilities, labels, mass, classes, config))}


def write_results(workdir: str | os.PathLike, results: Mapping) -> Path:
    """Writes results.json into the run's folder, whole or not at all.

    Returns:
      Its path.

    Raises:
      ValueError: a number is not finite; an earlier results.json stays as it was.
    """
    path = Path(workdir) / RESULTS
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(results, indent=2, allow_nan=False, default=_plain) + "\n")
    return path


def write_scores(
    workdir: str | os.PathLike,
    probabilities: np.ndarray,
    columns: Mapping[str, np.ndarray],
    split: str = "validation",
    names: Sequence[str] = ALL.names,
) -> Path:
    """Writes scores.parquet, one row an event, whole or not at all.

    Args:
      workdir: the run's folder.
      probabilities: `[n, classes]`; become "probability_gamma_gamma", "probability_h", ...
      columns: "label", "run", "lumi", "event" and whatever else there is, such as "mass", each `[n]`.
      split: the split of the dataset the events are from.
      names: the classes.

    Returns:
      Its path.

    Raises:
      ValueError: a column is missing or has another length.
    """
    import pyarrow
    import pyarrow.parquet

    probabilities = np.asarray(probabilities)
    table = {f"probability_{name}": probabilities[:, i] for i, name in enumerate(names)}
    for name in dict.fromkeys(("label", *columns, "run", "lumi", "event")):
        if name not in columns or len(columns[name]) != len(probabilities):
            found = f"has {len(columns[name])} rows" if name in columns else "is missing"
            raise ValueError(
                f"Column {name!r} {found}, but there are {len(probabilities)} scores to save beside it."
            )
        table[name] = np.asarray(columns[name])
    table["split"] = pyarrow.array([split] * len(probabilities), pyarrow.string()).dictionary_encode()
    path = Path(workdir) / SCORES
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        pyarrow.parquet.write_table(pyarrow.table(table), part)
    return path


def pair_with_label(probabilities, labels, classes, background, normalised=True):
    """Scores of the signal against one label, and which events are signal; see `metrics.pair_scores`."""
    names = classes.category.labels
    label = names.index(background)
    rows = (labels == names.index(classes.category.signal)) | (labels == label)
    targets = classes.of_labels(labels[rows])
    pair = classes.signal, classes.targets[label]
    return metrics.pair_scores(probabilities[rows], targets, *pair, normalised)


def _cvm_sample(probabilities, labels, mass, classes, config):
    """What the CVM is computed from: the true gamma gamma events' P(H) and masses, window and step."""
    chosen = labels == classes.category.labels.index(classes.category.decorrelated)
    return probabilities[chosen, classes.signal], mass[chosen], config.cvm.window, config.cvm.step


def _checked(probabilities, labels, mass, config):
    """The arguments as arrays that fit each other, and the config's classes."""
    probabilities, labels, classes = np.asarray(probabilities), np.asarray(labels), Classes.of(config)
    mass = np.asarray(mass) if classes.category.decorrelated else None
    expected = (len(labels), len(classes.names))
    if probabilities.shape != expected or (mass is not None and mass.shape != labels.shape):
        masses = "" if mass is None else ", and as many masses"
        got = probabilities.shape if mass is None else f"{probabilities.shape} and {mass.shape}"
        raise ValueError(
            f"To {len(labels)} labels belong probabilities {expected}, in the order "
            f"{', '.join(classes.names)}{masses}; got {got}."
        )
    counts = classes.counts(labels)
    if not all(counts.values()):
        raise ValueError(
            f"A class has no events, so it has no AUC: {counts}. Evaluate on a sample with every class."
        )
    return probabilities, labels, mass, classes


def _plain(value):
    """numpy's numbers and arrays as JSON can hold them."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no place in {RESULTS}.")
