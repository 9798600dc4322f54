"""From scores to results.json: the paper's metrics with uncertainties, and the paper's row beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from e2e_jax import metrics
from e2e_jax.classes import BACKGROUND, SIGNAL, Classes
from e2e_jax.cvm import cvm_metric, cvm_uncertainty
from e2e_jax.provenance import provenance
from e2e_jax.sources.events import CLASSES
from e2e_jax.workdir import write_whole

RESULTS = "results.json"
SCORES = "scores.parquet"

METRICS = {
    ("auc_vs_rest", "h"): "H vs rest",
    ("auc_vs_rest", "gamma_gamma"): "gamma gamma vs rest",
    ("auc_vs_rest", "gamma_jet"): "gamma+jet vs rest",
    ("auc_pairwise", "h_vs_gamma_gamma"): "H vs gamma gamma",
    ("auc_pairwise", "h_vs_gamma_jet"): "H vs gamma+jet",
    ("cvm",): "CVM",
}
"""Where the paper's six metrics stand in the results, and their names, in the order of its tables."""

PAPER_RESULTS = {
    "central": {
        "four_momentum": (0.708, 0.807, 0.803, 0.767, 0.773, 0.002),
        "eb_mass_aware": (0.926, 0.923, 0.954, 0.910, 0.968, 0.080),
        "eb": (0.801, 0.828, 0.942, 0.723, 0.937, 0.002),
        "cms_b": (0.813, 0.838, 0.959, 0.722, 0.956, 0.002),
    },
    "central_forward": {
        "four_momentum": (0.727, 0.812, 0.810, 0.779, 0.788, 0.004),
        "ecal_mass_aware": (0.933, 0.921, 0.955, 0.918, 0.972, 0.088),
        "ecal": (0.810, 0.833, 0.939, 0.751, 0.936, 0.004),
        "cms_i": (0.833, 0.849, 0.954, 0.767, 0.954, 0.004),
        "cms_ii": (0.813, 0.829, 0.956, 0.728, 0.953, 0.003),
    },
}
"""The paper's Tables 6 (central) and 7 (central+forward), `METRICS` by column. Its one-vs-one AUCs are
compared with the pair-normalised ones: its columns break the rule that raw ones obey (see
`metrics.pairwise_auc`)."""


def evaluate(
    probabilities: np.ndarray,
    labels: np.ndarray,
    mass: np.ndarray,
    config,
    *,
    epoch: int | None = None,
    train_events: int | None = None,
    dataset: Mapping | None = None,
) -> dict:
    """The results of a classifier on a validation sample.

    Args:
      probabilities: `[n, classes]`, softmax outputs in the order of the config's classes.
      labels: int `[n]`, index into `CLASSES`; each that is not left out is present.
      mass: `[n]`, diphoton mass in GeV.
      config: the run's config; read are `seed`, `dataset.classes`, `cvm.window`, `cvm.step` and
        `evaluate.bootstrap`, and the whole is copied into the results.
      epoch: the epoch that the classifier comes from.
      train_events: number of events it was trained on.
      dataset: what identifies the dataset (name, version, fingerprint, ...).

    Returns:
      The content of results.json : "config", "dataset", "events" {"train",
      "validation"}, "auc_vs_rest" (of each class), "auc_pairwise" (pair-normalised; H against the events of
      each other label), "auc_pairwise_raw" and "cvm" with a "value" and an "uncertainty" each, "epoch",
      "provenance".

    Raises:
      ValueError: a class has no events, a value is not finite, or the CVM has too few gamma gamma events.
    """
    probabilities, labels, mass = np.asarray(probabilities), np.asarray(labels), np.asarray(mass)
    classes = Classes.of(config)
    _refuse_bad_shapes(probabilities, labels, mass, classes)
    targets = classes.of_labels(labels)
    random = {"replicas": config.evaluate.bootstrap, "seed": config.seed}

    def area(scores, is_signal, strata):
        uncertainty = metrics.bootstrap_uncertainty(scores, is_signal, strata=strata, **random)
        return {"value": metrics.roc_auc(scores, is_signal), "uncertainty": uncertainty}

    def against(background, normalised):
        return area(*pair_with_label(probabilities, labels, classes, background, normalised), strata=None)

    backgrounds = background_labels(classes)
    cvm = _cvm_sample(probabilities, labels, mass, classes, config)
    return {
        "config": config.to_dict(),
        "dataset": dict(dataset or {}),
        "events": {"train": train_events, "validation": len(labels)},
        "auc_vs_rest": {
            name: area(probabilities[:, i], targets == i, labels) for i, name in enumerate(classes.names)
        },
        "auc_pairwise": {f"h_vs_{name}": against(name, True) for name in backgrounds},
        "auc_pairwise_raw": {f"h_vs_{name}": against(name, False) for name in backgrounds},
        "cvm": {"value": cvm_metric(*cvm), "uncertainty": cvm_uncertainty(*cvm, seed=config.seed)},
        "epoch": epoch,
        "provenance": provenance(config.seed),
    }


