"""A scan of decorrelation methods and strengths, for a trade-off plot."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ml_collections import ConfigDict

from e2e_jax.models.decorrelation.penalties import PENALTIES
from e2e_jax.runs import config_ranges
from e2e_jax.training.many import Training

STRENGTH = "decorrelation.strength"
"""The config field with the strength of the penalty, for every method."""
LIMIT = "cvm.limit"
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Default strengths of a scan, as factors on the config's strength."""


class Point(NamedTuple):
    """A training of a scan.

    Attributes:
      method: decorrelation method.
      strength: strength of its penalty; 0 for a method without a penalty.
      training: the training to run.
    """

    method: str
    strength: float
    training: Training


def points(
    config: ConfigDict, methods: Sequence[str], strengths: Mapping[str, Sequence[float]], workdir: Path
) -> list[Point]:
    """The trainings of a scan, each in its own folder.

    The best epoch of each training is the one with the largest AUC, independent of its CVM (`LIMIT` is 1). A
    limit would select early epochs if the penalty is weak.

    Args:
      config: config of all trainings.
      methods: values of `config.decorrelation.method`.
      strengths: method -> its strengths; for a missing method, `FACTORS` times the config's strength.
      workdir: folder of the scan.

    Raises:
      ValueError: a method is unknown, a strength is invalid, or there are no strengths.
    """
    own = config_ranges.flat_fields(config.to_dict())[STRENGTH]
    made = {}
    for method in methods:
        chosen = strengths.get(method) or [factor * own for factor in FACTORS if own]
        if method in PENALTIES and not chosen:
            raise ValueError(f"config.{STRENGTH} is 0: name the strengths as --strengths=0.1,0.3,1.")
        for strength in sorted(set(chosen)) if method in PENALTIES else [0.0]:
            point = _point(config, method, float(strength), workdir)
            made[point.training.workdir] = point
    return list(made.values())


def _point(config: ConfigDict, method: str, strength: float, workdir: Path) -> Point:
    if method in PENALTIES and not strength:
        # With strength 0 all penalties give the same training.
        method = "none"
    changed = copy.deepcopy(config)
    changed.decorrelation.method = method
    changed.update_from_flattened_dict({STRENGTH: strength, LIMIT: 1.0})
    config_ranges.check_fields(changed)
    name = f"{method}-{strength:g}" if strength else method
    return Point(method, strength, Training(changed, workdir / name))
