"""Scores files of events with a classifier and writes one file of scores, atomically."""

from __future__ import annotations

import concurrent.futures
import contextlib
import glob
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from e2e_jax import __version__
from e2e_jax.datasets import naming
from e2e_jax.errors import DatasetError, ScoreError, SourceError, StudyError
from e2e_jax.events.identity import SeenEvents
from e2e_jax.execution.jobs import JobError, run_jobs
from e2e_jax.files import atomic, locks
from e2e_jax.inference.scoring import inputs, jobs, output
from e2e_jax.runs.folder import read_config
from e2e_jax.sources.root.reading import Reading
from e2e_jax.studies import loading
from e2e_jax.studies.hgg import SELECTIONS
from e2e_jax.study.selection import Selection

AT_ONCE = 2
"""Jobs that run at the same time in this process: one reads while the other one computes."""


class Scored(NamedTuple):
    """Summary of a file of scores.

    Attributes:
      path: the file.
      events: number of rows.
      invalid: number of rows whose predictions are NaN.
      columns: names of the predictions.
      skipped: reason -> dropped events, "file: reason" -> dropped files.
    """

    path: Path
    events: int
    invalid: int
    columns: tuple[str, ...]
    skipped: Mapping[str, int]


def score(
    workdir,
    given: Iterable[str],
    path,
    *,
    which: str | int = "best",
    select: str = "",
    on_error: str = "fail",
    data_dir: str = "",
    executor: concurrent.futures.Executor | None = None,
    job_events: int = jobs.JOB_EVENTS,
    progress: bool = True,
) -> Scored:
    """Write the predictions and observables of all events of some files.

    Scores are kept in the folder `.<name>.parts` next to the file until the file is written, so the same call
    continues after an interruption. An earlier file is replaced when the new one is complete.

    Args:
      workdir: folder of the run, or of a release.
      given: the inputs, see `inputs.find`.
      path: the file to write; its ending is one of `output.WRITERS`.
      which: the checkpoint, as for `load_classifier`.
      select: for AODSIM files, score only the events that pass this selection: a key of
        `studies.hgg.SELECTIONS`, or the file or module of a study. By default all events, with the
        observables of the selection of the run's study.
      on_error: "fail" raises an error at the first fault of a file, or repeated event; "skip" drops such
        events and files and counts them, here and in the description of the columns.
      data_dir: folder of the datasets, for their names.
      executor: where to run; by default in this process, on its devices.
      job_events: maximum events per job, whose hits are in memory together.
      progress: whether to show a progress bar.

    Raises:
      ScoreError: the output cannot be written, or the classifier cannot score an input.
      SourceError, DatasetError, StudyError, WorkdirError: an input, the selection or the run cannot be read.
      JobError: a worker died or failed.
    """
    path = Path(path).expanduser()
    _check_output(path)
    model = jobs.Model.of(workdir, which)
    classifier = model.load()
    reading = Reading(on_error)
    found = inputs.find(given, data_dir, reading)
    if any(os.path.realpath(path) == one.path for one in found):
        raise ScoreError(f"{path} is one of the files to score. Name another file as --output.")
    selection = _selection(model.workdir, select) if any(one.form == inputs.AODSIM for one in found) else None
    if select and selection is None:
        raise ScoreError(
            f"--select={select} is for AODSIM files, and none of the files is one. Leave it out."
        )
    for one in found:
        inputs.check(one, classifier, selection)
    columns, counts = jobs.columns_of(classifier.task), Counter()
    about = _about(classifier, model, found) | {"skipped": reading.skipped}
    todo = list(jobs.jobs_of(found, model, selection, bool(select), job_events, on_error))
    with contextlib.ExitStack() as stack:
        parts = stack.enter_context(_kept(path))
        if executor is None:
            executor = concurrent.futures.ThreadPoolExecutor(AT_ONCE, "score")
            stack.callback(executor.shutdown, wait=True, cancel_futures=True)
        options = {"progress": "scoring" if progress else False, "kept_as": jobs.KEPT_AS}
        results = run_jobs([job for _, job in todo], jobs.score, executor, cache_dir=parts, **options)
        indices, predicted = [index for index, _ in todo], classifier.columns[0]
        rows = _rows(results, indices, found, reading, predicted, counts)
        stack.enter_context(contextlib.closing(rows))
        _write(path, columns, about, rows)
    return Scored(path, counts["events"], counts["invalid"], classifier.columns, dict(reading.skipped))


