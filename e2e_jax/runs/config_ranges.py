"""The type and range of every field of a config, checked before anything is read or built."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple


class Range(NamedTuple):
    """The allowed values of a field.

    Attributes:
      expected: the range in words, as in "it is ...".
      holds: function that returns whether a value is in the range.
    """

    expected: str
    holds: Callable[[Any], bool]


def _whole(low: int, high: int | None = None) -> Range:
    bounds = f"at least {low}" if high is None else f"from {low} to {high}"
    return Range(
        f"a whole number, {bounds}",
        lambda v: type(v) is int and v >= low and (high is None or v <= high),
    )


def _number(expected: str, holds: Callable[[float], bool]) -> Range:
    return Range(
        f"a finite number{expected}",
        lambda v: type(v) in (int, float) and math.isfinite(v) and holds(v),
    )


def _one_of(*choices: str) -> Range:
    return Range(f"one of {', '.join(choices)}", lambda v: isinstance(v, str) and v in choices)


def _each(item: Range, least: int = 1) -> Range:
    return Range(
        f"a tuple of at least {least}, each of them {item.expected}",
        lambda v: isinstance(v, tuple | list) and len(v) >= least and all(map(item.holds, v)),
    )


ANY_TEXT = Range("a text", lambda v: isinstance(v, str))
TEXT = Range("a text that is not empty", lambda v: isinstance(v, str) and v.strip() != "" and v.isprintable())
FLAG = Range("True or False", lambda v: isinstance(v, bool))
NUMBER = _number("", lambda v: True)
NOT_NEGATIVE = _number(", at least 0", lambda v: v >= 0)
POSITIVE = _number(" above 0", lambda v: v > 0)
FRACTION = _number(" from 0 to below 1", lambda v: 0 <= v < 1)
UP_TO_ONE = _number(" above 0, at most 1", lambda v: 0 < v <= 1)
CENTER_AND_WIDTH = Range(
    "a pair of finite numbers (center, width), the width above 0",
    lambda v: isinstance(v, tuple | list) and len(v) == 2 and NUMBER.holds(v[0]) and POSITIVE.holds(v[1]),
)

RANGES = {
    "name": TEXT,
    "size": TEXT,
    # JAX's keys ignore bits beyond 32.
    "seed": _whole(0, 2**32 - 1),
    "seeds": _whole(1),
    "parallel": _one_of("jit", "pmap"),
    "devices": _whole(0),
    "precision": _one_of("float32", "tf32", "bfloat16"),
    "deterministic": FLAG,
    "profile": FLAG,
    "dataset.name": TEXT,
    "dataset.data_dir": ANY_TEXT,
    "task.signal": ANY_TEXT,
    "task.decorrelate": _each(TEXT, least=0),
    "task.of": _each(TEXT, least=0),
    "task.classes": _each(TEXT, least=0),
    "task.kind": ANY_TEXT,
    "task.targets": _each(TEXT, least=0),
    "task.loss": ANY_TEXT,
    "task.weight": NOT_NEGATIVE,
    "published": ANY_TEXT,
    "data.placement": _one_of("auto", "device", "stream", "disk"),
    "inputs.kind": _one_of("images", "tokens", "kinematics", "high_level", "showers"),
    "inputs.geometry": TEXT,
    "inputs.matches_authors": FLAG,
    "inputs.channels": _each(TEXT),
    "inputs.threshold": NUMBER,
    "inputs.threshold.*": NUMBER,
    "inputs.normalization": TEXT,
    "inputs.scale": NOT_NEGATIVE,
    "inputs.scale.*": NOT_NEGATIVE,
    "inputs.tokens.*": _whole(1),
    "inputs.shapes": _each(TEXT, least=0),
    "inputs.standard.*": CENTER_AND_WIDTH,
    "model.name": TEXT,
    "model.widths": _each(_whole(1)),
    "model.head": _each(_whole(1), least=0),
    "model.dropout": FRACTION,
    "model.patches": Range(
        "a pair of whole numbers (pixels along a side, patches), each at least 1",
        lambda v: _each(_whole(1), 2).holds(v) and len(v) == 2,
    ),
    "model.padding": _one_of("zeros", "wrap"),
    "model.start_from": ANY_TEXT,
    "model.start_parts": _one_of("all", "features"),
    "train.batch_size": _whole(1),
    "train.epochs": _whole(1),
    "train.learning_rate": POSITIVE,
    "train.schedule": _one_of("constant", "cosine", "one_cycle"),
    "train.warmup": FRACTION,
    "train.optimizer": _one_of("adam", "adamw"),
    "train.weight_decay": NOT_NEGATIVE,
    "train.clip_norm": NOT_NEGATIVE,
    "train.average": FRACTION,
    "train.label_smoothing": FRACTION,
    "train.augment": _each(_one_of("rotation", "reflection", "mirror"), least=0),
    "train.weights": ANY_TEXT,
    "train.patience": _whole(1),
    "train.checkpoint_seconds": NOT_NEGATIVE,
    "decorrelation.method": _one_of("cvm", "disco", "mode", "planing", "none"),
    "decorrelation.strength": NOT_NEGATIVE,
    "decorrelation.neighbors": _whole(2),
    "decorrelation.reduction": _one_of("sum", "mean"),
    "decorrelation.order": _whole(0, 2),
    "cvm.limit": UP_TO_ONE,
    "cvm.window": _whole(2),
    "cvm.step": _whole(1),
    "evaluate.batch_size": _whole(1),
    "evaluate.bootstrap": _whole(2),
    "evaluate.symmetrize": _whole(1),
}
"""Field -> range. A star matches any name: a channel or a shower shape."""


def check_fields(config) -> None:
    """Reject a config with a field that is missing, unknown, of a wrong type, or out of its range.

    Args:
      config: a ConfigDict.

    Raises:
      ValueError: a field is wrong; the message names it, its value and its range.
    """
    fields = flat_fields(config.to_dict())
    for field, value in fields.items():
        allowed = range_of(field)
        if allowed is None:
            raise ValueError(f"config.{field} is no field of a config. configs/default.py has all of them.")
        if not allowed.holds(value):
            raise ValueError(f"config.{field} is {_shown(value)}; it is {allowed.expected}.")
    groups = {field.rpartition(".")[0] for field in RANGES if field.endswith(".*")}
    for field in RANGES:
        if field not in fields and not field.endswith(".*") and field not in groups:
            raise ValueError(f"config.{field} is missing. configs/default.py documents it.")


def range_of(field: str) -> Range | None:
    """The range of a field such as "inputs.scale.ecal"; None for an unknown field."""
    return RANGES.get(field) or RANGES.get(f"{field.rpartition('.')[0]}.*")


def flat_fields(fields: dict, prefix: str = "") -> dict[str, Any]:
    """{"train": {"epochs": 3}} -> {"train.epochs": 3}."""
    flat = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            flat |= flat_fields(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _shown(value) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
