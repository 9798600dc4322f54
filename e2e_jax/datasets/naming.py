"""Lookup of the builder of a dataset by name: a built-in builder, or the builder of a user's study."""

from __future__ import annotations

import functools

from e2e_jax.datasets import builder, configs, public_configs
from e2e_jax.datasets.builder import StudyBuilder
from e2e_jax.datasets.preparation import DatasetError
from e2e_jax.studies import hgg, jets, loading, showers


class HggConfig(configs.SimulatedConfig):
    """Simulated events of H -> gamma gamma and its backgrounds."""

    STUDIES = hgg.STUDIES


class HggFiles(configs.FilesConfig):
    """H -> gamma gamma and its backgrounds, read from AODSIM files."""

    STUDIES = hgg.STUDIES


class GunConfig(configs.SimulatedConfig):
    """Showers of particle guns."""

    STUDIES = showers.STUDIES


class Crops(public_configs.CropsConfig):
    """The public crops of showers."""

    STUDIES = showers.STUDIES


class JetConfig(configs.SimulatedConfig):
    """Simulated jets."""

    STUDIES = jets.STUDIES


class JetImages(public_configs.ImagesConfig):
    """The public images of jets."""

    STUDIES = jets.STUDIES


CMS_HGG = (
    *configs.of_sizes(HggConfig, hgg.SIZES["central"], category="central"),
    *configs.of_sizes(HggConfig, hgg.SIZES["central_forward"], "forward_", category="central_forward"),
    HggFiles(
        name="opendata_central",
        train=51_200,
        validation=11_800,
        sample=63_052,
        description="The paper's central sample: its Tables 1 and 3.",
    ),
    HggFiles(
        name="opendata_central_forward",
        train=120_000,
        validation=15_600,
        sample=135_602,
        category="central_forward",
        description="The paper's central and forward sample: its Tables 1 and 3.",
    ),
    HggFiles(
        name="opendata_files",
        train=51_200,
        validation=11_800,
        own_files=True,
        description="The user's own AODSIM files.",
    ),
)

ECAL_SHOWERS = (
    *(
        config
        for category, study in showers.STUDIES.items()
        for config in configs.of_sizes(GunConfig, study.sizes, f"{category}_", category=category)
    ),
    Crops(name="crops_hdf5", description="The crops of full simulation that the authors made public."),
)

_HDF5 = (".h5", ".hdf5")

CMS_JETS = (
    *configs.of_sizes(JetConfig, jets.SIZES),
    JetImages(
        name="parquet",
        category="quark_gluon",
        endings=(".parquet",),
        description="The public images of quarks and gluons, in Parquet files.",
    ),
    JetImages(
        name="hdf5",
        category="quark_gluon",
        endings=_HDF5,
        description="The public images of quarks and gluons, in HDF5 files.",
    ),
    JetImages(
        name="tops",
        category="tops",
        endings=(".parquet", *_HDF5),
        description="The public images of boosted top quarks and other jets.",
    ),
    JetImages(
        name="tops_unlabelled",
        category="tops_unlabelled",
        endings=(".parquet", *_HDF5),
        description="Images of 8 channels without labels.",
    ),
)

BUILT_IN: dict[str, type[StudyBuilder]] = {
    "cms_hgg": builder.of("cms_hgg", CMS_HGG),
    "ecal_showers": builder.of("ecal_showers", ECAL_SHOWERS),
    "cms_jets": builder.of("cms_jets", CMS_JETS),
}


def find(name: str) -> tuple[type[StudyBuilder], str]:
    """Find the builder of a dataset, and the name of its config.

    Args:
      name: builder and config, such as "cms_hgg/quick", or study and size, such as "haa.py:quick" (the path
        of a file) or "package.haa:quick" (a module).

    Raises:
      DatasetError: the builder does not exist.
      StudyError: the study or size does not exist or cannot be used.
    """
    if study := loading.split_name(name):
        where, size = study
        return of_study(where, size), size
    builder_name, _, config_name = name.partition("/")
    if builder_name not in BUILT_IN or not config_name:
        raise unknown(name)
    return BUILT_IN[builder_name], config_name


def of_study(where: str, size: str) -> type[StudyBuilder]:
    """The builder of a user's study. The size must exist."""
    study = loading.load(where)
    study.size(size)
    if study.name in BUILT_IN:
        raise DatasetError(
            f"The study {where} has the name {study.name!r} of a built-in dataset. Rename its file, or give "
            "Study(name=...)."
        )
    return builder.of(study.name, configs.of(study))


def unknown(name: str) -> DatasetError:
    """The error about a dataset that does not exist."""
    return DatasetError(
        f"No dataset {name!r}. There are: {', '.join(names())}. A study of your own is named by its file and "
        "size, such as haa.py:quick."
    )


@functools.cache
def names() -> list[str]:
    """All built-in datasets."""
    return [f"{name}/{config}" for name, built in BUILT_IN.items() for config in built.builder_configs]