def validation_metrics(
    probabilities: np.ndarray, labels: np.ndarray, mass: np.ndarray, config
) -> dict[str, float]:
    """The paper's six metrics without uncertainties: cheap enough for every epoch.

    Args, errors: as for `evaluate`.

    Returns:
      "auc_h", "auc_gamma_gamma", "auc_gamma_jet" (vs rest; or the config's classes), "auc_h_vs_gamma_gamma",
      "auc_h_vs_gamma_jet" (pair-normalised) and "cvm".
    """
    probabilities, labels, mass = np.asarray(probabilities), np.asarray(labels), np.asarray(mass)
    classes = Classes.of(config)
    _refuse_bad_shapes(probabilities, labels, mass, classes)
    targets = classes.of_labels(labels)
    row = {
        f"auc_{name}": metrics.roc_auc(probabilities[:, i], targets == i)
        for i, name in enumerate(classes.names)
    }
    for name in background_labels(classes):
        row[f"auc_h_vs_{name}"] = metrics.roc_auc(*pair_with_label(probabilities, labels, classes, name))
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
    names: Sequence[str] = CLASSES,
) -> Path:
    """Writes scores.parquet, one row an event, whole or not at all.

    Args:
      workdir: the run's folder.
      probabilities: `[n, classes]`; become "probability_gamma_gamma", "probability_h", ...
      columns: "label", "mass", "run", "lumi" and "event", each `[n]`.
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
    for name in ("label", "mass", "run", "lumi", "event"):
        if name not in columns or len(columns[name]) != len(probabilities):
            found = f"has {len(columns[name])} rows" if name in columns else "is missing"
            raise ValueError(
                f"Column {name!r} {found}, but there are {len(probabilities)} scores to save beside it."
            )
        table[name] = np.asarray(columns[name])
    table["split"] = pyarrow.array([split] * len(probabilities), pyarrow.string()).dictionary_encode()
    path = Path(workdir) / SCORES
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    pyarrow.parquet.write_table(pyarrow.table(table), part)
    os.replace(part, path)
    return path


def paper_row(name: str, category: str = "central") -> dict[str, float] | None:
    """The paper's results for a classifier, by the names of its metrics; None where it has none.

    Args:
      name: `config.name`, e.g. "cms_b".
      category: "central" (Table 6) or "central_forward" (Table 7).
    """
    row = PAPER_RESULTS.get(category, {}).get(name)
    return row and dict(zip(METRICS.values(), row))


def results_table(results: Mapping) -> str:
    """The table to print: each metric with its uncertainty, the paper's, and the difference.

    Args:
      results: as `evaluate` returns them; the paper's column goes by the config's "name" and the
        dataset's "category", central where it has none.
    """
    name = results["config"].get("name", "")
    events, dataset = results["events"], results["dataset"]
    paper, origin = paper_row(name, dataset.get("category", "central")), dataset.get("origin")
    lines = [
        f"{name}: epoch {results['epoch']}, {events['train']} training and "
        f"{events['validation']} validation events" + (f", {origin}" if origin else ""),
        f"{'':22}{'here':>18}{'paper':>10}{'difference':>13}" if paper else f"{'':22}{'here':>18}",
    ]
    for place, metric in METRICS.items():
        ours = results
        for key in place:
            ours = ours.get(key, {})
        if not ours:
            continue  # a metric of a class that this classifier does not have
        digits = 4 if metric == "CVM" else 3
        line = f"{metric:22}{ours['value']:>10.{digits}f} ± {ours['uncertainty']:<5.{digits}f}"
        if paper:
            line = f"{line:40}{paper[metric]:>10.3f}{ours['value'] - paper[metric]:>+13.{digits}f}"
        lines.append(line)
    raw = ", ".join(f"{auc['value']:.3f}" for auc in results["auc_pairwise_raw"].values())
    lines.append(f"AUC; H vs one class is pair-normalised (raw P(H): {raw}).")
    return "\n".join(line.rstrip() for line in lines)


def background_labels(classes):
    """The labels that H is told from."""
    return [name for name, target in zip(CLASSES, classes.targets) if name != SIGNAL and target >= 0]


def pair_with_label(probabilities, labels, classes, background, normalised=True):
    """Scores of H against the events of one label, and which are H; see `metrics.pair_scores`."""
    label = CLASSES.index(background)
    rows = (labels == CLASSES.index(SIGNAL)) | (labels == label)
    targets = classes.of_labels(labels[rows])
    pair = classes.signal, classes.targets[label]
    return metrics.pair_scores(probabilities[rows], targets, *pair, normalised)


def _cvm_sample(probabilities, labels, mass, classes, config):
    """What the CVM is computed from: the true gamma gamma events' P(H) and masses, window and step."""
    chosen = labels == CLASSES.index(BACKGROUND)
    return probabilities[chosen, classes.signal], mass[chosen], config.cvm.window, config.cvm.step


def _refuse_bad_shapes(probabilities, labels, mass, classes):
    expected = (len(labels), len(classes.names))
    if probabilities.shape != expected or mass.shape != labels.shape:
        raise ValueError(
            f"To {len(labels)} labels belong probabilities {expected}, in the order "
            f"{', '.join(classes.names)}, and as many masses; got {probabilities.shape} and {mass.shape}."
        )
    counts = {
        name: int(np.sum(labels == label))
        for label, name in enumerate(CLASSES)
        if classes.targets[label] >= 0
    }
    if not all(counts.values()):
        raise ValueError(
            f"A class has no events, so it has no AUC: {counts}. Evaluate on a sample with every class."
        )


def _plain(value):
    """numpy's numbers and arrays as JSON can hold them."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no place in {RESULTS}.")
