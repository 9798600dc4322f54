"""Inputs of scoring: AODSIM files, flat ntuples, datasets, and the public HDF5 files of showers."""

from __future__ import annotations

import dataclasses
import glob
import os
import pathlib
from collections.abc import Iterable, Iterator

import numpy as np

from e2e_jax.datasets import finding, preparation, reading
from e2e_jax.errors import ScoreError, SourceError
from e2e_jax.events.base import Record
from e2e_jax.execution.jobs import SPLITS
from e2e_jax.experiment import SHOWERS, has_endcaps
from e2e_jax.inference.prediction import Classifier
from e2e_jax.models.preprocessing import DIGIS
from e2e_jax.sources.opendata.skim import NEVER_SKIPPED, file_state
from e2e_jax.sources.reading import of_either
from e2e_jax.sources.root import aodsim, ntuple, remote, root_files
from e2e_jax.sources.root.reading import AS_IS, Reading
from e2e_jax.study import Task
from e2e_jax.study.samples import PARTICLES
from e2e_jax.study.selection import Selection, kept

AODSIM, NTUPLE, CROPS, DATASET = "AODSIM", "flat ntuple", "HDF5", "dataset"
"""Formats of an input."""

SPLIT = "validation"
"""Default split of a dataset."""

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ENDINGS = (".root", ".hdf5", ".h5")


@dataclasses.dataclass(frozen=True)
class Input:
    """A file, or a split of a dataset.

    Attributes:
      name: name given by the user, for messages.
      form: one of the formats of this module.
      path: absolute path of the file or of the dataset's folder; or a root:// or https:// address.
      state: changes when the content does; "" for an address.
      events: number of events.
      kind: kind of the events, a key of `events.kinds.KINDS`.
      labels: names of the labels of its events; () if unknown.
      observables: observables of its events.
      split: split of a dataset.
      view: view of showers, a key of `crops.SHAPES`.
      digis: whether its showers have digis.
      endcaps: whether the endcaps were measured or simulated.
    """

    name: str
    form: str
    path: str
    state: str
    events: int
    kind: str = "collisions"
    labels: tuple[str, ...] = ()
    observables: tuple[str, ...] = ()
    split: str = ""
    view: str = ""
    digis: bool = False
    endcaps: bool = True

    def check_unchanged(self) -> None:
        """Refuse a file that was replaced in the meantime.

        Raises:
          ScoreError: its size or modification time has changed.
        """
        if self.form != DATASET and file_state(self.path) != self.state:
            raise ScoreError(f"{self.name} was changed while it was scored. Start again once it is complete.")


def find(given: Iterable[str], data_dir: str = "", reading: Reading = AS_IS) -> list[Input]:
    """Find the inputs for paths, patterns and names of datasets, in order; each must be readable.

    Args:
      given: files, patterns such as "*.root", addresses, and folders or names of datasets, with a
        split after a colon if it is not `SPLIT`.
      data_dir: folder of the datasets, for their names; that of TFDS if empty.
      reading: options for files that cannot be read.

    Raises:
      SourceError: a file cannot be read, or lacks a needed part.
      DatasetError: a dataset cannot be read.
      ScoreError: an input is given twice, or no file can be read.
      ValueError: a file or dataset does not exist.
    """
    inputs = []
    for name in given:
        if _names_file(name):
            inputs += _files(name, reading)
        else:
            inputs.append(_dataset(name, data_dir))
    if not inputs:
        reasons = ", ".join(f"{number} x {reason}" for reason, number in reading.skipped.items())
        raise ScoreError(
            f"None of the files can be read ({reasons}). Without on_error=skip the error tells why."
        )
    seen = set()
    for found in inputs:
        if (found.path, found.split) in seen:
            raise ScoreError(f"{found.name} is given twice: its events would count double. Name it once.")
        seen.add((found.path, found.split))
    return inputs


def _names_file(name: str) -> bool:
    path = os.path.expanduser(name)
    if os.path.isdir(path):
        return False
    return remote.is_remote(name) or os.path.isfile(path) or glob.has_magic(name) or name.endswith(_ENDINGS)


def _files(name: str, reading: Reading) -> Iterator[Input]:
    """The files of a path, pattern or address; drops faulty files if `reading` skips them."""
    for path in root_files.expand(name):
        try:
            yield _file(path)
        except SourceError as error:
            if reading.on_error == "fail" or error.reason in NEVER_SKIPPED:
                raise
            reading.skipped[f"file: {error.reason}"] += 1


def _file(name: str) -> Input:
    path = name if remote.is_remote(name) else os.path.realpath(os.path.expanduser(name))
    # Taken before the file is read, so that a later change is detected.
    state = file_state(path)
    if _is_hdf5(path):
        from e2e_jax.sources.public import shower_files  # imports h5py

        about = {"kind": SHOWERS, "labels": PARTICLES, "view": "crop"}
        return Input(name, CROPS, path, state, shower_files.count(path), **about)
    reader, events = of_either(path, lambda reader: (reader, reader.count_entries(path)))
    if reader is aodsim:
        return Input(name, AODSIM, path, state, events)
    return Input(name, NTUPLE, path, state, events, observables=("mass",))


