"""Location of a TFDS dataset, verification of its files, and the build of a missing dataset."""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Mapping

from e2e_jax.errors import DatasetError
from e2e_jax.files import digests

METADATA = "metadata.json"
"""The file with the metadata of a dataset."""

DIGESTS, FINGERPRINTS = "digests", "fingerprints"
"""Keys of the metadata: the digest of each data file, and the digest of the events of each split."""

DERIVED = ".e2e_jax"
"""Subfolder of a dataset for files that can be regenerated from the dataset."""


def locate(name: str, data_dir: str = "") -> pathlib.Path:
    """The folder of a dataset in the version of this code, whether or not it exists.

    Args, Raises: as `prepare_dataset`.
    """
    from e2e_jax.datasets import naming

    return _folder(*naming.find(name), data_dir)


def prepare_dataset(name: str, data_dir: str = "") -> pathlib.Path:
    """The folder of a dataset in the version of this code. A missing dataset is built.

    Args:
      name: builder and config, such as "cms_hgg/quick", or a study and its size, such as "haa.py:quick".
      data_dir: folder of the datasets; if empty, TFDS's own (`TFDS_DATA_DIR`, or `~/tensorflow_datasets`).

    Raises:
      DatasetError: the dataset does not exist, or only in another version or of another study.
      StudyError: the study cannot be used.
    """
    import tensorflow_datasets as tfds

    from e2e_jax.datasets import naming

    builder_class, config_name = naming.find(name)
    folder = _folder(builder_class, config_name, data_dir)
    config = builder_class.builder_configs.get(config_name)
    if folder.exists():
        if config is not None:
            check_study(folder, config)
        return folder

    others = sorted(p.name for p in folder.parent.glob("*") if tfds.core.utils.Version.is_valid(p.name))
    if others:
        raise DatasetError(
            f"The dataset {name!r} in {folder.parents[2]} has version {', '.join(others)}, but this code "
            f"reads and writes version {folder.name}. Build that one too, with `python -m e2e_jax.build "
            f"{name} --data_dir={folder.parents[2]}`, name another folder as config.dataset.data_dir, or use "
            "the code that wrote the dataset."
        )
    if config is None:
        raise naming.unknown(name)
    builder_class(config=config_name, data_dir=folder.parents[2]).download_and_prepare()
    return folder


def check_study(folder: pathlib.Path, config) -> None:
    """Compare a dataset with the study of its config. A changed task is written into the metadata.

    Raises:
      DatasetError: the dataset holds events of another study.
    """
    metadata, asked = read_metadata(folder), config.described()
    if "study" in asked and metadata.get("study", asked["study"]) != asked["study"]:
        differ = [part for part, value in asked["study"].items() if metadata["study"].get(part) != value]
        raise DatasetError(
            f"The dataset in {folder} was built from another state of its study: {' and '.join(differ)} "
            "differ. Remove that folder, so that it is built again, or name the size or the study otherwise."
        )
    if metadata.get("task") != asked["task"]:
        digests.write_sealed(folder / METADATA, {**metadata, "task": asked["task"]})


def _folder(builder_class, config_name: str, data_dir: str) -> pathlib.Path:
    import tensorflow_datasets as tfds

    root = pathlib.Path(data_dir or tfds.core.constants.DATA_DIR).expanduser()
    return root / builder_class.name / config_name / str(builder_class.VERSION)


def describe(name: str, data_dir: str = "") -> dict:
    """The identity of a dataset, for the results of a run. A missing dataset is built.

    Args:
      name, data_dir: as for `prepare_dataset`.

    Returns:
      The "name", "version", a "fingerprint" of the content of the files, and the metadata: origin, seed,
      versions of the software, and events by split, class and run.

    Raises:
      DatasetError: the dataset is damaged or was not written by this package.
    """
    folder = prepare_dataset(name, data_dir)
    content = digests.of_json(fingerprint(folder))[:16]
    identity = {"name": name, "version": folder.name, "fingerprint": content}
    metadata = read_metadata(folder)
    return identity | {n: value for n, value in metadata.items() if n not in (DIGESTS, FINGERPRINTS)}


def fingerprint(folder: pathlib.Path) -> dict[str, str]:
    """The SHA-256 of the events of each split with events, {"train": hex, "validation": hex, ...}.

    Builds of the same events have the same fingerprint. The bytes of their files differ, because Protocol
    Buffers order the columns of an example differently in each process.

    Every data file is compared with the digest that was written with the dataset. A file that has not changed
    since the last comparison is not read again.

    Raises:
      DatasetError: the dataset is damaged or was not written by this package.
    """
    check_files(folder)
    return read_metadata(folder)[FINGERPRINTS]


def check_files(folder: pathlib.Path) -> dict[str, dict[str, str]]:
    """Verify the content of all data files; returns split -> name -> SHA-256, in the order of the events.

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
    """The metadata of the dataset in the folder. `DIGESTS` holds the SHA-256 of each data file, by split.

    Raises:
      DatasetError: the metadata are missing, damaged, or written by another program.
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
      metadata: the other metadata of the dataset.
      folder: the folder of the data files.
      builder: the name of the dataset's builder, the prefix of the file names.
      fingerprints: the digest of the events of each split.
    """
    files = {
        split: {path.name: digests.of_file(path) for path in sorted(folder.glob(f"{builder}-{split}.*"))}
        for split in fingerprints
    }
    return digests.sealed({**metadata, DIGESTS: files, FINGERPRINTS: fingerprints})


def note_written(folder: pathlib.Path) -> None:
    """Record that the files of a dataset were just written with the digests of its metadata.

    The first use on this machine then does not verify them again.
    """
    files = read_metadata(folder)[DIGESTS]
    written = {name: digest for split in files.values() for name, digest in split.items()}
    digests.note(folder, written, derived_folders(folder))


def derived_folders(folder: pathlib.Path) -> list[pathlib.Path]:
    """Folders for data derived from a dataset: in the dataset, or in the user's cache if it is read-only."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    name = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]
    return [folder / DERIVED, cache / "e2e_jax" / "datasets" / name]


def again(folder: pathlib.Path) -> str:
    """The remedy for an unusable dataset, as a sentence."""
    return f"Remove the folder {folder} and start again: the dataset is then built anew."
