"""The configs of datasets from public files: crops of showers, images of jets."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from e2e_jax.datasets import production
from e2e_jax.datasets.configs import Config
from e2e_jax.study.samples import Gun


@dataclasses.dataclass(kw_only=True)
class CropsConfig(Config):
    """The public crops of showers, read from HDF5 files, see `sources.public.shower_files`.

    Attributes:
      files: folder with one file per particle; by default the folder given on the command line.
      on_error: "fail" ends the build at the first faulty crop; "skip" omits it and counts it in the metadata.
    """

    files: str = ""
    on_error: str = "fail"
    splits: ClassVar[tuple[str, ...]] = ("train", "validation")

    @property
    def gun(self) -> Gun:
        """The view of the crops: no digis. The particles do not come from a gun of this package."""
        return dataclasses.replace(super().gun, digis=False)

    def provenance(self) -> dict:
        """The metadata that are known before the events are read."""
        about = {name: value for name, value in self.described().items() if name in ("category", "task")}
        return {
            "origin": "HDF5 crops of full simulation",
            **about,
            "view": self.gun.view,
            "digis": False,
            "on_error": self.on_error,
            "versions": production.versions(h5py="h5py"),
        }

    def announcement(self) -> str:
        """One line that announces the build."""
        return "Reading HDF5 crops"

    def production(self, place: production.Place):
        """The reading of the files.

        Raises:
          SourceError: a file is absent or wrong.
        """
        from e2e_jax.datasets.public_production import crops_production

        return crops_production(self, place)


@dataclasses.dataclass(kw_only=True)
class ImagesConfig(Config):
    """The public images of jets, read from Parquet or HDF5 files, see `sources.public.jet_files`.

    Attributes:
      endings: of the files.
      files: their folder, or the file; by default the one given on the command line.
      on_error: "fail" ends the build at the first faulty jet; "skip" omits it and counts it in the metadata.
    """

    endings: tuple[str, ...] = ()
    files: str = ""
    on_error: str = "fail"
    splits: ClassVar[tuple[str, ...]] = ("train", "validation")

    def provenance(self) -> dict:
        """The metadata that are known before the events are read. With `files`, they list these files.

        Raises:
          SourceError: the files do not exist.
        """
        source = self.study.samples[0].source
        return {
            "origin": "public images of jets",
            **self.described(),
            "channels": list(source.channels),
            "labelled": source.labelled,
            "on_error": self.on_error,
            "versions": production.versions(h5py="h5py", pyarrow="pyarrow"),
            **({"files": self.identity(self.files)} if self.files else {}),
        }

    def identity(self, folder) -> list:
        """Names and sizes of the files in a folder."""
        from e2e_jax.sources.public import jet_files

        return jet_files.identity(jet_files.files_of(folder, self.endings))

    def announcement(self) -> str:
        """One line that announces the build."""
        return "Reading images of jets"

    def production(self, place: production.Place):
        """The reading of the files.

        Raises:
          SourceError: a file is absent or wrong.
        """
        from e2e_jax.datasets.public_production import jets_production

        return jets_production(self, place)
