"""The configs of datasets: the number of events of a study, and whether they are simulated or read."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import ClassVar

import tensorflow_datasets as tfds

from e2e_jax.datasets import production
from e2e_jax.datasets.code_version import code_version
from e2e_jax.errors import SourceError
from e2e_jax.execution.jobs import SPLITS, Job
from e2e_jax.execution.keeping import kept_as
from e2e_jax.study import Size, Study
from e2e_jax.study.samples import Gun

SHOWERS, JETS = "showers", "jets"


@dataclasses.dataclass(kw_only=True)
class Config(tfds.core.BuilderConfig):
    """A number of events of a study.

    Attributes:
      STUDIES: category -> study.
      category: key of `STUDIES`; the first by default.
    """

    STUDIES: ClassVar[Mapping[str, Study]] = {}

    category: str = ""

    def __post_init__(self):
        self.category = self.category or next(iter(self.STUDIES))
        if self.category not in self.STUDIES:
            raise ValueError(f"No category {self.category!r}; there are {', '.join(self.STUDIES)}.")

    @property
    def study(self) -> Study:
        """The study of these events."""
        return self.STUDIES[self.category]

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have events."""
        return tuple(split for split in SPLITS if getattr(self, split))

    @property
    def gun(self) -> Gun | None:
        """The source of the first sample if it is a gun, else None. It defines how showers are stored."""
        source = self.study.samples[0].source
        return source if isinstance(source, Gun) else None

    def described(self) -> dict:
        """The metadata of the study; "task" is the `Task` as JSON."""
        study = self.study
        category = SHOWERS if study.events == SHOWERS else self.category
        about = {"category": category} if category else {}
        if self.gun:
            about |= {
                name: value for name, value in dataclasses.asdict(self.gun).items() if name != "particle"
            }
        about |= {"task": study.task.to_json(), "study": study.identity()}
        return json.loads(json.dumps(about))

    def total(self) -> int:
        """Events of all labels and splits."""
        return len(self.study.labels) * sum(getattr(self, split) for split in self.splits)


@dataclasses.dataclass(kw_only=True)
class SimulatedConfig(Config):
    """Simulated events.

    Attributes:
      train, validation, test: events per label in the split. By default the test split is as large as the
        validation split.
      fast: simulate without multi-parton interactions, see `sources.simulation`.
      seed: seed of all random numbers; by default the seed of the study.
      pileup: mean number of overlaid collisions; by default the value of each sample.
      produce: function that makes the events of a job; the fast simulation by default.
    """

    train: int
    validation: int
    test: int | None = None
    fast: bool = True
    seed: int | None = None
    pileup: float | None = None
    produce: Callable[[Job], object] | None = None

    def __post_init__(self):
        super().__post_init__()
        self.test = Size(self.train, self.validation, self.test).test
        self.seed = self.study.seed if self.seed is None else self.seed

    @property
    def study(self) -> Study:
        """The study of these events, with the requested pile-up."""
        study = self.STUDIES[self.category]
        return study if self.pileup is None else study.with_pileup(self.pileup)

    def reading(self, **fields) -> FilesConfig:
        """The config of the same size that reads files; `fields` are fields of `FilesConfig`."""
        same = {name: getattr(self, name) for name in ("name", "category", "seed", *SPLITS)}
        config_class = type("Config", (FilesConfig,), {"STUDIES": self.STUDIES})
        return config_class(**same | {"own_files": True} | fields)

    def jobs(self, split: str) -> list[Job]:
        """The simulation jobs of a split."""
        from e2e_jax.sources.simulation.jobs import simulation_jobs

        return simulation_jobs(self.study, getattr(self, split), split, seed=self.seed, fast=self.fast)

    def provenance(self) -> dict:
        """The metadata that are known before the simulation."""
        pythia = {} if self.gun and not self.gun.pileup else {"pythia8": "pythia8mc"}
        pythia |= {name: name for name in _packages(self.study)}
        return {
            "origin": "fast simulation" + (" of particle guns" if self.gun else ""),
            **self.described(),
            "seed": self.seed,
            "fast": self.fast,
            "versions": production.versions(**pythia),
            "events": {split: self._counts(split) for split in self.splits},
        }

    def _counts(self, split: str) -> dict[str, dict[str, int]]:
        """Events of each label by run number."""
        counts = {sample.label: {str(era.run): 0 for era in sample.periods} for sample in self.study.samples}
        for job in self.jobs(split):
            run = job.era.run if hasattr(job, "era") else 1
            counts[job.sample.label][str(run)] += job.events
        return counts

    def announcement(self) -> str:
        """One line that announces the build."""
        return f"Simulating {self.total():,} events"

    def production(self, place: production.Place) -> production.Simulation:
        """The simulation of the events."""
        produce = self.produce or _simulation(self.study.events)
        version = code_version(produce, packages=("pythia8mc", *_packages(self.study)))
        return production.Simulation(
            {split: self.jobs(split) for split in self.splits}, produce, version, place, kept_as(self.record)
        )

    @property
    def record(self) -> type:
        """The class of the events."""
        from e2e_jax.events.kinds import KINDS

        return KINDS[self.study.events]