def _check_output(path: Path) -> None:
    if path.suffix not in output.WRITERS:
        raise ScoreError(
            f"{path} has no known ending: name a file that ends in {' or '.join(output.WRITERS)}."
        )
    if not path.parent.is_dir():
        raise ScoreError(f"{path} cannot be written: there is no folder {path.parent}. Make it first.")
    if path.exists() and not path.is_file():
        raise ScoreError(f"{path} exists and is no file. Name another file as --output.")


def _selection(workdir, select: str) -> Selection | None:
    """The named selection, or that of the run's study; None if this study cannot be found."""
    if select in SELECTIONS:
        return SELECTIONS[select]
    if select:
        if not (select.endswith(".py") or "." in select):
            known = ", ".join(SELECTIONS)
            raise ScoreError(
                f"No selection {select!r}; there are {known}, and those of studies such as haa.py."
            )
        return loading.load(select).select
    try:
        builder, size = naming.find(read_config(workdir).dataset.name)
        config = builder.builder_configs.get(size)
        return config and config.study.select
    except (DatasetError, StudyError):
        return None


def _about(classifier, model: jobs.Model, found: list[inputs.Input]) -> dict:
    """Description of the columns, for JSON."""
    task = classifier.task
    return {
        "e2e_jax": __version__,
        "classifier": classifier.name,
        "checkpoint": model.digest,
        "files": [one.name for one in found],
        "labels": list(task.labels),
        "classes": list(task.names),
        "targets": list(task.targets),
        "observables": {o.name: {"unit": o.unit, "title": o.title} for o in task.observables},
    }


@contextlib.contextmanager
def _kept(path: Path) -> Iterator[Path]:
    """Yield the folder of kept scores, locked by this process; removes it after success."""
    folder = path.with_name(f".{path.name}.parts")
    try:
        with locks.locked(folder / "lock"):
            for left in path.parent.glob(f".{glob.escape(path.name)}.*{atomic.PART}"):
                left.unlink()
            yield folder
            shutil.rmtree(folder, ignore_errors=True)
    except locks.LockedError as error:
        raise ScoreError(
            f"{path} is being written by {error.owner}. Wait for it, or name another --output."
        ) from None
    except OSError as error:
        raise ScoreError(
            f"{path} cannot be written ({error.strerror or error}). Free space in {path.parent}, or make it "
            "writable, and run the same command again: it continues where it stopped."
        ) from error


def _rows(
    results,
    indices: list[int],
    found: Sequence[inputs.Input],
    reading: Reading,
    predicted: str,
    counts: Counter,
) -> Iterator[output.Rows]:
    """The rows of each job with the index of its file, without repeated events.

    Counts rows, and those with NaN in the column `predicted`.
    """
    seen, bad_files, names = SeenEvents(), set(), [one.name for one in found]
    try:
        for index, (job, rows) in zip(indices, results):
            job.found.check_unchanged()
            for reason, number in json.loads(str(rows.pop(jobs.SKIPPED))).items():
                # A file counts once, for any number of jobs that read it.
                if not reason.startswith("file: ") or (index, reason) not in bad_files:
                    reading.skipped[reason] += number
                    bad_files.add((index, reason))
            if (identity := rows.pop(jobs.IDENTITY, None)) is not None:
                first = seen.first_source(identity, index)
                reading.repeated(names[index], rows, first, names)
                rows = {name: values[first < 0] for name, values in rows.items()}
            scores = rows[predicted]
            counts.update(events=len(scores), invalid=int(np.isnan(scores).sum()))
            yield {"file": np.full(len(scores), index, np.int32), **rows}
    except JobError as error:
        if isinstance(error.__cause__, (SourceError, DatasetError, ScoreError)):
            raise error.__cause__ from error
        raise
    finally:
        results.close()


def _write(path: Path, columns, about, parts: Iterator[output.Rows]) -> None:
    with atomic.replacing(path) as part, output.WRITERS[path.suffix](part, columns, about) as write:
        for rows in output.grouped(parts):
            write({name: rows[name] for name in columns})
