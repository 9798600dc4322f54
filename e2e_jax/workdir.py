"""A run is a folder: the config it belongs to, and the names of what lies in it."""

import json
import os
from pathlib import Path

from ml_collections import config_dict

from e2e_jax import config_ranges

CONFIG = "config.json"
METRICS = "metrics.jsonl"
CHECKPOINTS = "checkpoints"
PROFILE = "profile"
TENSORBOARD = "tensorboard"

CHANGEABLE = (
    "data.placement",
    "dataset.data_dir",
    "devices",
    "evaluate.",
    "parallel",
    "profile",
    "train.checkpoint_every",
    "train.epochs",
    "train.patience",
)
"""Fields (with a dot at the end, groups) that may change when a run goes on: none enters a step's result."""


LATER = {
    "data.placement": "auto",
    "dataset.category": "central",
    "dataset.classes": ("gamma_gamma", "h", "gamma_jet"),
    "devices": 0,
    "inputs.matches_authors": False,
    "deterministic": False,
    # Images and kinematics, all that there was, have no shapes.
    "inputs.shapes": (
        *("sigma_ieta_ieta", "sigma_iphi_iphi", "cov_ieta_iphi", "r9", "e1_over_e25", "h_over_e"),
        *("ecal_isolation", "hcal_isolation", "track_isolation"),
    ),
    "inputs.standard.sigma_ieta_ieta": (0.01, 0.002),
    "inputs.standard.sigma_iphi_iphi": (0.015, 0.005),
    "inputs.standard.cov_ieta_iphi": (0.0, 2e-5),
    "inputs.standard.r9": (0.9, 0.1),
    "inputs.standard.e1_over_e25": (0.5, 0.15),
    "inputs.standard.h_over_e": (0.0, 0.05),
    "inputs.standard.ecal_isolation": (0.0, 2.0),
    "inputs.standard.hcal_isolation": (0.0, 2.0),
    "inputs.standard.track_isolation": (0.0, 2.0),
    # One network saw one image.
    "model.dropout": 0.2,
    "model.head": (128, 128, 128),
    "precision": "float32",
    "profile": False,
}
"""Fields that configs of older runs lack, with what those runs did, or what did not touch them."""


class WorkdirError(Exception):
    """The folder cannot be used as asked; the message says why, and the way out."""


def claim(workdir, config):
    """Takes a folder for a run: a new one, or one whose run has the same config or has saved nothing yet.

    Raises:
      WorkdirError: the folder belongs to another config, or holds something else. Nothing in it was touched.
      ValueError: a field of the config is out of its range.
    """
    config_ranges.check_fields(config)
    workdir = Path(workdir)
    if (workdir / CONFIG).exists():
        if saved_steps(workdir):
            _refuse_another_config(workdir, config)
    elif workdir.exists() and any(workdir.iterdir()):
        raise WorkdirError(
            f"The folder {workdir} is not empty and holds no {CONFIG}, so it is not a run of this program; "
            "nothing in it was touched. Choose another folder with --workdir=DIR."
        )
    workdir.mkdir(parents=True, exist_ok=True)
    write_whole(workdir / CONFIG, json.dumps(config.to_dict(), indent=2) + "\n")


def saved_steps(workdir):
    """The steps of the checkpoints in a run's folder, in order."""
    return sorted(int(path.name) for path in (Path(workdir) / CHECKPOINTS).glob("*") if path.name.isdigit())


def read_config(workdir):
    """The config of the run in a folder.

    Raises:
      WorkdirError: there is no run in it, or its config cannot be read.
    """
    path = Path(workdir) / CONFIG
    try:
        fields = json.loads(path.read_text())
    except FileNotFoundError:
        raise WorkdirError(
            f"There is no run in {Path(workdir)}: it has no {CONFIG}. Give the --workdir of a training."
        ) from None
    except ValueError as error:
        raise WorkdirError(
            f"{path} is not valid JSON ({error}). Restore it, or train into a new folder."
        ) from None
    if not isinstance(fields, dict):
        raise WorkdirError(f"{path} holds no config. Restore it, or train into a new folder.")
    config = config_dict.ConfigDict(_tuples(fields))
    config.lock()
    try:
        config_ranges.check_fields(config)
    except ValueError as error:
        raise WorkdirError(f"{path}: {error} Restore the file, or train into a new folder.") from None
    return config


def differences(old, new):
    """The fields in which two configs differ: {"train.epochs": (old, new)}, None where there is no value."""
    old, new = (_flat(config.to_dict()) for config in (old, new))
    old, new = (LATER | _for_each(fields, other) for fields, other in ((old, new), (new, old)))
    return {
        field: (old.get(field), new.get(field))
        for field in sorted(old.keys() | new.keys())
        if old.get(field) != new.get(field)
    }


def write_whole(path, text):
    """Writes a text file so that a reader, or a crash, sees the old content or the new, never a part."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text)
    os.replace(part, path)


def _refuse_another_config(workdir, config):
    changes = differences(read_config(workdir), config)
    # A schedule stretches the learning rate over the epochs, so their number enters every step.
    scheduled = config.train.schedule != "constant"
    fixed = {
        field: values
        for field, values in changes.items()
        if not _changeable(field) or (scheduled and field == "train.epochs")
    }
    if fixed:
        listed = "; ".join(
            f"{field}: {old!r} there, {new!r} asked for" for field, (old, new) in fixed.items()
        )
        raise WorkdirError(
            f"The folder {workdir} belongs to a run with another config ({listed}); nothing in it was "
            "touched. Choose another folder with --workdir=DIR, or give the config that the run began with."
        )


def _changeable(field):
    return any(field == name or (name.endswith(".") and field.startswith(name)) for name in CHANGEABLE)


def _flat(fields, prefix=""):
    flat = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = tuple(value) if isinstance(value, list | tuple) else value
    return flat


def _for_each(flat, other):
    """The fields with one value for all where `other` has one for each, as in configs of old: for each."""
    spread = {}
    for field, value in flat.items():
        each = [name for name in other if name.startswith(f"{field}.")]
        spread |= dict.fromkeys(each, value) if each else {field: value}
    return spread


def _tuples(value):
    """JSON has no tuples; the configs have no lists."""
    if isinstance(value, dict):
        return {name: _tuples(item) for name, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