@dataclasses.dataclass(kw_only=True)
class FilesConfig(Config):
    """Events of AODSIM files.

    Attributes:
      train, validation, test: events per label in the split.
      sample: events per label chosen before the split, see `quotas.Sizes`.
      eras: "study" for the era proportions of the study, "any" for events of any run.
      seed: seed of the assignment of events to splits.
      files: folder with the file lists, see `file_lists.files_of_labels`. By default the folder given on the
        command line, then the files of the study, then the published lists.
      own_files: the files are the user's. They must be given, and belong to no sample of the portal.
      on_error: "fail" ends the build at the first faulty event or file; "skip" omits it and counts it in the
        metadata by reason.
      protocol: "root" or "https", for files of the portal; "" uses the listed address.
      strict: fewer events than the sizes are an error; otherwise the splits are filled with the available
        events, see `quotas.share`.
    """

    train: int
    validation: int
    test: int = 0
    sample: int = 0
    eras: str = "study"
    seed: int = 2012
    files: str = ""
    own_files: bool = False
    on_error: str = "fail"
    protocol: str = ""
    strict: bool = False

    def __post_init__(self):
        super().__post_init__()
        if self.eras not in ("study", "any"):
            raise ValueError(f"No eras {self.eras!r}; there are 'study' (its proportions) and 'any'.")

    def provenance(self) -> dict:
        """The metadata that are known before the events are read. Reads the lists if `files` is given.

        Raises:
          SourceError: a list of files is absent or wrong.
        """
        from e2e_jax.sources.opendata import file_lists

        samples = {name: {"record": s.record, "doi": s.doi} for name, s in file_lists.SAMPLES.items()}
        origin = {"origin": "CMS Open Data (AODSIM)", "samples": samples}
        labels = self.study.labels
        lists = file_lists.identity(file_lists.files_of_labels(labels, self.files)) if self.files else None
        return {
            **({"origin": "AODSIM files of own lists"} if self.own_files else origin),
            **self.described(),
            **{name: getattr(self, name) for name in ("seed", "eras", "on_error", "protocol", "strict")},
            "sizes": {name: getattr(self, name) for name in (*SPLITS, "sample")},
            "versions": production.versions(uproot="uproot"),
            **({"lists": lists} if lists else {}),
        }

    def announcement(self) -> str:
        """One line that announces the build."""
        return f"Reading {self.total():,} events of AODSIM files"

    def production(self, place: production.Place):
        """The reading of the events.

        Raises:
          SourceError: a list of files is absent or wrong.
        """
        from e2e_jax.datasets.file_production import FilesProduction

        return FilesProduction(self, place)

    def check(self, title: str, checksums: bool = False) -> tuple[str, bool]:
        """Check all files of the lists, see `file_production.check_files`."""
        from e2e_jax.datasets.file_production import check_files

        return check_files(self, title, checksums)

    def folder_of_lists(self, named: pathlib.Path | None, title: str) -> pathlib.Path | str | None:
        """The folder with the lists; None for the published ones.

        Args:
          named: folder given on the command line.
          title: name of the dataset.

        Raises:
          SourceError: the files are the user's, and no folder is given.
        """
        lists = self.files or named
        if not lists and self.own_files:
            names = ", ".join(f"{name}.txt" for name in self.study.labels)
            raise SourceError(
                "",
                "missing_list",
                f"{title} reads files of your own: name the folder with their lists ({names}), as "
                "--files=DIR of python -m e2e_jax.build or --manual_dir=DIR of tfds build.",
            )
        return lists


def _packages(study: Study) -> tuple[str, ...]:
    """Packages, in addition to Pythia, that the simulated events depend on."""
    return ("fastjet",) if study.events == JETS else ()


def _simulation(kind: str) -> Callable[[Job], object]:
    """The function that simulates events. It is imported late, so that reading a dataset needs no Pythia."""
    from e2e_jax.sources.simulation import guns, jets, simulate

    return {"collisions": simulate.produce, SHOWERS: guns.produce, JETS: jets.produce}[kind]


def of(study: Study) -> tuple[Config, ...]:
    """The configs of all sizes of a user's study."""
    kind = FilesConfig if study.from_files else SimulatedConfig
    config_class = type("Config", (kind,), {"STUDIES": {"": study}})
    own = {"own_files": True, "seed": study.seed} if study.from_files else {}
    return of_sizes(config_class, study.sizes, **own)


def of_sizes(
    config_class: type[Config], sizes: Mapping[str, Size], prefix: str = "", **fields
) -> tuple[Config, ...]:
    """A config for each size.

    Args:
      config_class: `SimulatedConfig` or `FilesConfig`, with its studies.
      sizes: name -> size.
      prefix: prefix of the configs' names.
      **fields: other fields of the configs.
    """
    fast = issubclass(config_class, SimulatedConfig)
    return tuple(
        config_class(
            name=f"{prefix}{name}",
            description=size.description,
            **{split: getattr(size, split) for split in SPLITS},
            **({"fast": size.fast} if fast else {}),
            **fields,
        )
        for name, size in sizes.items()
    )
