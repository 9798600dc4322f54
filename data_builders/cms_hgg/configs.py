"""The configs of `cms_hgg`: what each dataset holds, and how its events come about."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable

import tensorflow_datasets as tfds

from e2e_jax.datasets import code_version, production
from e2e_jax.errors import SourceError
from e2e_jax.events.diphotons import CLASSES, Events
from e2e_jax.execution.jobs import SPLITS, SimulationTask, simulation_tasks
from e2e_jax.sources.selection import ERAS


@dataclasses.dataclass(kw_only=True)
class HggConfig(tfds.core.BuilderConfig):
    """Simulated events.

    Attributes:
      train, validation: events of each class in the split.
      fast: simulate without multi-parton interactions, see `sources.simulation`.
      category: where the photons may lie, a key of `sources.selection.FIDUCIAL`; the endcaps are
        simulated in all but "central".
      seed: everything random in the events derives from it.
      produce: makes the events of a task; the fast simulation where it is None.
    """

    train: int
    validation: int
    fast: bool = True
    category: str = "central"
    seed: int = 2012
    produce: Callable[[SimulationTask], Events] | None = None

    def tasks(self, split: str) -> list[SimulationTask]:
        """The simulation tasks of "train" or "validation"."""
        size = {"train": self.train, "validation": self.validation}[split]
        return simulation_tasks(size, self.seed, split, fast=self.fast, category=self.category)

    def provenance(self) -> dict:
        """What the metadata say before anything was made."""
        return {
            "origin": "fast simulation",
            "seed": self.seed,
            "fast": self.fast,
            "category": self.category,
            "versions": production.versions(pythia8="pythia8mc"),
            "events": {split: _counts(self.tasks(split)) for split in SPLITS},
        }

    def announcement(self) -> str:
        """What a build is about to do."""
        return f"Simulating {len(CLASSES) * (self.train + self.validation):,} events"

    def production(self, place: production.Place) -> production.Simulation:
        """The making of the events."""
        produce = self.produce or _simulation()
        version = code_version.code_version(produce, packages=("pythia8mc",))
        return production.Simulation(self.tasks, produce, version, place)


@dataclasses.dataclass(kw_only=True)
class OpenDataConfig(tfds.core.BuilderConfig):
    """Events of the CMS Open Data, read from AODSIM files.

    Attributes:
      train, validation: events of each class in the split.
      sample: events of each class chosen before the split, see `quotas.Sizes`.
      category: "central" or "central_forward", see `sources.selection`.
      eras: "paper" for the proportions of its Table 1, "any" for events of whatever run.
      seed: fixes which event goes to which split.
      lists: folder with the file lists, see `file_lists.class_files`; where it is empty, the folder
        that the command names, or else the published lists of the paper's samples.
      own_files: the lists are the user's: they must be given, and stand for no sample of the portal.
      on_error: "fail" ends the build at the first fault in the data; "skip" leaves out the event or the
        file, takes the next, and counts it in the metadata by reason.
      protocol: "root" or "https", for files of the portal; "" takes the address that is listed.
      strict: fewer events than the sizes are an error; otherwise the splits are filled as far as the data
        reach, see `quotas.share`.
    """

    train: int
    validation: int
    sample: int = 0
    category: str = "central"
    eras: str = "paper"
    seed: int = 2012
    lists: str = ""
    own_files: bool = False
    on_error: str = "fail"
    protocol: str = ""
    strict: bool = False

    def provenance(self) -> dict:
        """What the metadata say before anything was read; where `lists` is given, it reads those.

        Raises:
          SourceError: a list of files is absent or wrong.
        """
        from e2e_jax.sources.opendata import file_lists

        samples = {name: {"record": s.record, "doi": s.doi} for name, s in file_lists.SAMPLES.items()}
        origin = {"origin": "CMS Open Data (AODSIM)", "samples": samples}
        return {
            **({"origin": "AODSIM files of own lists"} if self.own_files else origin),
            **{name: getattr(self, name) for name in ("seed", "category", "eras", "on_error")},
            "sizes": {name: getattr(self, name) for name in ("train", "validation", "sample")},
            "versions": production.versions(uproot="uproot"),
            **(
                {"lists": file_lists.identity(file_lists.class_files(self.lists, CLASSES))}
                if self.lists
                else {}
            ),
        }

    def announcement(self) -> str:
        """What a build is about to do."""
        return f"Reading {len(CLASSES) * (self.train + self.validation):,} events of AODSIM files"

    def folder_of_lists(self, named: pathlib.Path | None, title: str) -> pathlib.Path | str | None:
        """The folder of the lists, None for the published ones.

        Args:
          named: folder that the command names.
          title: name of the dataset.

        Raises:
          SourceError: the files are the user's, and no folder is named.
        """
        lists = self.lists or named
        if lists is None and self.own_files:
            names = ", ".join(f"{name}.txt" for name in CLASSES)
            raise SourceError(
                "",
                "missing_list",
                f"{title} reads files of your own: name the folder with their lists ({names}), as "
                "--lists=DIR of python -m e2e_jax.build or --manual_dir=DIR of tfds build.",
            )
        return lists

    def check(self, checksums: bool = False) -> tuple[str, bool]:
        """Looks at all files of the lists.

        Args:
          checksums: compare the checksums too, for which every file is read whole.

        Returns:
          a report, and whether all files can be read.

        Raises:
          SourceError: a list of files is absent or wrong, or the network fails.
        """
        from e2e_jax.sources.opendata import checking, file_lists
        from e2e_jax.sources.root import portal, reading

        lists = self.folder_of_lists(None, f"cms_hgg/{self.name}")
        files = file_lists.class_files(lists, CLASSES, self.protocol)
        pages = {name: portal.record_page(sample.record) for name, sample in file_lists.SAMPLES.items()}
        seen = checking.look_at_all(files, reading.Reading(protocol=self.protocol), checksums, progress=True)
        online = all(one.status == checking.ONLINE for some in seen.values() for one in some)
        return checking.report(seen, pages), online

    def production(self, place: production.Place) -> Reading:
        """The reading of the events.

        Raises:
          SourceError: a list of files is absent or wrong.
        """
        return Reading(self, place)


class Reading:
    """Reads events from AODSIM files."""

    def __init__(self, config: OpenDataConfig, place: production.Place):
        # Only who reads AODSIM needs uproot.
        from e2e_jax.sources.opendata import file_lists, hits, quotas

        lists = config.folder_of_lists(place.lists, place.title)
        self._files = file_lists.class_files(lists, CLASSES, config.protocol)
        sizes = {field.name: getattr(config, field.name) for field in dataclasses.fields(quotas.Sizes)}
        self._source = hits.OpenDataEvents(
            self._files,
            quotas.Sizes(**sizes),
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
        """What was read, skipped and taken."""
        from e2e_jax.sources.opendata import file_lists

        return self._source.metadata() | {"lists": file_lists.identity(self._files)}

    def write_tables(self, folder: pathlib.Path) -> None:
        """Writes skim.parquet beside the dataset: which entries of which files its events are.

        Prints what was found and used.
        """
        from e2e_jax.sources.opendata import skim

        print(self._source.report(), flush=True)
        skim.write_table(folder / "skim.parquet", self._source.table())


CONFIGS = (
    HggConfig(name="quick", train=2_000, validation=600, description="Made in minutes on two cores."),
    HggConfig(name="medium", train=15_000, validation=3_000, description="Where the paper's pattern shows."),
    HggConfig(
        name="paper", train=51_200, validation=11_800, fast=False, description="The paper's statistics."
    ),
    HggConfig(
        name="forward_quick",
        train=2_000,
        validation=600,
        category="central_forward",
        description="The whole detector, made in minutes on two cores.",
    ),
    HggConfig(
        name="forward_medium",
        train=15_000,
        validation=3_000,
        category="central_forward",
        description="The whole detector, where the paper's pattern shows.",
    ),
    HggConfig(
        name="forward_paper",
        train=120_000,
        validation=15_600,
        fast=False,
        category="central_forward",
        description="The whole detector, the paper's statistics.",
    ),
    OpenDataConfig(
        name="opendata_central",
        train=51_200,
        validation=11_800,
        sample=63_052,
        description="The paper's central sample: its Tables 1 and 3.",
    ),
    OpenDataConfig(
        name="opendata_central_forward",
        train=120_000,
        validation=15_600,
        sample=135_602,
        category="central_forward",
        description="The paper's central and forward sample: its Tables 1 and 3.",
    ),
    OpenDataConfig(
        name="opendata_files",
        train=51_200,
        validation=11_800,
        own_files=True,
        description="The user's own AODSIM files.",
    ),
)


def _simulation() -> Callable[[SimulationTask], Events]:
    """The fast simulation, imported when it is needed: reading a dataset needs no Pythia."""
    from e2e_jax.sources.simulation.simulate import produce

    return produce


def _counts(tasks: list[SimulationTask]) -> dict[str, dict[str, int]]:
    """Events of each class by run number: what the metadata says of a split."""
    counts = {name: {str(era.run): 0 for era in ERAS} for name in CLASSES}
    for task in tasks:
        counts[CLASSES[task.label]][str(ERAS[task.era].run)] += task.events
    return counts
