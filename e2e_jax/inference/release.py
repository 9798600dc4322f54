"""A small folder that holds a trained classifier and nothing to resume from, to keep next to the code.

`load_classifier` opens it like the folder of a run. It holds config.json, results.json, checkpoints/ with the
best epoch's parameters alone, and events.npz: the first validation events of each class, with the
probabilities that the classifier gave them when it was released.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from e2e_jax.datasets.splits import Dataset
from e2e_jax.errors import WorkdirError
from e2e_jax.evaluation.selection import best_epoch
from e2e_jax.events.kinds import KINDS
from e2e_jax.execution.keeping import from_arrays, write_events
from e2e_jax.experiment import dataset_of
from e2e_jax.files import npz
from e2e_jax.files.atomic import write_whole
from e2e_jax.inference.loading import load_classifier
from e2e_jax.inference.prediction import Classifier
from e2e_jax.runs.checkpoints import Checkpoints, read_about
from e2e_jax.runs.folder import CHECKPOINTS, CONFIG, check_path, read_config
from e2e_jax.runs.results_files import RESULTS
from e2e_jax.study import Task

EVENTS = "events.npz"
CONTENT = {CONFIG, RESULTS, CHECKPOINTS, EVENTS}
LARGEST = 2_000_000
"""Bytes of a release: it travels with every clone of the code."""

PROBABILITIES = "probabilities"


def release(workdir, output, per_class: int = 80, dataset: Dataset | None = None) -> Path:
    """Writes the release of a finished run, whole or not at all; an earlier release is replaced.

    Args:
      workdir: folder of the run.
      output: folder to write.
      per_class: validation events of each label to keep next to the checkpoint; 0 for none.
      dataset: what the run was trained on; the one that its config names by default.

    Returns:
      The folder.

    Raises:
      WorkdirError: the run is not finished or evaluated, `output` holds something else, or the release is
        larger than `LARGEST`.
    """
    workdir, output = Path(workdir).expanduser(), Path(output).expanduser()
    check_path(output)
    if output.exists() and (not output.is_dir() or {path.name for path in output.iterdir()} - CONTENT):
        raise WorkdirError(f"{output} is no release, so nothing in it was touched. Name another --output.")
    classifier, about, config = load_classifier(workdir), read_about(workdir), read_config(workdir)
    results, rows = _results(workdir), about["progress"]["history"]
    best = rows[best_epoch(rows, config.cvm.limit, classifier.task).index]
    events = _validation_events(dataset or dataset_of(config), classifier, per_class) if per_class else None

    output.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        fields = _without_folders(config.to_dict())
        write_whole(part / CONFIG, json.dumps(fields, indent=2) + "\n")
        write_whole(part / RESULTS, json.dumps(results, indent=2) + "\n")
        with Checkpoints(part, config, classifier.task, about["dataset"]) as checkpoints:
            checkpoints.save(best["step"], None, classifier.params, about["progress"])
        if events is not None:
            probabilities = load_classifier(part).predict(events)
            write_events(part / EVENTS, events, **{PROBABILITIES: probabilities})
        _refuse_large(part)
        part.chmod(0o755)
        _put(part, output)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return output


def read_events(folder):
    """The events of a release, and the probabilities that they had: (a `Record`, f4 [n, classes]).

    Raises:
      WorkdirError: the folder has no events, or they cannot be read.
    """
    path, record = Path(folder) / EVENTS, KINDS[Task(**read_about(folder)["task"]).events]
    try:
        arrays = npz.read(path)
        return from_arrays(arrays, record), arrays[PROBABILITIES]
    except FileNotFoundError:
        raise WorkdirError(
            f"There are no events in {folder}: it has no {EVENTS}, which python -m e2e_jax.release writes."
        ) from None
    except (OSError, ValueError, KeyError) as error:
        raise WorkdirError(f"{path} cannot be read ({error}). Copy the release again.") from error


def _results(workdir):
    """results.json without the folders and the system of the machine that trained."""
    path = workdir / RESULTS
    try:
        results = json.loads(path.read_text())
    except FileNotFoundError:
        raise WorkdirError(
            f"The run in {workdir} has no {RESULTS}. Evaluate it first: "
            f"python -m e2e_jax.main --mode=evaluate --workdir={workdir}"
        ) from None
    except ValueError as error:
        raise WorkdirError(f"{path} is not valid JSON ({error}). Evaluate the run again.") from None
    provenance = {name: value for name, value in results.get("provenance", {}).items() if name != "platform"}
    return results | {"config": _without_folders(results["config"]), "provenance": provenance}


def _without_folders(config):
    return {**config, "dataset": {**config["dataset"], "data_dir": ""}}


def _validation_events(dataset: Dataset, classifier: Classifier, per_class: int):
    """The first validation events of each label, in the dataset's order."""
    unread = KINDS[classifier.task.events].unread(classifier.inputs)
    events = dataset.read("validation", classifier.task, unread)
    rows = [np.flatnonzero(events.label == label)[:per_class] for label in np.unique(events.label)]
    return events[np.sort(np.concatenate(rows))]


def _refuse_large(folder):
    sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    if sum(sizes.values()) > LARGEST:
        events = sizes.get(folder / EVENTS, 0)
        raise WorkdirError(
            f"The release would have {sum(sizes.values()) / 1e6:.1f} MB, {events / 1e6:.1f} of them events; "
            f"it may have {LARGEST / 1e6:g}. Keep fewer events (--events)."
        )


def _put(part, output):
    """Moves the new folder to its place; the old one goes when the new one is there."""
    old = part.with_name(f"{part.name}.old")
    if output.exists():
        os.replace(output, old)
    os.replace(part, output)
    shutil.rmtree(old, ignore_errors=True)
