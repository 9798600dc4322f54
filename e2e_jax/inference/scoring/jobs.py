"""The jobs of scoring: consecutive events of an input, scored on the machine that runs the job."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import pathlib
from collections.abc import Iterator, Sequence

import jax
import numpy as np

import e2e_jax
from e2e_jax.errors import ClusterError, ScoreError, SourceError
from e2e_jax.events.identity import identities
from e2e_jax.events.kinds import KINDS
from e2e_jax.execution.jobs import Job
from e2e_jax.execution.keeping import Format
from e2e_jax.files import digests, npz
from e2e_jax.inference import zoo
from e2e_jax.inference.loading import load_classifier
from e2e_jax.inference.prediction import Classifier
from e2e_jax.inference.scoring import inputs
from e2e_jax.inference.scoring.inputs import Input
from e2e_jax.runs.checkpoint_files import read_about
from e2e_jax.runs.checkpoints import step_path
from e2e_jax.runs.folder import members_of, read_config
from e2e_jax.sources.opendata.skim import NEVER_SKIPPED, unreadable
from e2e_jax.sources.root.reading import Reading
from e2e_jax.study import Task
from e2e_jax.study.selection import Selection

JOB_EVENTS = 1000
"""Maximum events per job. Their hits are in memory together."""

ADDRESS = ("run", "lumi", "event")

IDENTITY, SKIPPED = "events.identity", "events.skipped"
"""Further results of a job, under names that no observable can have: `identity.identities` of the events of
ROOT files, and JSON of reason -> dropped events (or "file: reason" -> 1)."""


@dataclasses.dataclass(frozen=True)
class Model:
    """The classifier of a job.

    Attributes:
      workdir: absolute path of its folder.
      which: the checkpoint, as for `load_classifier`.
      digest: digest of the checkpoint.
      code: digest of the code and the version of JAX, see `code_digest`.
    """

    workdir: str
    which: str | int
    digest: str
    code: str

    @classmethod
    def of(cls, workdir, which: str | int = "best") -> Model:
        """The model in a folder, with this code; errors as `load_classifier`."""
        folder = zoo.folder_of(workdir).absolute()
        return cls(str(folder), which, _digest(folder, which), code_digest())

    def load(self) -> Classifier:
        """Load the classifier; a process caches the last one.

        Raises:
          WorkdirError: as `load_classifier`.
          ScoreError: the checkpoint has changed since this object was made.
          ClusterError: this machine has other code.
        """
        return _loaded(self)


@functools.lru_cache(maxsize=1)
def _loaded(model: Model) -> Classifier:
    if model.code != code_digest():
        raise ClusterError(
            "A worker has another version of e2e_jax or of JAX than the machine that asks for the scores. "
            "Install the same versions on all machines."
        )
    if _digest(model.workdir, model.which) != model.digest:
        raise ScoreError(
            f"The run in {model.workdir} saved another checkpoint while its classifier was in use. Wait for "
            "the end of the training, or name a step as --which."
        )
    return load_classifier(model.workdir, model.which)


def _digest(workdir, which: str | int) -> str:
    """Digest of the checkpoint; for an ensemble, of the checkpoints of its networks."""
    if (config := read_config(workdir)).seeds > 1:
        return digests.of_json([_digest(folder, which) for folder in members_of(workdir, config)])
    return read_about(step_path(workdir, "latest" if which == "best" else which))["sha256"]


@functools.cache
def code_digest() -> str:
    """Digest of the code of this package and the version of JAX."""
    package, code = pathlib.Path(e2e_jax.__file__).parent, hashlib.sha256(jax.__version__.encode())
    for path in sorted(path for path in package.rglob("*") if path.suffix in (".py", ".h", ".cc")):
        code.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    return code.hexdigest()


@dataclasses.dataclass(frozen=True)
class ScoreJob(Job):
    """Consecutive events of an input.

    Attributes:
      found: the input.
      first, events: the first event, counted from 0, and the number of events.
      model: the classifier.
      select: for AODSIM files, computes the observables.
      only_selected: drop the events that `select` refuses.
      on_error: one of `faults.ON_ERROR`.
    """

    found: Input
    first: int
    events: int
    model: Model
    select: Selection | None = None
    only_selected: bool = False
    on_error: str = "fail"

    def content(self) -> dict:
        """Everything that determines the result, for JSON."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields |= {name: dataclasses.asdict(fields[name]) for name in ("found", "model")}
        return fields | {"select": self.select and self.select.identity()}

    def __str__(self) -> str:
        return f"Scoring {self.events} events from entry {self.first} of {self.found.name}"


