"""Writes scores as Parquet or ROOT files, piece by piece."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np

TREE, ABOUT = "scores", "about"
"""Names in a ROOT file: the tree, and the text that describes it (JSON)."""

METADATA = b"e2e_jax"
"""Key of the same text in the metadata of a Parquet file."""

GROUP_ROWS = 2**16
"""Rows written together."""

Rows = Mapping[str, np.ndarray]


class Writer(Protocol):
    """Writer that appends rows to an open file."""

    def __call__(self, rows: Rows) -> None:
        """Append rows."""


@contextlib.contextmanager
def parquet(path, columns: Mapping[str, type], about: Mapping) -> Iterator[Writer]:
    """Open a new Parquet file; the final state of `about` is stored in its metadata."""
    import pyarrow
    from pyarrow import parquet

    types = [(name, pyarrow.from_numpy_dtype(np.dtype(dtype))) for name, dtype in columns.items()]
    schema = pyarrow.schema(types)
    with parquet.ParquetWriter(path, schema) as file:
        yield lambda rows: file.write_table(pyarrow.table(dict(rows), schema=schema))
        file.add_key_value_metadata({METADATA: json.dumps(about)})


@contextlib.contextmanager
def root(path, columns: Mapping[str, type], about: Mapping) -> Iterator[Writer]:
    """Open a new ROOT file with the tree `TREE`; the final state of `about` is stored as the text `ABOUT`."""
    import uproot

    with uproot.recreate(path) as file:
        tree = file.mktree(TREE, {name: np.dtype(dtype) for name, dtype in columns.items()})
        yield lambda rows: tree.extend(dict(rows))
        file[ABOUT] = json.dumps(about)


WRITERS = {".parquet": parquet, ".root": root}
"""Ending of a file -> function that opens it."""


def grouped(parts: Iterator[Rows]) -> Iterator[Rows]:
    """The same rows, about `GROUP_ROWS` at a time, because small groups are slow to read."""
    waiting, count = [], 0
    for rows in parts:
        waiting.append(rows)
        count += len(next(iter(rows.values())))
        if count >= GROUP_ROWS:
            yield _joined(waiting)
            waiting, count = [], 0
    if count:
        yield _joined(waiting)


def _joined(parts: list[Rows]) -> Rows:
    return {name: np.concatenate([rows[name] for rows in parts]) for name in parts[0]}
