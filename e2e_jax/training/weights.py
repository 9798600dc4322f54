"""Weights of the training events, from the dataset and from planing; computed once per training."""

from __future__ import annotations

import dataclasses

import numpy as np

from e2e_jax.events.base import Record
from e2e_jax.experiment import Experiment
from e2e_jax.models.decorrelation.planing import planing_weights

COLUMN = "training_weight"
"""The column of a batch that holds the weights."""


def weighted(events: Record, run: Experiment, method: str) -> Record:
    """The training sample with an additional column of weights, with mean 1 in each class.

    The classes thus stay balanced in a batch, and losses keep their size. With equal weights the sample is
    returned unchanged.

    Args:
      events: the training sample.
      run: names the observable that holds the weights, if any.
      method: decorrelation method; "planing" equalizes the task's observables in all classes.

    Raises:
      ValueError: a weight is negative or not finite, all events of a class have the weight 0, or planing is
        not possible, see `planing.planing_weights`.
    """
    targets, weights = run.task.of_labels(events.label), run.event_weights(events)
    if method == "planing":
        weights = planing_weights(run.decorrelated_from(events), targets, weights=weights)
    if weights is None:
        return events
    weights = weights.astype(np.float64)
    for target in range(len(run.task.names)):
        weights[targets == target] /= weights[targets == target].mean()
    column = {COLUMN: weights.astype(np.float32)}
    return dataclasses.replace(events, observables={**events.observables, **column})


def check_observables(events: Record, run: Experiment) -> None:
    """Raises a ValueError if an observable to decorrelate from is constant or not finite in its events."""
    chosen = run.task.decorrelated(events.label)
    for name, values in run.decorrelated_from(events).items():
        own = values[chosen]
        of = " and ".join(run.task.of)
        if bad := int((~np.isfinite(own)).sum()):
            raise ValueError(
                f"The task decorrelates from {name!r}, which is not finite in {bad} of the {len(own)} "
                f"training events of {of}. Choose another observable, or mend the dataset."
            )
        if len(own) > 1 and own.min() == own.max():
            raise ValueError(
                f"The task decorrelates from {name!r}, which is {own[0]:g} in all training events of {of}: "
                "nothing can depend on it. Choose another observable (config.task.decorrelate), or none."
            )
