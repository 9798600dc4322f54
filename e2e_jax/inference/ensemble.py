"""Ensembles: several networks of one config, trained with different seeds, as one classifier."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np

from e2e_jax.errors import WorkdirError
from e2e_jax.inference.prediction import Classifier


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ensemble(Classifier):
    """A classifier whose predictions (and, for a regression, deviations) are means over its networks.

    Attributes:
      members: the networks.
      params: parameters of each network.
    """

    members: tuple[Classifier, ...]


def ensemble(members: Sequence[Classifier]) -> Ensemble:
    """The ensemble of networks that differ only in their parameters."""
    first = members[0]
    return Ensemble(
        name=first.name,
        task=first.task,
        inputs=first.inputs,
        network=first.network,
        params=tuple(member.params for member in members),
        _predict=functools.partial(_mean, _predictors(members)),
        members=tuple(members),
    )


def one_network(classifier: Classifier) -> Classifier:
    """The classifier itself, for functions that need the parameters of one network.

    Raises:
      WorkdirError: it is an ensemble.
    """
    if isinstance(classifier, Ensemble):
        raise WorkdirError(
            f"This classifier is an ensemble of {len(classifier.members)} networks, where one is needed. "
            "Name the folder of one of them, such as seed-0 in the folder of the ensemble, or take "
            "`classifier.members[0]`."
        )
    return classifier


def _predictors(members: Sequence[Classifier]) -> list[Callable]:
    """The predictor of each member; members with the same scales share one compiled program."""
    first = members[0]
    return [first._predict if one.task.scales == first.task.scales else one._predict for one in members]


def _mean(predictors: Sequence[Callable], params: Sequence, events) -> np.ndarray:
    made = [predict(one, events) for predict, one in zip(predictors, params, strict=True)]
    return np.mean(made, axis=0, dtype=np.float32)
