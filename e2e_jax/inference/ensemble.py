"""Several networks of one config, trained with different seeds, as one classifier."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np

from e2e_jax.errors import WorkdirError
from e2e_jax.inference.prediction import Classifier


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ensemble(Classifier):
    """A classifier whose probabilities are the means of its networks'.

    Attributes:
      members: the networks.
      params: of each of them.
    """

    members: tuple[Classifier, ...]


def ensemble(members: Sequence[Classifier]) -> Ensemble:
    """The ensemble of networks that differ in their parameters alone."""
    first = members[0]
    return Ensemble(
        name=first.name,
        task=first.task,
        inputs=first.inputs,
        network=first.network,
        params=tuple(member.params for member in members),
        # One compiled program for all of them.
        _predict=functools.partial(_mean, first._predict),
        members=tuple(members),
    )


def one_network(classifier: Classifier) -> Classifier:
    """The classifier itself, for what works on the parameters of one network.

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


def _mean(predict: Callable, params: Sequence, events) -> np.ndarray:
    return np.mean([predict(one, events) for one in params], axis=0, dtype=np.float32)
