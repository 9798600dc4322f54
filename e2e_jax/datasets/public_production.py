"""Datasets of events from public files: crops of showers, images of jets."""

from __future__ import annotations

import collections
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from e2e_jax.datasets import production
from e2e_jax.datasets.public_configs import CropsConfig, ImagesConfig
from e2e_jax.errors import SourceError
from e2e_jax.events.base import Record
from e2e_jax.execution.jobs import Job


class PublicProduction:
    """Reader of events from files. Finished jobs are not cached: reading them again is faster.

    Args:
      config: the config of the dataset.
      place: folders and executor of the build.
      files: metadata of the files.
      jobs: split -> jobs.
      read: function that reads the events of a job.
    """

    def __init__(
        self,
        config: CropsConfig | ImagesConfig,
        place: production.Place,
        files: Mapping | list,
        jobs: Mapping[str, Sequence[Job]],
        read: Callable,
    ):
        self._files, self._jobs, self._read, self._place = files, jobs, read, place
        self._labels = config.study.labels
        self._counts = {split: collections.Counter() for split in config.splits}
        self._skipped = dict.fromkeys(config.splits, 0)

    def events(self, split: str) -> Iterator[Record]:
        """The events of a split, in pieces of each file."""
        title = f"{self._place.title} {split}"
        for job, events in self._place.run(self._jobs[split], self._read, progress=title):
            self._counts[split].update(events.label.tolist())
            self._skipped[split] += job.events - len(events)
            yield events

    def metadata(self) -> dict:
        """The files and the counts of events."""
        labels = {name: label for label, name in enumerate(self._labels)}
        if any(counts[-1] for counts in self._counts.values()):
            labels["unlabelled"] = -1
        return {
            "files": self._files,
            "skipped": self._skipped,
            "events": {
                split: {name: {"1": counts[label]} for name, label in labels.items()}
                for split, counts in self._counts.items()
            },
        }

    def write_tables(self, folder: pathlib.Path) -> None:
        """Do nothing: the row of the file identifies an event."""


def crops_production(config: CropsConfig, place: production.Place) -> PublicProduction:
    """Read crops of showers, one file per particle."""
    from e2e_jax.sources.public import shower_files

    paths = shower_files.class_files(
        _folder(config, place, "HDF5 files: name the folder with one a particle")
    )
    jobs = shower_files.file_jobs(paths.values(), on_error=config.on_error)
    files = {name: path.name for name, path in paths.items()}
    return PublicProduction(config, place, files, jobs, shower_files.read)


def jets_production(config: ImagesConfig, place: production.Place) -> PublicProduction:
    """Read images of jets, all files of a folder."""
    from e2e_jax.sources.public import jet_files

    kinds = " or ".join(config.endings)
    paths = jet_files.files_of(_folder(config, place, f"{kinds} files: name their folder"), config.endings)
    source = config.study.samples[0].source
    like = {
        "channels": source.channels,
        "labelled": source.labelled,
        "observables": tuple(observable.name for observable in config.study.task.observables),
    }
    jobs = jet_files.file_jobs(paths, like, config.on_error)
    return PublicProduction(config, place, jet_files.identity(paths), jobs, jet_files.read)


def _folder(config: CropsConfig | ImagesConfig, place: production.Place, what: str):
    """The folder with the files, from the config or the command line."""
    if folder := config.files or place.lists:
        return folder
    raise SourceError(
        "",
        "missing_file",
        f"{place.title} reads {what} as --files=DIR of python -m e2e_jax.build or of python -m e2e_jax.main, "
        "or as --manual_dir=DIR of tfds build.",
    )
