"""The folder of a run: its config, the names of its files, and the process that owns it."""

import contextlib
import errno
import json
import os
import socket
from pathlib import Path

from e2e_jax.errors import WorkdirError
from e2e_jax.files.atomic import is_part, write_whole
from e2e_jax.runs import config_ranges
from e2e_jax.runs.config import as_config, deciding_differences, in_words

CONFIG = "config.json"
METRICS = "metrics.jsonl"
CHECKPOINTS = "checkpoints"
PROFILE = "profile"
TENSORBOARD = "tensorboard"
MEMBER = "seed-"
"""Prefix of the folder of a network of an ensemble; its seed follows."""
LOCK, OWNER = ".lock", ".owner"

UNUSABLE = "[]*?{}\\"
"""Characters not allowed in the path of a run: the checkpoint library reads them as patterns."""

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
"""Disk errors, which do not always name the file."""


@contextlib.contextmanager
def owned(workdir):
    """Create the folder of a run if it is missing, and lock it for this process.

    The operating system releases the lock when the process ends, so a killed process does not block others.

    Raises:
      WorkdirError: another process owns the folder, its path cannot be used, or, at any time, it is not
        writable.
    """
    # Imported here, because loading a checkpoint does not need it.
    import filelock

    workdir = Path(workdir)
    check_path(workdir)
    with _told(workdir):
        _refuse_something_else(workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(workdir / LOCK)
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            raise WorkdirError(
                f"{_owner(workdir)} is training, evaluating or writing a report in the folder {workdir}. "
                "Wait until it ends, or choose another folder with --workdir=DIR."
            ) from None
        try:
            write_whole(workdir / OWNER, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
            yield
        finally:
            (workdir / OWNER).unlink(missing_ok=True)
            lock.release()


def check_path(workdir):
    """Reject a path from which checkpoints cannot be read.

    Raises:
      WorkdirError: the path is rejected; the message names the reason.
    """
    path = str(Path(workdir).absolute())
    if bad := sorted(set(path) & set(UNUSABLE)):
        why = f"contains {' '.join(bad)}, which the checkpoint library takes for a pattern"
    elif not path.isprintable():
        why = "contains a character that is not printable, or is not UTF-8"
    elif any(part.endswith(":") for part in Path(path).parts):
        why = "looks like the address of a remote file; a run is a folder of this machine"
    else:
        return
    raise WorkdirError(f"The path of the run, {path!r}, {why}. Choose another folder with --workdir=DIR.")


def claim(workdir, config):
    """Claim a folder for a run: a new folder, or a run with the same config or without checkpoints.

    Raises:
      WorkdirError: the folder belongs to another config, or is not a run. It is unchanged.
      ValueError: a field of the config is out of its range.
    """
    config_ranges.check_fields(config)
    workdir = Path(workdir)
    check_path(workdir)
    _refuse_something_else(workdir)
    if any(map(saved_steps, (workdir, *members(workdir)))):
        _refuse_another_config(workdir, config)
    workdir.mkdir(parents=True, exist_ok=True)
    for part in filter(is_part, workdir.iterdir()):
        part.unlink()
    write_whole(workdir / CONFIG, json.dumps(config.to_dict(), indent=2) + "\n")


def saved_steps(workdir):
    """The steps of the checkpoints of a run, in order."""
    return sorted(int(path.name) for path in (Path(workdir) / CHECKPOINTS).glob("*") if path.name.isdigit())


def members_of(workdir, config):
    """The folders of the networks of an ensemble, by the seeds of its config."""
    return [Path(workdir) / f"{MEMBER}{config.seed + number}" for number in range(config.seeds)]


def members(workdir):
    """The folders of the networks of an ensemble in the folder of a run, in order."""
    found = (path for path in Path(workdir).glob(f"{MEMBER}*") if path.name.removeprefix(MEMBER).isdigit())
    return sorted(found, key=lambda path: int(path.name.removeprefix(MEMBER)))


def read_config(workdir):
    """The config of the run in a folder.

    Raises:
      WorkdirError: the folder is not a run, or its config cannot be read.
    """
    path = Path(workdir) / CONFIG
    try:
        fields = json.loads(path.read_text())
    except FileNotFoundError:
        raise WorkdirError(
            f"There is no run in {Path(workdir)}: it has no {CONFIG}. Give the --workdir of a training."
        ) from None
    except OSError as error:
        raise WorkdirError(f"{path} cannot be read ({error.strerror}).") from None
    except (ValueError, RecursionError) as error:
        raise WorkdirError(
            f"{path} is not valid JSON ({error}). Restore it, or train into a new folder."
        ) from None
    try:
        return as_config(fields)
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        why = str(error).rstrip(".")
        raise WorkdirError(
            f"{path} holds no sound config ({why}). Restore it, or train into a new folder."
        ) from None


def _refuse_something_else(workdir):
    """Reject a folder that is not a run. Leftovers of a killed process are allowed."""
    if (workdir / CONFIG).exists() or not workdir.exists():
        return
    if any(not is_part(path) and path.name not in (LOCK, OWNER) for path in workdir.iterdir()):
        raise WorkdirError(
            f"The folder {workdir} is not empty and holds no {CONFIG}, so it is not a run of this program; "
            "nothing in it was touched. Choose another folder with --workdir=DIR."
        )


def _refuse_another_config(workdir, config):
    if fixed := deciding_differences(read_config(workdir), config):
        raise WorkdirError(
            f"The folder {workdir} belongs to a run with another config "
            f"({in_words(fixed, 'there', 'asked for')}); nothing in it was touched. Choose another folder "
            "with --workdir=DIR, or give the config that the run began with."
        )


@contextlib.contextmanager
def _told(workdir):
    """Convert an error of the disk, or of a file of the run, to a WorkdirError with one sentence."""
    try:
        yield
    except OSError as error:
        run = Path(workdir).absolute()
        place = run if error.filename is None else Path(os.fsdecode(error.filename)).absolute()
        ours = place.is_relative_to(run) or run.is_relative_to(place)
        if not ours or (error.filename is None and error.errno not in DISK):
            raise
        raise WorkdirError(
            f"{place} cannot be written ({error.strerror}). Make room there or ask for the permission, and "
            "start the same command again: a training continues from its last checkpoint. Or choose another "
            "folder with --workdir=DIR."
        ) from error


def _owner(workdir):
    """Description of the process that owns a folder."""
    try:
        owner = json.loads((workdir / OWNER).read_text())
        return f"Process {owner['pid']} on {owner['host']}"
    except (OSError, ValueError, TypeError, KeyError):
        return "Another process"
