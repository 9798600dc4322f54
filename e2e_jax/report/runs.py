"""The data of a report: results, scores and epochs of a run, checked before anything is drawn."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ml_collections import config_dict

from e2e_jax.errors import WorkdirError
from e2e_jax.evaluation import metrics, published, regression
from e2e_jax.evaluation.spread import SEEDS
from e2e_jax.report.scored import Scored
from e2e_jax.runs.folder import CONFIG, METRICS
from e2e_jax.runs.results_files import RESULTS, SCORES
from e2e_jax.study import Task
from e2e_jax.study.task import CLASSIFICATION, HEADS, REGRESSION

PARTS = ("config", "task", "dataset", "events", "epoch", "provenance")
"""Required keys of the results."""

PARTS_OF_HEADS = {CLASSIFICATION: ("auc_vs_rest", "auc_pairwise", "cvm"), REGRESSION: ("regression",)}
"""Additional required keys, by the heads of the task."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A run that was evaluated.

    Attributes:
      folder: the run's folder.
      name: name of its classifier in legends and tables.
      config: config in its results.
      results: the content of results.json.
      scored: the validation events with their scores.
      address: run, lumi and event number of each event, int `[n, 3]`.
      history: one row per epoch; empty if the folder has no metrics.jsonl.
    """

    folder: Path
    name: str
    config: config_dict.ConfigDict
    results: dict
    scored: Scored
    address: np.ndarray
    history: list[dict]

    @property
    def dataset(self) -> dict:
        return self.results["dataset"]

    @property
    def origin(self) -> str:
        """Origin of the events; by default the dataset's name."""
        return self.dataset.get("origin") or self.dataset.get("name", "unknown events")

    @property
    def task(self) -> Task:
        return self.scored.task

    @property
    def table(self) -> tuple[str, ...]:
        """Key of the table of results that shows the run: the published table, or else the labels."""
        table = published.table_of(self.results)
        return (table,) if table else (*self.task.labels, *self.task.targets)

    def same_events(self, other: Run) -> bool:
        """Whether another run was evaluated on the same events."""
        mine, theirs = self.address, other.address
        if mine.shape != theirs.shape or not np.array_equal(
            np.sort(self.scored.labels), np.sort(other.scored.labels)
        ):
            return False
        return np.array_equal(mine, theirs) or np.array_equal(
            np.unique(mine, axis=0), np.unique(theirs, axis=0)
        )


def read_runs(folders: Sequence[str | Path]) -> list[Run]:
    """Reads runs; several runs of one classifier are named by their folders.

    Raises:
      WorkdirError: a run is given twice, or has no usable results.
    """
    folders = [Path(folder) for folder in folders]
    places = [folder.resolve() for folder in folders]
    for folder, place in zip(folders, places):
        if places.count(place) > 1:
            raise WorkdirError(f"The run in {folder} was given twice. Name each run once in --compare.")
    runs = [read_run(folder) for folder in folders]
    names = [run.name for run in runs]
    return [
        dataclasses.replace(run, name=f"{run.name} ({run.folder.resolve().name})")
        if names.count(run.name) > 1
        else run
        for run in runs
    ]


def read_run(folder: str | Path) -> Run:
    """Reads the results of a run.

    Raises:
      WorkdirError: the folder has no results, a later version wrote them, scores are missing, not finite or
        from another evaluation, or a class has no events.
    """
    folder = Path(folder)
    results = _read_results(folder)
    config = config_dict.ConfigDict(results["config"])
    try:
        task = Task(**results["task"])
    except (ValueError, TypeError) as error:
        raise WorkdirError(f"The task in {folder / RESULTS} is none ({error}). {_again(folder)}") from None
    weights = config.train.weights
    networks = [folder / name for name in results.get(SEEDS, {}).get("members", ())]
    columns = _read_scores(folder, task, weights)
    members = tuple(_scored(_read_scores(network, task, weights), task, weights) for network in networks)
    scored = dataclasses.replace(_scored(columns, task, weights), members=members)
    address = np.stack([columns[name] for name in ("run", "lumi", "event")], axis=1)
    run = Run(
        folder,
        published.NAMES.get(config.name, config.name),
        config,
        results,
        scored,
        address,
        _read_history(folder),
    )
    _check(run)
    return run


def _scored(columns: dict[str, np.ndarray], task: Task, weights: str) -> Scored:
    return Scored.of_predictions(
        task,
        np.stack([columns[name] for name in task.columns], axis=1),
        columns["label"],
        {name: columns[name].astype(np.float64) for name in task.decorrelate},
        columns[weights].astype(np.float64) if weights else None,
        {name: columns[name] for name in task.targets},
    )


