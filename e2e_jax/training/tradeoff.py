"""A scan of decorrelation methods and strengths: the trainings whose results make a trade-off."""

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
"""The field of a config with the strength of the penalty, whatever its method."""
LIMIT = "cvm.limit"
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""By default the strengths of a scan are the config's own times these."""


class Point(NamedTuple):
    """A training of a scan.

    Attributes:
      method: of the decorrelation.
      strength: of its penalty; 0 for a method without one.
      training: to be done.
    """

    method: str
    strength: float
    training: Training


def points(
    config: ConfigDict, methods: Sequence[str], strengths: Mapping[str, Sequence[float]], workdir: Path
) -> list[Point]:
    """The trainings of a scan, each in a folder of its own.

    The best epoch of each training is that of the largest AUC, whatever its CVM (`LIMIT` is 1): a limit would
    choose early epochs where the penalty is weak.

    Args:
      config: of all trainings.
      methods: values of `config.decorrelation.method`.
      strengths: method -> its strengths; of a method that is not there, `FACTORS` times the config's own.
      workdir: folder of the scan.

    Raises:
      ValueError: there is no such method, a strength is none, or there are no strengths.
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
        # Without a strength all penalties are the same training.
        method = "none"
    changed = copy.deepcopy(config)
    changed.decorrelation.method = method
    changed.update_from_flattened_dict({STRENGTH: strength, LIMIT: 1.0})
    config_ranges.check_fields(changed)
    name = f"{method}-{strength:g}" if strength else method
    return Point(method, strength, Training(changed, workdir / name))
