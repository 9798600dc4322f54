"""Prediction from events, hits or images: the forward pass of a network on all devices."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from e2e_jax.detector import symmetries
from e2e_jax.devices import parallel
from e2e_jax.events.base import Record
from e2e_jax.execution.prefetching import prefetch
from e2e_jax.inference import validity
from e2e_jax.models import heads
from e2e_jax.models.building import Network
from e2e_jax.models.forward import logits_function
from e2e_jax.models.preprocessing import Inputs
from e2e_jax.study import Task

LENGTH_STEP = 128
"""Padded lengths are multiples of this, so similar events share one compiled program."""

LONGEST_USUAL = 4096
"""Maximum list length of events that are padded together; usual collisions are shorter."""

GROUP_ENTRIES = 2**20
"""Padded entries of a collection in a group of longer events, similar to a usual batch."""

INVALID = ("raise", "nan")
"""Treatments of invalid events by `Classifier.predict`."""


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A trained network: a classifier, or the regression of observables.

    Attributes:
      name: name of the training config.
      task: the task that it learned.
      inputs: the inputs of the network.
      network: the network.
      params: the network's parameters.
    """

    name: str
    task: Task
    inputs: Inputs
    network: Network
    params: Any
    _predict: Callable = dataclasses.field(repr=False)

    @property
    def classes(self):
        """Names of the classes, in the order of the probabilities."""
        return self.task.names

    @property
    def columns(self):
        """Names of the columns of `predict`, such as "probability_h" or "predicted_mass"."""
        return self.task.columns

    def predict_observables(self, events_or_images, invalid="raise"):
        """The targets of a regression, in their units.

        Args, errors: as for `predict`.

        Returns:
          {"mass": f4 `[n]`} for each target, and with a Gaussian loss {"mass_sigma": f4 `[n]`}, its standard
          deviation; {} for a classifier.
        """
        values = dict(zip(self.columns, self.predict(events_or_images, invalid).T))
        found = {name: values[f"predicted_{name}"] for name in self.task.targets}
        sigmas = {f"{name}_sigma": values.get(f"sigma_{name}") for name in self.task.targets}
        return found | {name: sigma for name, sigma in sigmas.items() if sigma is not None}

    def predict(self, events_or_images, invalid="raise"):
        """Predictions of the network, in the order of `columns`; for a classifier, the probabilities.

        Args:
          events_or_images: events of the task's kind, such as `Events`; a padded batch of their hits
            (`to_batch`); or images in GeV, with the observable by which they are divided, if any:
            {"barrel": [n, 170, 360, channels], "mass": [n]}. Arrays are numpy.
          invalid: treatment of events that no source of the training can give
            (`validity.is_invalid`): "raise", or "nan" for NaN predictions.

        Returns:
          f4 `[n, columns]`; for a classifier `[n, classes]`, in the order of `classes`.

        Raises:
          ValueError: the input has another form; or, with "raise", an event is invalid or has a prediction
            that is not finite.
        """
        if invalid not in INVALID:
            raise ValueError(f"invalid is {invalid!r}; it is one of {', '.join(map(repr, INVALID))}.")
        validity.check_columns(events_or_images, self.task, self.inputs)
        bad = validity.is_invalid(events_or_images, self.task, self.inputs)
        if not bad.any():
            predictions = self._predict(self.params, events_or_images)
        elif invalid == "raise":
            raise ValueError(
                f"{validity.reason(events_or_images, self.task, self.inputs)} The sources of the training "
                f"refuse such events, so a classifier cannot score them ({bad.sum()} of these {len(bad)} "
                'events). Drop them, correct the source that wrote them, or predict with invalid="nan".'
            )
        else:
            predictions = np.full((len(bad), len(self.columns)), np.nan, np.float32)
            predictions[~bad] = self._predict(self.params, _select(events_or_images, np.flatnonzero(~bad)))
        broken = ~np.isfinite(predictions).all(axis=1) & ~bad
        if broken.any() and invalid == "raise":
            raise ValueError(
                f"Event {np.flatnonzero(broken)[0]} has no finite predictions although it is valid "
                f"({broken.sum()} such events in these {len(broken)}). Check the classifier's parameters."
            )
        return predictions