def _read_results(folder: Path) -> dict:
    path = folder / RESULTS
    if not path.exists():
        if not (folder / CONFIG).exists():
            raise WorkdirError(
                f"There is no run in {folder}: it has neither {RESULTS} nor {CONFIG}. Give the folder of a "
                "training."
            )
        raise WorkdirError(
            f"The run in {folder} has no {RESULTS}, so there is nothing to report. {_again(folder)}"
        )
    try:
        results = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise WorkdirError(f"{path} cannot be read ({error}). {_again(folder)}") from None
    missing = [part for part in PARTS if not isinstance(results, dict) or part not in results]
    if not missing:
        heads = HEADS.get(results["task"].get("kind", CLASSIFICATION), ())
        missing = [part for head in heads for part in PARTS_OF_HEADS[head] if part not in results]
    newer = _newer_version(results) if isinstance(results, dict) else None
    if newer:
        ours = importlib.metadata.version("e2e_jax")
        raise WorkdirError(
            f"{path} was written by e2e_jax {newer}, but this is version {ours}, which may misread it. "
            "Update e2e_jax, or make the report with the version that wrote the results."
        )
    if missing:
        raise WorkdirError(f"{path} has no {', '.join(map(repr, missing))}. {_again(folder)}")
    return results


def _newer_version(results: dict) -> str | None:
    """The version of the program that wrote the results, if it is later than this one."""

    def numbers(version):
        return [int(part) for part in str(version).split(".")[:2] if part.isdigit()]

    wrote = (results.get("provenance") or {}).get("packages", {}).get("e2e_jax", "0")
    return wrote if numbers(wrote) > numbers(importlib.metadata.version("e2e_jax")) else None


def _read_scores(folder: Path, task: Task, weights: str) -> dict[str, np.ndarray]:
    import pyarrow
    import pyarrow.parquet

    path = folder / SCORES
    if not path.exists():
        raise WorkdirError(f"The run in {folder} has results but no {SCORES}. {_again(folder)}")
    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise WorkdirError(f"{path} cannot be read ({error}). {_again(folder)}") from None
    finite = [*task.columns, *task.targets, *task.decorrelate, *([weights] if weights else [])]
    names = [*finite, "label", "run", "lumi", "event"]
    if missing := [name for name in names if name not in table.column_names]:
        raise WorkdirError(
            f"{path} has no column {', '.join(missing)}; it has {', '.join(table.column_names)}. "
            f"{_again(folder)}"
        )
    columns = {name: table[name].to_numpy() for name in names}
    for name in finite:
        bad = ~np.isfinite(columns[name])
        if bad.any():
            raise WorkdirError(
                f"{path}: {name} of event {int(bad.argmax())} is {columns[name][bad.argmax()]} "
                f"({int(bad.sum())} of {len(bad)} are not finite), so it has no place in a curve. The "
                f"training may have diverged, or the sample holds such energies. {_again(folder)}"
            )
    return columns


def _check(run: Run) -> None:
    """Raises a WorkdirError if scores and results do not match, or a class has no events."""
    labels, task, path = run.scored.labels, run.task, run.folder / SCORES
    for name, found in run.scored.regressed.items():
        error = regression.metrics(found.truth, found.predicted)["mae"]
        written = run.results["regression"].get(name, {}).get("mae", {}).get("value", math.nan)
        if not np.isclose(error, written, rtol=1e-4):
            raise WorkdirError(
                f"{path} (mean absolute error of {name} {error:.5g}) and {RESULTS} next to it "
                f"({written:.5g}) are of different evaluations. {_again(run.folder)}"
            )
    if not task.classifies:
        return
    counts = task.counts(labels)
    if not all(counts.values()):
        raise WorkdirError(
            f"{path}: a class has no events ({', '.join(f'{name}: {n}' for name, n in counts.items())}), so "
            "it has no ROC curve. Evaluate the run on a sample with every class."
        )
    expected = run.results["events"].get("validation")
    parts = [run.results["auc_vs_rest"].get(name, {}).get("value", math.nan) for name in task.names]
    areas = [
        metrics.roc_auc(run.scored.probabilities[:, i], run.scored.targets == i, run.scored.weights)
        for i in range(len(parts))
    ]
    if expected != len(labels) or not np.allclose(areas, parts, atol=1e-5):
        raise WorkdirError(
            f"{path} ({len(labels)} events, AUC vs rest {_listed(areas)}) and {RESULTS} next to it "
            f"({expected} events, AUC {_listed(parts)}) are of different evaluations. {_again(run.folder)}"
        )


def _listed(areas: Sequence[float]) -> str:
    return ", ".join(f"{area:.4f}" for area in areas)


def _read_history(folder: Path) -> list[dict]:
    path = folder / METRICS
    if not path.exists():
        return []
    rows = []
    for number, text in enumerate(path.read_text(errors="replace").splitlines(), 1):
        try:
            row = json.loads(text)
            row["epoch"] = int(row["epoch"])
        except (ValueError, TypeError, KeyError):
            raise WorkdirError(
                f"{path}, line {number}, is not an epoch: {text[:60]!r}. The same --mode=train command as "
                "before writes the file anew from the checkpoint; or remove the file: the report goes "
                "without the curves."
            ) from None
        rows.append(row)
    return rows


def _again(folder: Path) -> str:
    return f"Evaluate the run again: python -m e2e_jax.main --mode=evaluate --workdir={folder}"
