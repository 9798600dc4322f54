"""Releases: small folders with a trained classifier, without the state for resuming, stored with the code.

`load_classifier` opens a release like the folder of a run. It contains config.json, results.json, a card,
checkpoints/ with only the best epoch's parameters, and the classifier's probabilities for a sample of events
at the time of the release. The sample is in samples/ in the parent folder: the first validation events of
each label of a dataset, shared by all releases of this dataset.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from pathlib import Path

import jax
import numpy as np

from e2e_jax.datasets.splits import Dataset
from e2e_jax.errors import WorkdirError
from e2e_jax.evaluation.selection import best_epoch
from e2e_jax.events.kinds import KINDS
from e2e_jax.execution.keeping import from_arrays, write_events
from e2e_jax.experiment import dataset_of
from e2e_jax.files import npz
from e2e_jax.files.atomic import write_whole
from e2e_jax.inference import zoo
from e2e_jax.inference.card import card
from e2e_jax.inference.loading import load_classifier
from e2e_jax.inference.prediction import Classifier
from e2e_jax.runs.checkpoints import Checkpoints, read_about
from e2e_jax.runs.folder import CHECKPOINTS, CONFIG, check_path, read_config
from e2e_jax.runs.results_files import RESULTS
from e2e_jax.study import Task

SAMPLES = "samples"
CARD = "card.md"
PROBABILITIES, FINGERPRINT = "probabilities", "fingerprint"
SCORES = f"{PROBABILITIES}.npz"
CONTENT = {CONFIG, RESULTS, CHECKPOINTS, SCORES, CARD}
LARGEST = 500_000
LARGEST_SAMPLE = 1_200_000
"""Maximum bytes of a release and of its sample; both are part of every clone of the code."""


def release(workdir, output, per_class: int = 60, dataset: Dataset | None = None) -> Path:
    """Write the release of a finished run, atomically; an earlier release is replaced.

    Args:
      workdir: folder of the run.
      output: folder to write; its name is that of the release.
      per_class: events of each label in the sample, if this dataset has no sample yet; 0 for none.
      dataset: the dataset of the training; by default the one in its config.

    Returns:
      The folder.

    Raises:
      WorkdirError: the run is not finished or evaluated, `output` contains something else, the existing
        sample is from another build of the dataset, or the release or the sample is too large.
    """
    workdir, output = Path(workdir).expanduser(), Path(output).expanduser()
    check_path(output)
    if output.exists() and (not output.is_dir() or {path.name for path in output.iterdir()} - CONTENT):
        raise WorkdirError(f"{output} is no release, so nothing in it was touched. Name another --output.")
    classifier, about, config = load_classifier(workdir), read_about(workdir), read_config(workdir)
    results, rows = _results(workdir), about["progress"]["history"]
    best = rows[best_epoch(rows, config.cvm.limit, classifier.task).index]
    events = None
    if per_class:
        events = _sample(output, config, classifier, results, per_class, dataset)

    output.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        fields = _without_folders(config.to_dict())
        write_whole(part / CONFIG, json.dumps(fields, indent=2) + "\n")
        write_whole(part / RESULTS, json.dumps(results, indent=2) + "\n")
        with Checkpoints(part, config, classifier.task, about["dataset"]) as checkpoints:
            checkpoints.save(best["step"], None, classifier.params, about["progress"])
        parameters = sum(leaf.size for leaf in jax.tree.leaves(classifier.params))
        write_whole(part / CARD, card(classifier, results, parameters, output.name))
        if events is not None:
            npz.write(part / SCORES, {PROBABILITIES: load_classifier(part).predict(events)})
        _refuse_large(part, LARGEST)
        part.chmod(0o755)
        _put(part, output)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return output


def read_events(name_or_folder):
    """The events of a release's sample, and their probabilities at the time of the release.

    Args:
      name_or_folder: as for `load_classifier`.

    Returns:
      A `Record`, and f4 `[n, classes]`.

    Raises:
      WorkdirError: the sample does not exist or cannot be read.
    """
    folder = zoo.folder_of(name_or_folder)
    path, record = _sample_path(folder, read_config(folder)), KINDS[Task(**read_about(folder)["task"]).events]
    try:
        return from_arrays(npz.read(path), record), npz.read(folder / SCORES)[PROBABILITIES]
    except FileNotFoundError as error:
        raise WorkdirError(
            f"There are no events for {folder}: {error.filename} is missing, which e2e-jax release writes."
        ) from None
    except (OSError, ValueError, KeyError) as error:
        raise WorkdirError(f"{path} cannot be read ({error}). Copy the release again.") from error


def _sample_path(folder: Path, config) -> Path:
    return folder.parent / SAMPLES / (re.sub(r"[^\w.]+", "-", config.dataset.name).strip("-") + ".npz")


def _sample(output: Path, config, classifier: Classifier, results: dict, per_class: int, dataset):
    """The sample of a release; if missing, made from the first validation events of each label."""
    path, fingerprint = _sample_path(output, config), results["dataset"].get("fingerprint", "")
    record = KINDS[classifier.task.events]
    if path.exists():
        arrays = npz.read(path)
        if (there := arrays[FINGERPRINT].tobytes().decode()) != fingerprint:
            raise WorkdirError(
                f"{path} holds events of another build of {config.dataset.name} (fingerprint {there}, here "
                f"{fingerprint}). Delete it, and release the classifiers of this dataset again."
            )
        return from_arrays(arrays, record)
    events = (dataset or dataset_of(config)).read("validation", classifier.task)
    rows = [np.flatnonzero(events.label == label)[:per_class] for label in np.unique(events.label)]
    events = events[np.sort(np.concatenate(rows))]
    write_events(path, events, **{FINGERPRINT: np.frombuffer(fingerprint.encode(), np.uint8)})
    try:
        _refuse_large(path, LARGEST_SAMPLE)
    except WorkdirError:
        path.unlink()
        raise
    return events


def _results(workdir):
    """results.json without the folders and the system of the training machine."""
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


def _refuse_large(path: Path, largest: int):
    size = sum(one.stat().st_size for one in (path, *path.rglob("*")) if one.is_file())
    if size > largest:
        what = "sample" if path.is_file() else "release"
        way = " Keep fewer events (--events)." if path.is_file() else ""
        raise WorkdirError(f"The {what} would have {size / 1e6:.2f} MB; it may have {largest / 1e6:g}.{way}")


def _put(part, output):
    """Move the new folder to its place, then delete the old one."""
    old = part.with_name(f"{part.name}.old")
    if output.exists():
        os.replace(output, old)
    os.replace(part, output)
    shutil.rmtree(old, ignore_errors=True)
