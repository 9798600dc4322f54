"""Conversion of a config to objects shared by training and inference: task, inputs and network.

No lower layer reads a config. Training adds its own options (`training.options`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from e2e_jax.datasets.splits import TASK, StoredDataset
from e2e_jax.detector import images
from e2e_jax.detector.symmetries import views
from e2e_jax.devices.parallel import Setup
from e2e_jax.errors import DatasetError
from e2e_jax.evaluation import published, results
from e2e_jax.evaluation.weights import checked_weights
from e2e_jax.events.base import Record
from e2e_jax.events.kinds import KINDS
from e2e_jax.models import building
from e2e_jax.models.building import Network
from e2e_jax.models.preprocessing import DIGIS, Inputs
from e2e_jax.study import Task

COLLISIONS = "collisions"
SHOWERS = "showers"
"""The kind of inputs for the events of the same name."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """The objects that training and inference share.

    Attributes:
      name: name of the classifier.
      task: the learning task.
      inputs: inputs of the network.
      network: the network.
      setup: devices and method of parallelism.
      metrics: options of the metrics.
      together: events per forward pass in prediction.
      views: number of symmetric views of each event over which `Classifier.predict` averages.
      weights: the observable that holds the event weights; "" for none.
    """

    name: str
    task: Task
    inputs: Inputs
    network: Network
    setup: Setup = dataclasses.field(default_factory=Setup)
    metrics: results.Options = dataclasses.field(default_factory=results.Options)
    together: int = 240
    views: int = 1
    weights: str = ""

    @property
    def record(self) -> type[Record]:
        """The class of the events."""
        return KINDS[self.task.events]

    @property
    def unread(self) -> tuple[str, ...]:
        """Collections of the events that the network does not read."""
        return self.record.unread(self.inputs)

    def decorrelated_from(self, events: Record) -> dict[str, np.ndarray]:
        """The observables that the task decorrelates from, by name, each `[n]`."""
        return {name: getattr(events, name) for name in self.task.decorrelate}

    def event_weights(self, events: Record) -> np.ndarray | None:
        """The weight of each event `[n]`; None for equal weights.

        Raises:
          ValueError: a weight is negative or not finite, or all events of a class have the weight 0.
        """
        if not self.weights:
            return None
        targets = self.task.of_labels(events.label)
        return checked_weights(getattr(events, self.weights), targets, self.task.names, self.weights)

    def targets(self, events: Record) -> dict[str, np.ndarray]:
        """The true values `[n]` of each target of the task, by name."""
        return {name: getattr(events, name) for name in self.task.targets}

    def initial_params(self, key):
        """The initial parameters of the network, drawn with a JAX random key."""
        names = [observable.name for observable in self.task.observables]
        return building.initial_params(self.network, self.inputs, self.record, names, key)


def of(config, task: Task) -> Experiment:
    """The objects that a config describes.

    Args:
      config: a config; configs/default.py documents its fields. Its task is not read.
      task: the learning task, see `task_of`.

    Raises:
      ValueError: the inputs do not match the events of the task, images are divided by an observable that the
        events do not have, or the published table does not exist.
    """
    inputs = Inputs(**{name: _plain(value) for name, value in config.inputs.items()})
    if config.published and config.published not in published.TABLES:
        raise ValueError(
            f"config.published is {config.published!r}; it is one of {', '.join(published.TABLES)}, or empty."
        )
    if (inputs.kind == SHOWERS) != (task.events == SHOWERS):
        raise ValueError(
            f"config.inputs.kind is {inputs.kind!r}, but the dataset {config.dataset.name!r} holds "
            f"{task.events}. Name another dataset as config.dataset.name, or take a config for {task.events}."
        )
    if inputs.kind in ("images", "tokens"):
        _check_geometry(inputs, KINDS[task.events], task.events)
    elif task.events == "jets":
        raise ValueError(
            f"config.inputs.kind is {inputs.kind!r}, but the dataset {config.dataset.name!r} holds jets, "
            "which are seen as images. Take a config for jets."
        )
    known = [observable.name for observable in task.observables]
    if inputs.observable and inputs.observable not in known:
        raise ValueError(
            f"config.inputs.normalization is {inputs.observable!r}; it is none, sum_pt or an observable of "
            f"the dataset's events ({', '.join(known) or 'there are none'})."
        )
    if known_from := [name for name in inputs.needed if name in task.targets]:
        raise ValueError(
            f"The task predicts {known_from[0]!r}, but the network's inputs are made with it, so they "
            "contain the answer. Choose another target, or inputs without it (config.inputs.normalization, "
            "config.inputs.kind)."
        )
    if config.train.weights and config.train.weights not in known:
        raise ValueError(
            f"config.train.weights is {config.train.weights!r}; it is an observable of the dataset's events "
            f"({', '.join(known) or 'there are none'}), or empty."
        )
    if config.evaluate.symmetrize > 1 and task.events != COLLISIONS:
        raise ValueError(
            f"config.evaluate.symmetrize is {config.evaluate.symmetrize}, but a prediction is averaged over "
            f"rotated and reflected {COLLISIONS} only; set it to 1 for {task.events}."
        )
    views(config.evaluate.symmetrize, inputs.geometry)
    # The starting point of a training does not change the network.
    model = {name: _plain(value) for name, value in config.model.items() if not name.startswith("start_")}
    return Experiment(
        name=config.name,
        task=task,
        inputs=inputs,
        network=Network(classes=task.outputs, precision=config.precision, **model),
        setup=Setup(config.parallel, config.devices, config.deterministic),
        metrics=results.Options(
            window=config.cvm.window,
            step=config.cvm.step,
            limit=config.cvm.limit,
            bootstrap=config.evaluate.bootstrap,
            seed=config.seed,
        ),
        together=config.evaluate.batch_size,
        views=config.evaluate.symmetrize,
        weights=config.train.weights,
    )


def _check_geometry(inputs: Inputs, record: type[Record], events: str) -> None:
    """Reject images of hits that the events do not have."""
    for canvas in images.canvases(inputs.geometry):
        for channel in images.checked_channels(inputs.channels, canvas):
            if absent := [name for name in canvas.collections[channel] if name not in record.COLLECTIONS]:
                raise ValueError(
                    f"config.inputs.geometry is {inputs.geometry!r}, whose images are drawn from "
                    f"{absent[0]!r}, but the dataset holds {events}, with {', '.join(record.COLLECTIONS)}. "
                    f"Take a config for {events}, or name another dataset as config.dataset.name."
                )


def dataset_of(config) -> StoredDataset:
    """The dataset that a config names."""
    return StoredDataset(config.dataset.name, config.dataset.data_dir)


def task_of(config, description: Mapping) -> Task:
    """The task of a dataset's study, with the changes of `config.task`.

    Args:
      config: the config.
      description: description of the dataset, from `Dataset.describe`.

    Raises:
      ValueError: the changed task is invalid, see `study.Task`.
      DatasetError: the dataset lacks data for the inputs of the config.
    """
    _check_view(config, description)
    _check_endcaps(config, description)
    return Task(**description[TASK]).changed(**{name: _plain(value) for name, value in config.task.items()})


def _check_view(config, description: Mapping) -> None:
    """Reject showers with another view than the inputs, or without the digis that the inputs need."""
    inputs = config.inputs
    if "view" in description and description["view"] != inputs.geometry:
        raise DatasetError(
            f"config.inputs.geometry is {inputs.geometry!r}, but the dataset {config.dataset.name!r} shows "
            f"showers in the view {description['view']!r}. Name another as config.dataset.name."
        )
    if description.get("labelled") is False:
        raise DatasetError(
            f"The dataset {config.dataset.name!r} has no labels, so it trains no classifier. Name one of "
            "files with labels as config.dataset.name."
        )
    stored = description.get("channels", inputs.channels)
    if lacking := [name for name in inputs.channels if name not in stored]:
        raise DatasetError(
            f"config.inputs.channels asks for {lacking[0]!r}, but the jets of the dataset "
            f"{config.dataset.name!r} have {', '.join(stored)}."
        )
    if DIGIS in inputs.channels and "digis" in description and not description["digis"]:
        raise DatasetError(
            f"config.inputs.channels asks for digis, but the dataset {config.dataset.name!r} has none. Name "
            "one with digis as config.dataset.name."
        )


def has_endcaps(description: Mapping) -> bool:
    """Whether the events of a dataset have hits in the endcaps.

    A study whose photons are all in the barrel is simulated without endcaps; files always have them.

    Args:
      description: description of the dataset, or its metadata.
    """
    simulated = "fast" in description
    return description.get("study", {}).get("endcaps", True) or not simulated


def _check_endcaps(config, description: Mapping) -> None:
    """Reject images of endcaps that were not simulated and would be empty."""
    inputs = Inputs(**{name: _plain(value) for name, value in config.inputs.items()})
    if inputs.endcaps and not has_endcaps(description):
        raise DatasetError(
            f"config.inputs.geometry is {inputs.geometry!r}, which shows the endcaps, but the dataset "
            f"{config.dataset.name!r} was simulated without them, as all its photons are in the barrel. Name "
            'one with endcaps as config.dataset.name, such as "cms_hgg/forward_quick" or a study with '
            'detector="all", or the geometry "barrel".'
        )


def _plain(value):
    """The value of a field without types of ml_collections: dicts, tuples, numbers and texts."""
    if isinstance(value, Mapping) or hasattr(value, "to_dict"):
        return dict(value.items())
    return tuple(value) if isinstance(value, list) else value
