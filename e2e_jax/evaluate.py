"""From scores to results.json: the paper's metrics with uncertainties, and the paper's row beside them."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import jax
import numpy as np

from e2e_jax import metrics
from e2e_jax.cvm import cvm_metric, cvm_uncertainty
from e2e_jax.sources.events import CLASSES
from e2e_jax.workdir import write_whole

RESULTS = "results.json"
SCORES = "scores.parquet"

PACKAGES = ("e2e_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "tensorflow-datasets")
"""Packages whose versions go into the provenance."""

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
      probabilities: `[n, 3]`, softmax outputs in the order of `CLASSES`.
      labels: int `[n]`, the true classes, each present.
      mass: `[n]`, diphoton mass in GeV.
      config: the run's config; read are `seed`, `cvm.window`, `cvm.step` and `evaluate.bootstrap`, and the
        whole is copied into the results.
      epoch: the epoch that the classifier comes from.
      train_events: number of events it was trained on.
      dataset: what identifies the dataset (name, version, fingerprint, ...).

    Returns:
      The content of results.json : "config", "dataset", "events" {"train",
      "validation"}, "auc_vs_rest", "auc_pairwise" (pair-normalised), "auc_pairwise_raw" and "cvm" with a
      "value" and an "uncertainty" each, "epoch", "provenance".

    Raises:
      ValueError: a class has no events, a value is not finite, or the CVM has too few gamma gamma events.
    """
    probabilities, labels, mass = np.asarray(probabilities), np.asarray(labels), np.asarray(mass)
    _refuse_bad_shapes(probabilities, labels, mass)
    random = {"replicas": config.evaluate.bootstrap, "seed": config.seed}

    def area(scores, is_signal, strata):
        uncertainty = metrics.bootstrap_uncertainty(scores, is_signal, strata=strata, **random)
        return {"value": metrics.roc_auc(scores, is_signal), "uncertainty": uncertainty}

    def against(background, normalised):
        pair = metrics.pair_scores(
            probabilities, labels, CLASSES.index("h"), CLASSES.index(background), normalised
        )
        return area(*pair, strata=None)

    backgrounds = [name for name in CLASSES if name != "h"]
    return {
        "config": config.to_dict(),
        "dataset": dict(dataset or {}),
        "events": {"train": train_events, "validation": len(labels)},
        "auc_vs_rest": {
            name: area(probabilities[:, label], labels == label, labels) for label, name in enumerate(CLASSES)
        },
        "auc_pairwise": {f"h_vs_{name}": against(name, True) for name in backgrounds},
        "auc_pairwise_raw": {f"h_vs_{name}": against(name, False) for name in backgrounds},
        "cvm": _cvm(probabilities, labels, mass, config),
        "epoch": epoch,
        "provenance": provenance(config.seed),
    }


def validation_metrics(
    probabilities: np.ndarray, labels: np.ndarray, mass: np.ndarray, config
) -> dict[str, float]:
    """The paper's six metrics without uncertainties: cheap enough for every epoch.

    Args, errors: as for `evaluate`.

    Returns:
      "auc_h", "auc_gamma_gamma", "auc_gamma_jet" (vs rest), "auc_h_vs_gamma_gamma", "auc_h_vs_gamma_jet"
      (pair-normalised) and "cvm".
    """
    probabilities, labels, mass = np.asarray(probabilities), np.asarray(labels), np.asarray(mass)
    _refuse_bad_shapes(probabilities, labels, mass)
    row = {f"auc_{name}": metrics.roc_auc(probabilities[:, i], labels == i) for i, name in enumerate(CLASSES)}
    for background, name in enumerate(CLASSES):
        if name != "h":
            row[f"auc_h_vs_{name}"] = metrics.pairwise_auc(
                probabilities, labels, CLASSES.index("h"), background
            )
    chosen = labels == CLASSES.index("gamma_gamma")
    scores = probabilities[chosen, CLASSES.index("h")]
    return row | {"cvm": cvm_metric(scores, mass[chosen], config.cvm.window, config.cvm.step)}


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
) -> Path:
    """Writes scores.parquet, one row an event, whole or not at all.

    Args:
      workdir: the run's folder.
      probabilities: `[n, 3]`; become "probability_gamma_gamma", "probability_h", "probability_gamma_jet".
      columns: "label", "mass", "run", "lumi" and "event", each `[n]`.
      split: the split of the dataset the events are from.

    Returns:
      Its path.

    Raises:
      ValueError: a column is missing or has another length.
    """
    import pyarrow
    import pyarrow.parquet

    probabilities = np.asarray(probabilities)
    table = {f"probability_{name}": probabilities[:, i] for i, name in enumerate(CLASSES)}
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
    row = PAPER_RESULTS[category].get(name)
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
            ours = ours[key]
        digits = 4 if metric == "CVM" else 3
        line = f"{metric:22}{ours['value']:>10.{digits}f} ± {ours['uncertainty']:<5.{digits}f}"
        if paper:
            line = f"{line:40}{paper[metric]:>10.3f}{ours['value'] - paper[metric]:>+13.{digits}f}"
        lines.append(line)
    raw = ", ".join(f"{auc['value']:.3f}" for auc in results["auc_pairwise_raw"].values())
    lines.append(f"AUC; H vs one class is pair-normalised (raw P(H): {raw}).")
    return "\n".join(line.rstrip() for line in lines)


def provenance(seed: int) -> dict:
    """What made the results: time (UTC), commit, versions, devices, seed."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(Path(__file__).parents[1]),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": {"kind": jax.devices()[0].device_kind, "count": jax.device_count()},
        "seed": seed,
    }


def _cvm(probabilities, labels, mass, config):
    """The CVM of the true gamma gamma events' P(H)."""
    chosen = labels == CLASSES.index("gamma_gamma")
    scores = probabilities[chosen, CLASSES.index("h")], mass[chosen], config.cvm.window, config.cvm.step
    return {"value": cvm_metric(*scores), "uncertainty": cvm_uncertainty(*scores, seed=config.seed)}


def _refuse_bad_shapes(probabilities, labels, mass):
    expected = (len(labels), len(CLASSES))
    if probabilities.shape != expected or mass.shape != labels.shape:
        raise ValueError(
            f"To {len(labels)} labels belong probabilities {expected}, in the order {', '.join(CLASSES)}, "
            f"and as many masses; got {probabilities.shape} and {mass.shape}."
        )
    counts = {name: int(np.sum(labels == label)) for label, name in enumerate(CLASSES)}
    if not all(counts.values()):
        raise ValueError(
            f"A class has no events, so it has no AUC: {counts}. Evaluate on a sample with every class."
        )


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit(root):
    """The commit of the checkout at `root`, "-dirty" where tracked files changed; None outside of one."""

    def git(*arguments):
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        # An installed package may lie inside another project's checkout, whose commit says nothing.
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root.resolve():
            return None
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _plain(value):
    """numpy's numbers and arrays as JSON can hold them."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no place in {RESULTS}.")
