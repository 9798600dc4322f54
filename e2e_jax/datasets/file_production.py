"""Datasets of events from AODSIM files."""

from __future__ import annotations

import pathlib

from e2e_jax.datasets import code_version, production
from e2e_jax.datasets.configs import FilesConfig
from e2e_jax.execution.jobs import SPLITS
from e2e_jax.sources.opendata import checking, file_lists, hits, quotas, skim
from e2e_jax.sources.root import portal
from e2e_jax.sources.root.file_contents import Content
from e2e_jax.sources.root.reading import Reading
from e2e_jax.studies import hgg
from e2e_jax.study.samples import Files


def listed_files(
    config: FilesConfig, named: pathlib.Path | None, title: str
) -> dict[str, dict[str, Content]]:
    """Label -> files of the dataset, in order -> their content as stated in the list.

    Args:
      config: the config of the dataset.
      named: folder with the lists, given on the command line.
      title: name of the dataset.

    Raises:
      SourceError: a list of files is absent or wrong.
    """
    study = config.study
    if study.from_files and not (config.files or named):
        sources: dict[str, Files] = {sample.label: sample.source for sample in study.samples}
        listed = {label: file_lists.expanded(source.paths) for label, source in sources.items()}
        return file_lists.distinct(listed)
    lists = config.folder_of_lists(named, title)
    return file_lists.files_of_labels(study.labels, lists, config.protocol)


def check_files(config: FilesConfig, title: str, checksums: bool = False) -> tuple[str, bool]:
    """Check all files that a dataset reads.

    Args:
      config: the config of the dataset.
      title: the name of the dataset.
      checksums: compare the checksums too, for which every file is read whole.

    Returns:
      a report, and whether all files can be read.

    Raises:
      SourceError: a list of files is absent or wrong, or the network fails.
    """
    files = listed_files(config, None, title)
    samples = {} if config.own_files else file_lists.SAMPLES
    pages = {label: portal.record_page(sample.record) for label, sample in samples.items()}
    seen = checking.look_at_all(files, Reading(protocol=config.protocol), checksums, progress=True)
    online = all(one.status == checking.ONLINE for some in seen.values() for one in some)
    return checking.report(seen, pages), online


class FilesProduction:
    """Reader of events from AODSIM files."""

    def __init__(self, config: FilesConfig, place: production.Place):
        study = config.study
        self._files = listed_files(config, place.lists, place.title)
        sizes = {split: getattr(config, split) for split in (*SPLITS, "sample")}
        eras = study.samples[0].eras
        self._published = eras if config.STUDIES is hgg.STUDIES else ()
        self._source = hits.OpenDataEvents(
            self._files,
            quotas.Sizes(**sizes, eras=eras if config.eras == "study" else ()),
            study.select,
            seed=config.seed,
            on_error=config.on_error,
            run=place.run,
            kept=place.kept,
            scratch=place.scratch,
            version=code_version.code_version(hits.read_hits, code_version.READING),
            title=place.title,
            protocol=config.protocol,
            strict=config.strict,
        )
        self.events = self._source.events

    def metadata(self) -> dict:
        """Counts of events that were read, skipped and used."""
        return self._source.metadata() | {"lists": file_lists.identity(self._files)}

    def write_tables(self, folder: pathlib.Path) -> None:
        """Write skim.parquet next to the dataset: the file and entry of each event.

        Prints how many events were found and used.
        """
        print(self._source.report(self._published), flush=True)
        skim.write_table(folder / "skim.parquet", self._source.table())
