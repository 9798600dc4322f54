"""Where a TFDS dataset lies, whether its files are those that were written; builds it where it is missing."""

from __future__ import annotations

import hashlib
import importlib
import os
import pathlib
from collections.abc import Mapping

from e2e_jax.errors import DatasetError
from e2e_jax.execution.jobs import SPLITS
from e2e_jax.files import digests

BUILDERS = {
    "cms_hgg": "data_builders.cms_hgg.cms_hgg_dataset_builder",
    "ecal_showers": "data_builders.ecal_showers.ecal_showers_dataset_builder",
}
"""Datasets that are built when they are missing: name -> module with its `Builder`."""

METADATA = "metadata.json"
"""The file with the metadata of a dataset."""

DIGESTS, FINGERPRINTS = "digests", "fingerprints"
"""Keys of the metadata: the digest of each data file, and that of the events of each split."""

DERIVED = ".e2e_jax"
"""Folder within a dataset's for what can be made again from the dataset at any time."""


def prepare_dataset(name: str, data_dir: str = "") -> pathlib.Path:
    """The folder of a dataset of the version the code writes; builds it where there is none.

    Args:
      name: builder and config, such as "cms_hgg/quick".
      data_dir: folder of the datasets; TFDS's own (`TFDS_DATA_DIR`, or `~/tensorflow_datasets`)
        where it is empty.

    Raises:
      DatasetError: there is no such dataset, or only one of another version.
    """
    import tensorflow_datasets as tfds

    builder_name, _, config_name = name.partition("/")
    if builder_name not in BUILDERS or not config_name:
        raise DatasetError(f"No dataset {name!r}. There are: {', '.join(_known_names())}.")
    module = importlib.import_module(BUILDERS[builder_name])
    root = pathlib.Path(data_dir or tfds.core.constants.DATA_DIR).expanduser()
    configs, version = module.Builder.builder_configs, str(module.Builder.VERSION)
    folder = root / builder_name / config_name / version
    if folder.exists():
        return folder

    command = f"`tfds build data_builders/{builder_name} --config={config_name} --data_dir={root}`"
    others = sorted(p.name for p in folder.parent.glob("*") if tfds.core.utils.Version.is_valid(p.name))
    if others:
        raise DatasetError(
            f"The dataset {name!r} in {root} has version {', '.join(others)}, but this code reads and writes "
            f"version {version}. Build that one beside it with {command}, name another folder as "
            "config.dataset.data_dir, or use the code that wrote the dataset."
        )
    if config_name not in configs:
        raise DatasetError(
            f"No dataset {name!r}, neither known nor in {root}. There are: {', '.join(_known_names())}."
        )
    module.Builder(config=config_name, data_dir=root).download_and_prepare()
    return folder


def describe(name: str, data_dir: str = "") -> dict:
    """What identifies a dataset, for a run's results; builds it where there is none.

    Args:
      name, data_dir: as for `prepare_dataset`.

    Returns:
      Its "name", "version", a "fingerprint" of its files' content, and its metadata: origin, seed,
      versions of what made it, and events by split, class and run.

    Raises:
      DatasetError: the dataset is damaged or was not written by this package.
    """
    folder = prepare_dataset(name, data_dir)
    content = digests.of_json(fingerprint(folder))[:16]
    identity = {"name": name, "version": folder.name, "fingerprint": content}
    metadata = read_metadata(folder)
    return identity | {n: value for n, value in metadata.items() if n not in (DIGESTS, FINGERPRINTS)}


def fingerprint(folder: pathlib.Path) -> dict[str, str]:
    """The SHA-256 of the events of each split, {"train": hex, "validation": hex}.

    It is the same for each build of the same events; the bytes of the files are not, because Protocol Buffers
    order the columns of an example differently in each process.

    Every data file is compared with the digest that was written with the dataset. A file that has not changed
    since it was last compared is not read again.

    Raises:
      DatasetError: the dataset is damaged or was not written by this package.
    """
    check_files(folder)
    return read_metadata(folder)[FINGERPRINTS]


def check_files(folder: pathlib.Path) -> dict[str, dict[str, str]]:
    """Verifies the content of all data files; gives split -> name -> SHA-256, in the order of the events.

    Raises:
      DatasetError: a file is missing, or its content changed since the dataset was written.
    """
    files = read_metadata(folder)[DIGESTS]
    if not (folder / "dataset_info.json").exists():
        raise DatasetError(
            f"The dataset in {folder} is half-written: it has no dataset_info.json. {again(folder)}"
        )
    expected = {name: digest for split in files.values() for name, digest in split.items()}
    if not (wrong := digests.changed(folder, expected, derived_folders(folder))):
        return files
    if missing := [name for name in wrong if not (folder / name).exists()]:
        raise DatasetError(
            f"The dataset in {folder} is half-written: {', '.join(missing)} is missing. {again(folder)}"
        )
    raise DatasetError(
        f"The dataset in {folder} is damaged: the content of {', '.join(wrong)} is not what was written. "
        f"{again(folder)}"
    )


def read_metadata(folder: pathlib.Path) -> dict:
    """The metadata of the dataset in the folder; under `DIGESTS` the SHA-256 of each data file, by split.

    Raises:
      DatasetError: the dataset has no metadata, they are damaged, or another program wrote them.
    """
    path = folder / METADATA
    if not path.exists():
        raise DatasetError(f"The dataset in {folder} is half-written: it has no {METADATA}. {again(folder)}")
    metadata = digests.read_sealed(path)
    if metadata is None or not {DIGESTS, FINGERPRINTS} <= metadata.keys():
        raise DatasetError(
            f"The file {path} is damaged, or was not written by this version of e2e_jax. {again(folder)}"
        )
    return metadata


def sealed_metadata(
    metadata: Mapping, folder: pathlib.Path, builder: str, fingerprints: Mapping[str, str]
) -> dict:
    """The metadata of a dataset whose data files were just written, with the digests of files and events.

    Args:
      metadata: what else is known of the dataset.
      folder: where the data files are.
      builder: the name of the dataset's builder, with which the names of the files begin.
      fingerprints: the digest of the events of each split.
    """
    files = {
        split: {path.name: digests.of_file(path) for path in sorted(folder.glob(f"{builder}-{split}.*"))}
        for split in SPLITS
    }
    return digests.sealed({**metadata, DIGESTS: files, FINGERPRINTS: fingerprints})


def derived_folders(folder: pathlib.Path) -> list[pathlib.Path]:
    """Where data derived from a dataset may lie: its own folder, or the user's cache if that is read-only."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    name = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]
    return [folder / DERIVED, cache / "e2e_jax" / "datasets" / name]


def _known_names() -> list[str]:
    builders = {name: importlib.import_module(module).Builder for name, module in BUILDERS.items()}
    return [f"{name}/{config}" for name, builder in builders.items() for config in builder.builder_configs]


def again(folder: pathlib.Path) -> str:
    """The way out where a dataset cannot be used."""
    return f"Remove the folder {folder} and start again: the dataset is then built anew."
