"""Lookup of a built dataset by its folder or name."""

from __future__ import annotations

import pathlib

from e2e_jax.datasets import naming, preparation


def dataset_folder(source: str, data_dir: str = "") -> pathlib.Path | None:
    """The folder of a dataset's newest version; None for a file.

    Args:
      source: a file, an address, the folder of a dataset, or the name of a dataset.
      data_dir: folder of the datasets, used with a name; if empty, TFDS's own.

    Raises:
      ValueError: the file or dataset does not exist, or the folder holds several datasets.
    """
    path = pathlib.Path(source).expanduser()
    if path.is_file() or "://" in source:
        return None
    if not path.is_dir():
        import tensorflow_datasets as tfds

        root = pathlib.Path(data_dir or tfds.core.constants.DATA_DIR).expanduser()
        path = root / source
        if ":" in source:
            path = preparation.locate(source, data_dir)
        if not path.is_dir() or (":" not in source and source.partition("/")[0] not in naming.BUILT_IN):
            builds = ", ".join(f"{name}/CONFIG" for name in naming.BUILT_IN)
            raise ValueError(
                f"There is no file and no folder {source}, and no dataset of this name ({builds}) in {root}. "
                "Name a ROOT file, the folder of a TFDS dataset, or a dataset that was built there."
            )
    found = sorted(path.glob("**/dataset_info.json"), key=lambda info: _version(info.parent.name))
    if not found:
        raise ValueError(f"The folder {path} holds no TFDS dataset: there is no dataset_info.json in it.")
    if len({info.parent.parent for info in found}) > 1:
        names = ", ".join(sorted({str(info.parent.parent.relative_to(path)) for info in found}))
        raise ValueError(f"The folder {path} holds several datasets. Name one of them: {names}.")
    return found[-1].parent


def _version(name: str) -> tuple[int, ...]:
    parts = name.split(".")
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else ()
