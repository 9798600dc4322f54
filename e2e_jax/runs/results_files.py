"""The files of an evaluation in the folder of a run: results.json and scores.parquet."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from e2e_jax.errors import WorkdirError
from e2e_jax.files.atomic import replacing, write_whole

RESULTS = "results.json"
SCORES = "scores.parquet"


def write_results(workdir: str | os.PathLike, results: Mapping) -> Path:
    """Write results.json into the folder of a run atomically.

    Returns:
      Its path.

    Raises:
      ValueError: a number is not finite; an earlier results.json is unchanged.
    """
    path = Path(workdir) / RESULTS
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(results, indent=2, allow_nan=False, default=_plain) + "\n")
    return path


def write_scores(
    workdir: str | os.PathLike,
    predictions: np.ndarray,
    columns: Mapping[str, np.ndarray],
    names: Sequence[str],
    split: str = "validation",
) -> Path:
    """Write scores.parquet, one row per event, atomically.

    Args:
      workdir: the folder of the run.
      predictions: `[n, len(names)]`.
      columns: "label", "run", "lumi", "event" and other columns, such as observables, each `[n]`.
      names: names of the predictions, such as "probability_h" (`Task.columns`).
      split: the split of the events.

    Returns:
      Its path.

    Raises:
      ValueError: a column is missing or has another length.
    """
    import pyarrow
    import pyarrow.parquet

    predictions = np.asarray(predictions)
    table = {name: predictions[:, i] for i, name in enumerate(names)}
    for name in dict.fromkeys(("label", *columns, "run", "lumi", "event")):
        if name not in columns or len(columns[name]) != len(predictions):
            found = f"has {len(columns[name])} rows" if name in columns else "is missing"
            raise ValueError(
                f"Column {name!r} {found}, but there are {len(predictions)} scores to save next to it."
            )
        table[name] = np.asarray(columns[name])
    table["split"] = pyarrow.array([split] * len(predictions), pyarrow.string()).dictionary_encode()
    path = Path(workdir) / SCORES
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        pyarrow.parquet.write_table(pyarrow.table(table), part)
    return path


def read_scores(workdir: str | os.PathLike) -> dict[str, np.ndarray]:
    """The columns of scores.parquet by name, except "split".

    Raises:
      WorkdirError: the file is missing or cannot be read.
    """
    import pyarrow
    import pyarrow.parquet

    path = Path(workdir) / SCORES
    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise WorkdirError(
            f"{path} cannot be read ({error}). Evaluate the run again: python -m e2e_jax.main "
            f"--mode=evaluate --workdir={workdir}"
        ) from None
    return {name: table[name].to_numpy() for name in table.column_names if name != "split"}


def _plain(value):
    """Convert numpy numbers and arrays to JSON types."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no place in {RESULTS}.")