class Predictor:
    """The compiled forward pass: (params, events or images) -> predictions f4 [n, columns], on the host.

    Args:
      task: the task.
      network: the network.
      inputs: the inputs of the network.
      together: events per batch; fewer events are padded to the next power of two.
      setup: use of the devices; `Setup()` by default. A batch is spread over the largest number of this
        process's devices that divides it.
      views: symmetric views of each event over which the predictions are averaged
        (`detector.symmetries.views`). More than 1 needs hits, not images.
    """

    def __init__(
        self,
        task: Task,
        network: Network,
        inputs: Inputs,
        together: int = 240,
        setup: parallel.Setup | None = None,
        views: int = 1,
    ):
        self._together, self._setup = together, setup or parallel.Setup()
        self._task, self._views = task, symmetries.views(views, inputs.geometry)
        self._logits = logits_function(network, inputs, deterministic=self._setup.deterministic)
        self._compiled = {}

    def __call__(self, params, events_or_images):
        return self.of_batches(params, self.batches(events_or_images))

    @property
    def devices(self) -> list:
        """The devices of this process that are used: all of them if the setup has more."""
        return jax.local_devices()[: self._setup.devices or None]

    def batches(self, events_or_images):
        """Yield the results of `padded_batches`, with the batches on the devices."""
        make = functools.partial(padded_batches, events_or_images, self._together)
        for batch, rows in prefetch(make, ahead=1):
            _, split = self._for_size(_rows(batch))
            yield jax.device_put(batch, split), rows

    def of_batches(self, params, batches):
        """The predictions for the results of `batches`; a list of these results can be reused."""
        params = jax.device_get(params)
        parts, places = [np.zeros((0, len(self._task.columns)), np.float32)], [np.zeros(0, int)]
        for batch, rows in batches:
            run, _ = self._for_size(_rows(batch))
            parts.append(np.asarray(run(params, batch))[: len(rows)])
            places.append(rows)
        predictions = np.concatenate(parts)
        predictions[np.concatenate(places)] = predictions.copy()
        return predictions

    def _for_size(self, size):
        """(the compiled function, the layout of its batches) for batches of a size."""
        if size not in self._compiled:
            replicated, split = parallel.shardings(parallel.mesh(size, self.devices))
            run = jax.jit(
                self._forward,
                in_shardings=(replicated, split),
                out_shardings=replicated,
                compiler_options=self._setup.compiler_options,
            )
            self._compiled[size] = run, split
        return self._compiled[size]

    def _forward(self, params, batch):
        def predictions(seen):
            return heads.predictions(self._logits(params, seen), self._task)

        if len(self._views) == 1:
            return predictions(batch)
        total = 0.0
        for view in self._views:
            total += predictions(symmetries.transform(batch, symmetries.same_for_all(_rows(batch), *view)))
        return total / len(self._views)


def padded_batches(events_or_images, most):
    """Yield (a padded batch of at most `most` rows, the rows of its events).

    Events of similar length share a batch, so padding is bounded. Copies of the last event fill a batch.
    """
    for group in _groups(events_or_images):
        size = min(most, 1 << (len(group) - 1).bit_length())
        lengths = {}
        if isinstance(events_or_images, Record):
            collections = {name: getattr(events_or_images, name) for name in events_or_images.COLLECTIONS}
            longest = {name: int(ragged.counts[group].max(initial=1)) for name, ragged in collections.items()}
            lengths = {name: -(-count // LENGTH_STEP) * LENGTH_STEP for name, count in longest.items()}
        for start in range(0, len(group), size):
            rows = group[start : start + size]
            batch = _select(events_or_images, np.pad(rows, (0, size - len(rows)), mode="edge"))
            yield batch.to_batch(lengths) if isinstance(batch, Record) else batch, rows


def _groups(events_or_images):
    """The rows of each group: events whose longest lists have the same length within a factor of 4.

    All events up to `LONGEST_USUAL` form one group. Groups of longer events have at most `GROUP_ENTRIES`
    padded entries of a collection, or one event. Batches and images form one group, because they are padded.
    """
    if not isinstance(events_or_images, Record):
        rows = np.arange(_rows(events_or_images))
        return [rows] if len(rows) else []
    collections = (getattr(events_or_images, name) for name in events_or_images.COLLECTIONS)
    longest = np.max([ragged.counts for ragged in collections], axis=0)
    level = np.ceil(np.log2(np.maximum(longest / LONGEST_USUAL, 1)) / 2).astype(int)
    groups = []
    for found in np.unique(level):
        rows = np.flatnonzero(level == found)
        most = max(GROUP_ENTRIES // (LONGEST_USUAL * 4**found), 1) if found else len(rows)
        groups += [rows[start : start + most] for start in range(0, len(rows), most)]
    return groups


def _rows(events_or_images):
    if isinstance(events_or_images, Record):
        return len(events_or_images)
    return len(jax.tree.leaves(events_or_images)[0])


def _select(events_or_images, rows):
    """Select events of a record, or of a batch or images."""
    if isinstance(events_or_images, Record):
        return events_or_images[rows]
    return jax.tree.map(lambda leaf: np.asarray(leaf)[rows], dict(events_or_images))
