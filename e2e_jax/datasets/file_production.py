"""Events of datasets that are read from files."""

from __future__ import annotations

import collections
import pathlib
from collections.abc import Iterator

from e2e_jax.datasets import code_version, production
from e2e_jax.datasets.configs import CropsConfig, FilesConfig
from e2e_jax.errors import SourceError
from e2e_jax.events.showers import Showers
from e2e_jax.execution.jobs import SPLITS
from e2e_jax.samples import Files
from e2e_jax.sources.opendata import file_lists, hits, quotas, skim


class FilesProduction:
    """Reads events from AODSIM files."""

    def __init__(self, config: FilesConfig, place: production.Place):
        study, contents = config.study, {}
        if study.from_files and not (config.files or place.lists):
            sources: dict[str, Files] = {sample.label: sample.source for sample in study.samples}
            listed = {label: file_lists.expanded(source.paths) for label, source in sources.items()}
            self._files = file_lists.distinct(listed)
        else:
            lists = config.lists(place)
            self._files = file_lists.files_of_labels(study.labels, lists)
            contents = file_lists.listed_contents(study.labels, lists)
        sizes = {split: getattr(config, split) for split in (*SPLITS, "sample")}
        eras = study.samples[0].eras if config.eras == "study" else ()
        self._source = hits.OpenDataEvents(
            self._files,
            quotas.Sizes(**sizes, eras=eras),
            study.select,
            seed=config.seed,
            on_error=config.on_error,
            run=place.run,
            kept=place.kept,
            scratch=place.scratch,
            version=code_version.code_version(hits.read_hits, code_version.READING),
            title=place.title,
            contents=contents,
        )
        self.events = self._source.events

    def metadata(self) -> dict:
        """What was read, skipped and taken."""
        return self._source.metadata() | {"lists": file_lists.identity(self._files)}

    def write_tables(self, folder: pathlib.Path) -> None:
        """Writes skim.parquet beside the dataset: which entries of which files its events are."""
        skim.write_table(folder / "skim.parquet", self._source.table())


class CropsProduction:
    """Reads crops of the files; nothing is kept of finished jobs, as they are read faster than written."""

    def __init__(self, config: CropsConfig, place: production.Place):
        from e2e_jax.sources.public import shower_files

        folder = config.files or place.lists
        if not folder:
            raise SourceError(
                "",
                "missing_file",
                f"{place.title} reads HDF5 files: name the folder with one a particle as --manual_dir=DIR of "
                "tfds build, or --files=DIR of python -m e2e_jax.build.",
            )
        self._paths = shower_files.class_files(folder)
        self._jobs = shower_files.file_jobs(self._paths.values(), on_error=config.on_error)
        self._read, self._place, self._labels = shower_files.read, place, config.study.labels
        self._counts = {split: collections.Counter() for split in config.splits}
        self._skipped = dict.fromkeys(config.splits, 0)

    def events(self, split: str) -> Iterator[Showers]:
        """The events of a split, piece by piece of each file."""
        title = f"{self._place.title} {split}"
        for job, showers in self._place.run(self._jobs[split], self._read, progress=title):
            self._counts[split].update(showers.label.tolist())
            self._skipped[split] += job.events - len(showers)
            yield showers

    def metadata(self) -> dict:
        """What was read, from which files."""
        return {
            "files": {name: path.name for name, path in self._paths.items()},
            "skipped": self._skipped,
            "events": {
                split: {name: {"1": counts[label]} for label, name in enumerate(self._labels)}
                for split, counts in self._counts.items()
            },
        }

    def write_tables(self, folder: pathlib.Path) -> None:
        """The events need no list of where they came from: theirs is the row of their file."""
