"""The configs of `ecal_showers`: what each dataset holds, and how its events come about."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterator
from typing import ClassVar

import tensorflow_datasets as tfds

from e2e_jax.datasets import code_version, production
from e2e_jax.errors import SourceError
from e2e_jax.events.showers import CLASSES, Showers
from e2e_jax.execution.jobs import SPLITS
from e2e_jax.execution.keeping import kept_as
from e2e_jax.studies import showers

GUNS = (*code_version.SIMULATION, "events/showers.py")
"""Where the code lies that may change simulated showers."""


@dataclasses.dataclass(kw_only=True)
class GunConfig(tfds.core.BuilderConfig):
    """Showers of particle guns in the fast simulation, see `sources.simulation.guns`.

    Attributes:
      train, validation: events of each class in the split.
      kind: "single", or "pair" of two photons or e+ e-.
      view: "crop" or "barrel", see `detector.crops`.
      pt: range of the particles' transverse momentum in GeV, flat; equal for a fixed one.
      max_eta: range of their abs(eta).
      pileup: mean number of collisions overlaid.
      digis: store the ten samples of the crystals.
      seed: everything random in the events derives from it.
      produce: makes the events of a task; the guns where it is None.
    """

    train: int
    validation: int
    kind: str = "single"
    view: str = "crop"
    pt: tuple[float, float] = (50.0, 50.0)
    max_eta: float = 1.4
    pileup: float = 0.0
    digis: bool | None = None
    seed: int = 2012
    produce: Callable | None = None

    def __post_init__(self):
        # The digis of crops are a classifier's input; those of a barrel would be ten times its size.
        self.digis = self.view == "crop" if self.digis is None else self.digis

    def tasks(self, split: str) -> list:
        """The tasks of "train" or "validation"."""
        from e2e_jax.sources.simulation import guns

        size = {"train": self.train, "validation": self.validation}[split]
        options = {name: getattr(self, name) for name in ("kind", "view", "max_eta", "pileup", "digis")}
        return guns.gun_tasks(size, self.seed, split, pt=tuple(self.pt), **options)

    def provenance(self) -> dict:
        """What the metadata say before anything was made."""
        gun = {name: getattr(self, name) for name in ("kind", "view", "max_eta", "pileup", "digis", "seed")}
        return {
            "origin": "fast simulation of particle guns",
            "category": "showers",
            "task": showers.TASK.to_json(),
            **gun,
            "pt": list(self.pt),
            "versions": production.versions(**({"pythia8": "pythia8mc"} if self.pileup else {})),
            "events": {
                split: {name: {"1": size} for name in CLASSES}
                for split, size in zip(SPLITS, (self.train, self.validation))
            },
        }

    def announcement(self) -> str:
        """What a build is about to do."""
        return f"Simulating {len(CLASSES) * (self.train + self.validation):,} events"

    def production(self, place: production.Place) -> production.Simulation:
        """The making of the events."""
        produce = self.produce or _guns()
        packages = ("pythia8mc",) if self.pileup else ()
        version = code_version.code_version(produce, GUNS, packages)
        return production.Simulation(self.tasks, produce, version, place, kept_as(Showers))


@dataclasses.dataclass(kw_only=True)
class FilesConfig(tfds.core.BuilderConfig):
    """The public crops, read from HDF5 files, see `sources.public.shower_files`.

    Attributes:
      files: folder with a file a particle; where it is empty, the one that the command names.
      on_error: "fail" ends the build at the first crop at fault; "skip" leaves it out, and counts it in the
        metadata.
    """

    files: str = ""
    on_error: str = "fail"
    view: ClassVar[str] = "crop"
    digis: ClassVar[bool] = False

    def provenance(self) -> dict:
        """What the metadata say before anything was read."""
        return {
            "origin": "HDF5 crops of full simulation",
            "category": "showers",
            "task": showers.TASK.to_json(),
            **{name: getattr(self, name) for name in ("view", "digis", "on_error")},
            "versions": production.versions(h5py="h5py"),
        }

    def announcement(self) -> str:
        """What a build is about to do."""
        return "Reading HDF5 crops"

    def production(self, place: production.Place) -> Reading:
        """The reading of the files.

        Raises:
          SourceError: a file is absent or wrong.
        """
        return Reading(self, place)


class Reading:
    """Reads crops of the files; nothing is kept of finished tasks, as they are read faster than written."""

    def __init__(self, config: FilesConfig, place: production.Place):
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
        tasks = shower_files.file_tasks(self._paths.values(), on_error=config.on_error)
        self._tasks, self._read, self._place = tasks, shower_files.read, place
        self._counts = {split: collections.Counter() for split in SPLITS}
        self._skipped = dict.fromkeys(SPLITS, 0)

    def events(self, split: str) -> Iterator[Showers]:
        """The events of a split, piece by piece of each file."""
        title = f"{self._place.title} {split}"
        for task, crops in self._place.run(self._tasks[split], self._read, progress=title):
            self._counts[split].update(crops.label.tolist())
            self._skipped[split] += task.events - len(crops)
            yield crops

    def metadata(self) -> dict:
        """What was read, from which files."""
        return {
            "files": {name: path.name for name, path in self._paths.items()},
            "skipped": self._skipped,
            "events": {
                split: {name: {"1": counts[label]} for label, name in enumerate(CLASSES)}
                for split, counts in self._counts.items()
            },
        }

    def write_tables(self, folder) -> None:
        """The events need no list of where they came from: theirs is the row of their file."""


_SIZES = {
    "quick": (2_000, 500, "Made in a minute on two cores."),
    "medium": (20_000, 4_000, "Where the paper's pattern shows."),
    "paper": (199_200, 49_800, "The paper's statistics, 249,000 of each class."),
}
_BARREL = {"view": "barrel", "pt": (20.0, 100.0)}

CONFIGS = (
    *(
        GunConfig(name=f"{kind}_{size}", train=train, validation=validation, description=text, **gun)
        for kind, gun in (("crops", {}), ("barrel", _BARREL), ("pairs", {"kind": "pair"} | _BARREL))
        for size, (train, validation, text) in _SIZES.items()
    ),
    FilesConfig(name="crops_hdf5", description="The crops of full simulation that the authors made public."),
)


def _guns() -> Callable:
    """The particle guns, imported when they are needed."""
    from e2e_jax.sources.simulation.guns import produce

    return produce
