"""The config of a run as JSON, and the fields that may change when the run continues."""

from ml_collections import config_dict

from e2e_jax.runs import config_ranges

WITHOUT_EFFECT = (
    "data.placement",
    "dataset.data_dir",
    "devices",
    "parallel",
    "profile",
    "train.checkpoint_seconds",
)
"""Fields without effect on the results of a run."""

CHANGEABLE = (*WITHOUT_EFFECT, "evaluate.", "published", "train.epochs", "train.patience")
"""Fields (or groups, with a dot at the end) that may change when a run continues or is evaluated. They do not
change the result of a step, and only evaluate.symmetrize changes a probability. All other fields affect the
results, and a checkpoint requires their values."""


def as_config(fields):
    """A locked config from JSON content.

    Raises:
      ValueError: the content is no dict, a name is not the name of a field, or a field is out of its range.
      RecursionError: the content is nested too deeply.
    """
    if not isinstance(fields, dict):
        raise ValueError("it is no dict")
    config = config_dict.ConfigDict(_tuples(fields))
    config.lock()
    config_ranges.check_fields(config)
    return config


def differences(old, new):
    """The fields in which two configs differ: {"train.epochs": (old, new)}, None for a missing value."""
    old, new = (_flat(config) for config in (old, new))
    return {
        field: (old.get(field), new.get(field))
        for field in sorted(old.keys() | new.keys())
        if old.get(field) != new.get(field)
    }


def deciding_differences(old, new):
    """The `differences` that affect a result (see `CHANGEABLE`) or change the type of a field."""
    # With a schedule, the learning rate of every step depends on the number of epochs.
    scheduled = _flat(old).get("train.schedule") != "constant"
    return {
        field: values
        for field, values in differences(old, new).items()
        if not _changeable(field, values)
        or (scheduled and field == "train.epochs")
        or not _same_type(*values)
    }


def in_words(changes, there, here):
    """The differences as part of a sentence: "seed: 0 there, 1 asked for"."""
    return "; ".join(f"{field}: {old!r} {there}, {new!r} {here}" for field, (old, new) in changes.items())


def _changeable(field, values):
    if field == "seeds":
        # The size of an ensemble may change; a single network is no ensemble.
        return None not in values and min(values) > 1
    return any(field == name or (name.endswith(".") and field.startswith(name)) for name in CHANGEABLE)


def _same_type(old, new):
    numbers = (int, float)
    return type(old) is type(new) or (type(old) in numbers and type(new) in numbers)


def _flat(config):
    """The fields of a config by their full names, lists as tuples."""
    fields = config_ranges.flat_fields(config.to_dict())
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def _tuples(value):
    """Convert lists to tuples: JSON has no tuples, and the configs have no lists."""
    if isinstance(value, dict):
        for name in value:
            if not name.isidentifier() or name.startswith("_"):
                raise ValueError(f"{name!r} is no name of a field")
        return {name: _tuples(item) for name, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