def _is_hdf5(path: str) -> bool:
    if remote.is_remote(path):
        return False
    if not os.path.isfile(path):
        return not path.endswith(".root")
    with pathlib.Path(path).open("rb") as file:
        return file.read(len(_HDF5)) == _HDF5


def _dataset(name: str, data_dir: str) -> Input:
    source, _, split = name.rpartition(":")
    source, split = (source, split) if split in SPLITS else (name, SPLIT)
    folder = finding.dataset_folder(source, data_dir)
    if folder is None:
        raise ScoreError(
            f"{name} is neither a file of this machine, a root:// or https:// address, nor a dataset. Copy "
            "the file here, and name it without a split."
        )
    metadata = preparation.read_metadata(folder)
    task = Task(**metadata["task"])
    events = reading.count(folder, split)
    return Input(
        name,
        DATASET,
        str(folder.absolute()),
        metadata[preparation.FINGERPRINTS][split],
        events,
        kind=task.events,
        labels=task.labels,
        observables=tuple(observable.name for observable in task.observables),
        split=split,
        view=metadata.get("view", ""),
        digis=metadata.get("digis", False),
        endcaps=has_endcaps(metadata),
    )


def check(found: Input, classifier: Classifier, select: Selection | None) -> None:
    """Refuse an input of which the classifier cannot score any event.

    Args:
      found: the input.
      classifier: the classifier.
      select: computes the observables of AODSIM files, if any.

    Raises:
      ScoreError: names the input and what it lacks.
    """
    task, inputs = classifier.task, classifier.inputs
    if found.kind != task.events:
        raise ScoreError(
            f"{found.name} holds {found.kind}, but the classifier {classifier.name} scores {task.events}. "
            "Name other files, or the folder of another run as --workdir."
        )
    if found.view and found.view != inputs.geometry:
        raise ScoreError(
            f"{found.name} shows showers in the view {found.view!r}, but the classifier {classifier.name} "
            f"sees the view {inputs.geometry!r}. Name other files, or another --workdir."
        )
    if DIGIS in inputs.channels and found.kind == SHOWERS and not found.digis:
        raise ScoreError(
            f"{found.name} holds no digis, which the classifier {classifier.name} sees. Name a dataset with "
            "digis, or another --workdir."
        )
    if not found.endcaps and inputs.endcaps:
        raise ScoreError(
            f"{found.name} was simulated without the endcaps, which the classifier {classifier.name} sees. "
            "Name a dataset with endcaps, such as cms_hgg/forward_quick, or another --workdir."
        )
    if found.form == NTUPLE and inputs.photons:
        raise ScoreError(
            f"{found.name} is a flat ntuple and holds no photons, which the classifier {classifier.name} "
            "reads. Name AODSIM files or a dataset, or another --workdir."
        )
    have = found.observables
    if found.form == AODSIM:
        have = tuple(observable.name for observable in select.observables) if select else ()
    if missing := [name for name in inputs.needed if name not in have]:
        way = "Give the selection that computes it, such as --select=central or --select=haa.py."
        raise ScoreError(
            f"The events of {found.name} have no observable {missing[0]!r}, which the classifier "
            f"{classifier.name} reads. {way if found.form == AODSIM else 'Name other files.'}"
        )


def read(
    found: Input,
    first: int,
    count: int,
    select: Selection | None,
    only_selected: bool,
    unread: Iterable[str],
    source: Reading = AS_IS,
) -> tuple[np.ndarray, Record]:
    """Read consecutive events: their entries in the input, int64 `[n]`, and the events.

    Args:
      found: the input.
      first, count: the first event, counted from 0, and the number of events.
      select: for AODSIM files, computes the observables.
      only_selected: drop the events that `select` refuses.
      unread: collections to leave empty.
      source: how files are read.

    Raises:
      SourceError, DatasetError: the events cannot be read.
      StudyError: the selection cannot be applied.
    """
    entries = np.arange(first, first + count)
    if found.form == AODSIM:
        entries, events = aodsim.read_sound(found.path, entries, reading=source)
        if select is None:
            return entries, events
        passed, selected = kept(events, select)
        if only_selected:
            return entries[selected.mask], passed
        return entries, dataclasses.replace(events, observables=dict(selected.observables))
    if found.form == NTUPLE:
        return ntuple.read_sound(found.path, entries, source)
    if found.form == CROPS:
        from e2e_jax.sources.public import shower_files

        job = shower_files.CropsJob(found.path, first, count, on_error=source.on_error)
        showers = shower_files.read(job)
        if missing := count - len(showers):
            source.skipped["crop at fault"] += missing
        return showers.event, showers
    folder = pathlib.Path(found.path)
    rows = entries.tolist()
    return entries, reading.read_split(folder, found.split, progress=False, rows=rows, unread=tuple(unread))
