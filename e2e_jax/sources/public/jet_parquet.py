"""Images of jets in Parquet files, for `jet_files`."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from e2e_jax.errors import SourceError
from e2e_jax.sources.public import jet_files
from e2e_jax.sources.public.jet_files import SIDE, TOGETHER, ImagesJob

LAST = False
"""Whether the channels are an image's last axis."""


@functools.lru_cache(maxsize=1)
def _opened(state) -> tuple[pq.ParquetFile, np.ndarray]:
    """A file, and the first row of each row group, followed by the number of rows.

    The result is cached: the footer of a file with one jet per row group takes as long to read as hundreds
    of jets.
    """
    path = state[0]
    with _reading(path):
        file = pq.ParquetFile(path, memory_map=True)
        groups = file.metadata.num_row_groups
        rows = [file.metadata.row_group(group).num_rows for group in range(groups)]
    return file, np.concatenate([[0], np.cumsum(rows, dtype=np.int64)])


def pieces(job: ImagesJob, piece: int) -> Iterator[tuple[tuple[int, int], int, int]]:
    """Check the columns of a file and yield (row groups, first row, rows) of its jobs.

    Args:
      job: a job of the file; its row groups are ignored.
      piece: minimum rows of a job, if row groups are smaller and the file is large enough for `SHARE` jobs.
    """
    file, starts = _opened(jet_files.state(job.path))
    _columns(job, file)
    piece = min(piece, max(1, int(starts[-1]) // jet_files.SHARE))
    group = 0
    while group < len(starts) - 1:
        # Whole row groups, until there are `piece` rows.
        end = int(np.searchsorted(starts, starts[group] + piece, side="left"))
        end = min(max(end, group + 1), len(starts) - 1)
        if rows := int(starts[end] - starts[group]):
            yield (group, end), int(starts[group]), rows
        group = end


def rows(job: ImagesJob) -> Iterator[tuple[int, Mapping]]:
    """Yield (first row, columns) of a job piece by piece; "image" is `[n, channels, 125, 125]`."""
    file, _ = _opened(jet_files.state(job.path))
    columns = _columns(job, file)
    first = job.first
    with _reading(job.path, job):
        batches = file.iter_batches(TOGETHER, range(*job.groups), [*columns.values()], use_threads=False)
        for batch in batches:
            taken = {key: batch.column(batch.schema.names.index(name)) for key, name in columns.items()}
            made = {key: _filled(values) for key, values in taken.items() if key != "image"}
            made["image"] = _images(job, first, taken["image"])
            yield first, made
            first += len(batch)
    if first != job.first + job.events:
        raise _damaged(job.path, job, f"{first - job.first} of {job.events} rows")


def place(job: ImagesJob, row: int) -> str:
    """Name of a row of the file, for errors."""
    _, starts = _opened(jet_files.state(job.path))
    group = int(np.searchsorted(starts, row, side="right")) - 1
    inside = f", row {row - starts[group]}" if starts[group + 1] - starts[group] > 1 else ""
    return f"Row group {group}{inside}"


def _columns(job: ImagesJob, file: pq.ParquetFile) -> dict[str, str]:
    """Wanted key -> its column; checks the types."""
    schema = file.schema_arrow
    found = jet_files.found_columns(job.path, schema.names, job.wanted)
    for key, name in found.items():
        depth, kind = 0, schema.field(name).type
        while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
            depth, kind = depth + 1, kind.value_type
        if depth != (3 if key == "image" else 0) or not (
            pa.types.is_floating(kind) or pa.types.is_integer(kind)
        ):
            raise SourceError(
                job.path,
                "other_shape",
                f"The column {name} of {job.path} has the type {schema.field(name).type}; it must hold "
                f"{'images, lists of lists of lists of numbers' if key == 'image' else 'numbers'}.",
            )
    return found


def _images(job: ImagesJob, first: int, column) -> np.ndarray:
    """Images `[n, channels, 125, 125]` of a column of lists; checks their shapes."""
    n, values = len(column), column
    for size in (len(job.channels), SIDE, SIDE):
        lengths = values.value_lengths().to_numpy(zero_copy_only=False)
        wrong = np.flatnonzero(~(lengths == size))
        if wrong.size or values.null_count:
            row = int(wrong[0]) * n // max(len(values), 1) if wrong.size else 0
            raise jet_files.wrong_shape(
                job.path, place(job, first + row), _shape(column[row].as_py()), job.channels
            )
        values = values.flatten()
    return _filled(values).reshape(n, len(job.channels), SIDE, SIDE)


def _shape(image) -> list:
    """The lengths of nested lists, along their first entries."""
    shape = []
    while isinstance(image, list):
        shape.append(len(image))
        image = image[0] if image else None
    return shape


def _filled(values) -> np.ndarray:
    """The numbers of a column; missing values become NaN, which is refused later."""
    numbers = values.to_numpy(zero_copy_only=False)
    return numbers if numbers.dtype.kind in "fiu" else np.asarray(numbers, np.float64)


@contextlib.contextmanager
def _reading(path, job: ImagesJob | None = None):
    """Convert errors of pyarrow to a `SourceError` that names the file and the row groups."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, job, " ".join(str(error).split())[:300]) from error


def _damaged(path, job: ImagesJob | None, why: str) -> SourceError:
    where = f"Row groups {job.groups[0]} to {job.groups[1] - 1} of the" if job else "The"
    return SourceError(
        str(path),
        "damaged" if job else "not_parquet",
        f"{where} file {path} cannot be read: it is truncated, damaged or no Parquet file ({why}). Fetch it "
        "again.",
    )