def jobs_of(
    found: Sequence[Input],
    model: Model,
    select: Selection | None,
    only_selected: bool,
    size: int,
    on_error: str = "fail",
) -> Iterator[tuple[int, ScoreJob]]:
    """Yield (index of the input, job of at most `size` events) in the order of the events."""
    for index, one in enumerate(found):
        by_selection = (select, only_selected) if one.form == inputs.AODSIM else (None, False)
        for first in range(0, one.events, size):
            count = min(size, one.events - first)
            yield index, ScoreJob(one, first, count, model, *by_selection, on_error)


def columns_of(task: Task) -> dict[str, type]:
    """The columns of the scores, name -> dtype.

    Raises:
      ScoreError: an observable has the name of another column.
    """
    columns = {"file": np.int32, "entry": np.int64, **dict.fromkeys(ADDRESS, np.int64), "label": np.int32}
    columns |= dict.fromkeys(task.columns, np.float32)
    for observable in task.observables:
        if observable.name in columns:
            raise ScoreError(
                f"The observable {observable.name!r} has the name of a column of the scores. Rename it in "
                "the study."
            )
    return columns | {observable.name: np.float32 for observable in task.observables}


def score(job: ScoreJob) -> dict[str, np.ndarray]:
    """Score a job in a worker; returns `columns_of` without "file", `SKIPPED`, and `IDENTITY` for ROOT files.

    Raises:
      As `Model.load` and `inputs.read`.
    """
    classifier, reading = job.model.load(), Reading(job.on_error)
    task = classifier.task
    unread = KINDS[task.events].unread(classifier.inputs)
    wanted = (job.found, job.first, job.events, job.select, job.only_selected, unread, reading)
    try:
        entries, events = inputs.read(*wanted)
    except SourceError as error:
        if job.on_error == "fail" or error.reason in NEVER_SKIPPED:
            raise
        empty = {name: np.zeros(0, dtype) for name, dtype in columns_of(task).items() if name != "file"}
        return empty | {SKIPPED: np.array(json.dumps({f"file: {error.reason}": 1}))}
    predictions = classifier.predict(events, invalid="nan")
    rows = {"entry": entries, **{name: getattr(events, name) for name in ADDRESS}}
    rows[SKIPPED] = np.array(json.dumps(reading.skipped))
    if job.found.form in (inputs.AODSIM, inputs.NTUPLE):
        rows[IDENTITY] = identities(events)
    # The last one is that of the label -1.
    known = [task.labels.index(name) if name in task.labels else -1 for name in job.found.labels]
    rows["label"] = np.array([*known, -1], np.int32)[events.label]
    rows |= dict(zip(task.columns, predictions.T))
    unknown = np.full(len(events), np.nan, np.float32)
    return rows | {o.name: events.observables.get(o.name, unknown) for o in task.observables}


def _read(path):
    try:
        return npz.read(path)
    except (OSError, ValueError):
        return None


def _write(path, rows):
    """Keep the scores of a job, except those of a file that could not be read."""
    if not unreadable(json.loads(str(rows[SKIPPED]))):
        npz.write(path, rows)


KEPT_AS = Format(".npz", _write, _read)
"""Storage of the scores of a job."""
