"""The folder of one checkpoint: written atomically and verified by digests.

`checkpoints/<step>/` holds the arrays in Orbax format, one folder per part, and `e2e_jax.json`: the config,
the dataset, the progress of the training, and the SHA-256 of every other file and of itself.
"""

import errno
import functools
import hashlib
import importlib.metadata
import json
import os
import shutil
from pathlib import Path

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from e2e_jax import __version__
from e2e_jax.errors import WorkdirError
from e2e_jax.files import atomic
from e2e_jax.runs.folder import saved_steps

ABOUT = "e2e_jax.json"
KEPT = 2
"""Number of checkpoints kept: the latest and the previous one, in case the latest is damaged."""

FORMAT = 3
"""Version of the format. Increase it when older code would misread a checkpoint."""

ROOM = 1_000_000
"""Free bytes required in addition to the size of the arrays, for the metadata."""

MARK = "commit_success.txt"
"""Orbax's marker file for object stores. It contains the path of the written folder and is not used here."""


def write(folder, step, parts, about):
    """Write `folder/<step>` atomically and remove older checkpoints.

    Args:
      folder: the folder of the checkpoints of a run.
      step: the name of the checkpoint.
      parts: {"state": tree of host arrays}.
      about: JSON content, see `read_about`.

    Raises:
      WorkdirError: the checkpoint cannot be written. Earlier checkpoints are unchanged.
    """
    path, part = folder / str(step), folder / f".{step}{atomic.PART}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(part, ignore_errors=True)
        # Checked before writing, because Orbax's threads print tracebacks when the disk is full.
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(parts))
        if shutil.disk_usage(folder).free < size + ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        ocp.save_checkpointables(part, parts)
        for mark in part.rglob(MARK):
            mark.unlink()
        about = {"format": FORMAT, "e2e_jax": __version__, **about, "files": _digests(part)}
        (part / ABOUT).write_text(_sealed(about))
        atomic.sync_tree(part)
        if path.exists():
            # Two renames: a crash between them loses this checkpoint; the previous one remains.
            _remove(path)
        os.replace(part, path)
        atomic.sync(folder)
    except Exception as error:  # Orbax and TensorStore have their own errors for a full disk
        for left in folder.glob(f"{part.name}*"):
            shutil.rmtree(left, ignore_errors=True)
        full = os.strerror(errno.ENOSPC)
        why = full if full in str(error) else _first_line(error)
        raise WorkdirError(
            f"The checkpoint {path} cannot be written ({why}). Make room there or ask for the permission, "
            "and start the same command again: it continues from the last checkpoint."
        ) from error
    for older in saved_steps(folder.parent)[:-KEPT]:
        _remove(folder / str(older))


def check_written(folder, step, parts, about):
    """Read a checkpoint back and compare it with the arguments of `write`.

    Raises:
      WorkdirError: the checkpoint cannot be read or differs.
    """
    path = folder / str(step)
    written = read_about(path)
    for name, part in parts.items():
        read = load(path, written, name, part)
        if not all(map(np.array_equal, jax.tree.leaves(read), jax.tree.leaves(part))):
            raise unreadable(path, f"{name!r} is not what was written")


def remove_leftovers(folder):
    """Remove incomplete folders that killed processes left next to the checkpoints."""
    for path in folder.glob(".*"):
        shutil.rmtree(path, ignore_errors=True)


def read_about(path):
    """The JSON content of a checkpoint: {"config", "task", "dataset", "progress", ...}.

    Raises:
      WorkdirError: the file is damaged, or from another version.
    """
    try:
        text = (path / ABOUT).read_text()
        about = json.loads(text)
        version, sound = about["format"], _sealed(about) == text
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise unreadable(path, f"{ABOUT}: {_first_line(error)}") from error
    if version != FORMAT and isinstance(version, int):
        raise WorkdirError(
            f"The checkpoint {path} has format {version}, written by e2e_jax {about.get('e2e_jax')}; this is "
            f"e2e_jax {__version__}, which reads format {FORMAT}. Install that version."
        )
    if not sound:
        raise unreadable(path, f"the content of {ABOUT} is not what was saved")
    return about


def load(path, about, name, like=None):
    """The arrays of a part, after verifying their digests.

    Args:
      path: path of the checkpoint.
      about: from `read_about`.
      name: name of the part.
      like: a tree of the same structure and shapes; by default the saved structure is used.

    Raises:
      WorkdirError: a file is damaged or missing.
    """
    # The files of this part, and the metadata of all parts.
    expected = [file for file in about["files"] if Path(file).parts[0] in (name, file)]
    try:
        for file in expected:
            if _digest(path / file) != about["files"][file]:
                raise unreadable(path, f"the content of {file} is not what was saved")
        return ocp.load_checkpointables(path, {name: None if like is None else _host_shapes(like)})[name]
    except WorkdirError:
        raise
    except Exception as error:  # a missing file can cause many error types
        raise unreadable(path, error) from error


def unreadable(path, why):
    """The error for a checkpoint that cannot be read, with the remedies."""
    others = [step for step in saved_steps(path.parents[1]) if str(step) != path.name]
    other = f", or load the step {others[-1]}, which is there as well" if others else ""
    return WorkdirError(
        f"The checkpoint {path} cannot be read: a file of it is cut, changed or missing, or a newer version "
        f"of orbax-checkpoint wrote it (this is {importlib.metadata.version('orbax-checkpoint')}). Copy its "
        f"folder again{other}; a training continues from there when the folder {path.name} is deleted. "
        f"({_first_line(why)})"
    )


def _remove(path):
    """Remove a checkpoint. It is renamed first, so that an incomplete folder is not read as a checkpoint."""
    doomed = path.with_name(f".{path.name}.old")
    shutil.rmtree(doomed, ignore_errors=True)
    os.replace(path, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def _digests(folder):
    """{path in the folder: SHA-256} of all files in a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _digest(path) for path in files}


def _digest(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sealed(about):
    """JSON of a dict, with the SHA-256 of its content."""
    write = functools.partial(json.dumps, indent=1, sort_keys=True, allow_nan=False)
    content = {name: value for name, value in about.items() if name != "sha256"}
    return write(content | {"sha256": hashlib.sha256(write(content).encode()).hexdigest()}) + "\n"


def _first_line(why):
    while getattr(why, "__cause__", None):
        why = why.__cause__
    return str(why).splitlines()[0][:200] if str(why) else type(why).__name__


def _host_shapes(tree):
    return jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), tree)
