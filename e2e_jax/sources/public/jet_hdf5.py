"""Images of jets in HDF5 files, for `jet_files`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import h5py

from e2e_jax.errors import SourceError
from e2e_jax.sources.public import hdf5, jet_files
from e2e_jax.sources.public.jet_files import SIDE, ImagesJob

LAST = True
"""Whether the channels are an image's last axis."""


def pieces(job: ImagesJob, piece: int) -> Iterator[tuple[tuple[int, int], int, int]]:
    """Check the datasets of a file and yield ((0, 0), first row, rows) of its jobs.

    A job reads whole chunks, so each chunk is read and decompressed once, unless the file is too short for
    `SHARE` such jobs.

    Args:
      job: a job of the file; its rows are ignored.
      piece: minimum rows of a job.
    """
    with hdf5.opened(job.path, _checked(job, storage=True)) as datasets:
        images = datasets["image"]
        step = images.chunks[0] if images.chunks else 1
        size = -(-piece // step) * step
        if size * jet_files.SHARE > len(images):
            size = max(1, len(images) // jet_files.SHARE)
        for first in range(0, len(images), size):
            yield (0, 0), first, min(size, len(images) - first)


def rows(job: ImagesJob) -> Iterator[tuple[int, Mapping]]:
    """Yield (first row, columns) of a job; "image" is `[n, 125, 125, channels]`."""
    taken = slice(job.first, job.first + job.events)
    with hdf5.opened(job.path, _checked(job)) as datasets:
        for dataset in datasets.values():
            hdf5.check_found(dataset, taken)
        columns = {
            key: dataset[taken].reshape(job.events) for key, dataset in datasets.items() if key != "image"
        }
        images = datasets["image"][taken]
    yield job.first, {**columns, "image": images}


def place(job: ImagesJob, row: int) -> str:
    """Name of a row of the file, for errors."""
    return f"Row {row}"


def _checked(job: ImagesJob, storage: bool = False):
    """Make a function of (path, open file) that returns wanted key -> dataset, with checked shapes and types.

    Args:
      job: defines the wanted keys.
      storage: also verify that all numbers are stored.
    """

    def check(path, file) -> dict[str, h5py.Dataset]:
        names = [name for name in file if isinstance(file.get(name), h5py.Dataset)]
        found = jet_files.found_columns(path, names, job.wanted)
        datasets = {key: file[name] for key, name in found.items()}
        images = datasets["image"]
        if images.shape[1:] != (SIDE, SIDE, len(job.channels)):
            raise jet_files.wrong_shape(path, f"The dataset {images.name}", images.shape[1:], job.channels)
        for key, dataset in datasets.items():
            shapes = ((len(images),), (len(images), 1)) if key != "image" else (images.shape,)
            if dataset.dtype.kind not in "fiu" or dataset.shape not in shapes:
                raise SourceError(
                    str(path),
                    "other_shape",
                    f"The dataset {dataset.name} of {path} is {dataset.dtype}{list(dataset.shape)}; it must "
                    f"hold numbers, one for each of the {len(images)} images.",
                )
        if storage:
            hdf5.check_storage(path, file, [*found.values()])
        return datasets

    return check
