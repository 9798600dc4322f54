"""Opens HDF5 files of other authors, and verifies that the numbers read are those stored."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Sequence

import h5py

from e2e_jax.errors import SourceError


@contextlib.contextmanager
def opened(path, check: Callable):
    """Yield the result of `check(path, file)` for an HDF5 file; errors of h5py become a `SourceError`."""
    try:
        with h5py.File(path, "r") as file:
            yield check(path, file)
    except (SourceError, ModuleNotFoundError):
        raise
    except Exception as error:  # h5py raises many types of errors on damaged content
        if isinstance(error, FileNotFoundError):
            reason, what = "missing_file", "does not exist"
        elif "signature not found" in str(error):
            reason, what = "not_hdf5", "is no HDF5 file"
        elif "truncated" in str(error):
            reason, what = "truncated", "is truncated"
        else:
            reason, what = "damaged", "cannot be read"
        words = " ".join(str(error).split())[:300]
        raise SourceError(str(path), reason, f"The file {path} {what} ({words}). Fetch it again.") from error


def check_storage(path, file, names: Sequence[str]) -> None:
    """Refuse numbers that are stored in other files, not stored at all, or stored twice.

    Args:
      path: of the file, for errors.
      file: the open file.
      names: the datasets in it.

    Raises:
      SourceError: the check fails; the error names the file and the dataset.
    """
    ranges = []
    for name in names:
        dataset = file[name]
        elsewhere = isinstance(file.get(name, getlink=True), h5py.ExternalLink)
        if elsewhere or dataset.external or dataset.is_virtual:
            raise SourceError(
                str(path),
                "external_storage",
                f"The dataset {name} of {path} keeps its numbers in another file, which is not read. Copy "
                "them into one file, such as with h5repack.",
            )
        ranges += _stored(path, dataset)
    ranges.sort()
    if any(stop > start for (_, stop), (start, _) in itertools.pairwise(ranges)):
        raise SourceError(
            str(path), "damaged", f"The file {path} is damaged: two of its chunks overlap. Fetch it again."
        )


def _stored(path, dataset) -> list[tuple[int, int]]:
    """First byte of each stored part of a dataset, and the byte after its end."""
    if not dataset.chunks:
        complete = dataset.id.get_storage_size() == dataset.nbytes
        start = dataset.id.get_offset()  # None if the numbers are in the header
        ranges = [] if start is None else [(start, start + dataset.nbytes)]
    else:
        chunks = []
        dataset.id.chunk_iter(chunks.append)
        complete = sorted(chunk.chunk_offset for chunk in chunks) == _grid(dataset, slice(0, len(dataset)))
        # A chunk that was stored without compression has its full size.
        size = math.prod(dataset.chunks) * dataset.dtype.itemsize
        complete &= all(chunk.size >= size for chunk in chunks if chunk.filter_mask)
        ranges = [(chunk.byte_offset, chunk.byte_offset + chunk.size) for chunk in chunks]
    if not complete:
        raise SourceError(
            str(path),
            "truncated",
            f"The dataset {dataset.name} of {path} is not stored completely, as in a file that is damaged "
            "or whose writing was interrupted. Fetch it again.",
        )
    return ranges


def check_found(dataset, rows: slice) -> None:
    """Raise an OSError if HDF5 does not find a chunk of some rows; it would read zeros instead.

    `_stored` lists all chunks of the tree. Reading searches the tree by its keys, which may be damaged.
    """
    if dataset.chunks:
        for offset in _grid(dataset, rows):
            dataset.id.read_direct_chunk(offset)


def _grid(dataset, rows: slice) -> list[tuple[int, ...]]:
    """The offsets of the chunks that contain some rows, in order."""
    first = rows.start // dataset.chunks[0] * dataset.chunks[0]
    starts = [range(first, rows.stop, dataset.chunks[0])]
    starts += [range(0, size, step) for size, step in zip(dataset.shape[1:], dataset.chunks[1:])]
    return list(itertools.product(*starts))
