"""Events, hits or images in, probabilities out: the forward pass of a classifier on all devices."""

import dataclasses
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import ml_collections
import numpy as np

from e2e_jax import models, parallel, preprocessing
from e2e_jax.classes import Classes, category_of
from e2e_jax.sources.events import Events
from e2e_jax.sources.record import Record

LENGTH_STEP = 128
"""Padded lengths are multiples of this, so that similar events share one compiled program."""


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A trained classifier.

    Attributes:
      config: the config it was trained with.
      params: the network's parameters.
    """

    config: ml_collections.ConfigDict
    params: Any
    _predict: Callable = dataclasses.field(repr=False)

    @property
    def classes(self):
        """Names of the classes, in the order of the probabilities."""
        return Classes.of(self.config).names

    def predict(self, events_or_images):
        """Probabilities of the classes, in the order of `classes`.

        Args:
          events_or_images: `Events`, or `Showers` for a classifier of showers; a padded batch of their
            hits (`to_batch`); or images in GeV, with what they are normalised by, if anything:
            {"barrel": [n, 170, 360, channels], "mass": [n]}. In numpy.

        Returns:
          f4 `[n, classes]`.

        Raises:
          ValueError: the input is none of these, or an event has no finite probabilities.
        """
        record = category_of(self.config).record
        if isinstance(events_or_images, record):
            _check_record(events_or_images, self.config.inputs)
        else:
            check_batch(events_or_images, self.config.inputs, record)
        probabilities = self._predict(self.params, events_or_images)
        if not np.isfinite(probabilities).all():
            bad = np.flatnonzero(~np.isfinite(probabilities).all(axis=1))
            raise ValueError(
                f"Event {bad[0]} has no finite probabilities ({len(bad)} such events in these "
                f"{len(probabilities)}): its mass, photons, hits or images are not finite, or far too large. "
                "Drop these events, or mend the source that wrote them (`Events.validate` names the value)."
            )
        return probabilities


class Predictor:
    """The compiled forward pass: (params, events or images) -> probabilities f4 [n, classes], on the host.

    Batches of `config.evaluate.batch_size` go over all of this process's devices that divide it.
    """

    def __init__(self, config):
        self._config, self._network = config, models.build(config)
        self._compiled = {}

    def __call__(self, params, events_or_images):
        return self.of_batches(params, self.batches(events_or_images))

    def batches(self, events_or_images):
        """Yields (a padded batch on the devices, how many of its rows are events)."""
        rows = _rows(events_or_images)
        size = min(self._config.evaluate.batch_size, max(rows, 1))
        _, split = self._for_size(size)
        for batch, filled in _one_ahead(_batches(events_or_images, rows, size)):
            yield jax.device_put(batch, split), filled

    def of_batches(self, params, batches):
        """The probabilities of what `batches` yields; a list of it can be used again and again."""
        params = jax.device_get(params)
        parts = [np.zeros((0, self._config.model.classes), np.float32)]
        for batch, filled in batches:
            run, _ = self._for_size(_rows(batch))
            parts.append(np.asarray(run(params, batch))[:filled])
        return np.concatenate(parts)

    def _for_size(self, size):
        """(the compiled function, the layout of its batches) for batches of a size."""
        if size not in self._compiled:
            replicated, split = parallel.shardings(parallel.mesh(size, jax.local_devices()))
            run = jax.jit(self._forward, in_shardings=(replicated, split), out_shardings=replicated)
            self._compiled[size] = run, split
        return self._compiled[size]

    def _forward(self, params, batch):
        logits = self._network.apply(
            {"params": params}, preprocessing.model_inputs(batch, self._config.inputs)
        )
        return jax.nn.softmax(logits, axis=-1)


def check_batch(batch, inputs, record=Events):
    """Refuses what is no padded batch of hits, nor the images of a geometry.

    Args:
      batch: what `Classifier.predict` was given, if not a record.
      inputs: `config.inputs`.
      record: of what events the classifier is.

    Raises:
      ValueError: it names the entry that does not fit, and what was expected in its place.
    """
    shapes = preprocessing.dense_shapes(inputs)
    wanted = ", ".join(f"{name!r}: [n, {', '.join(map(str, shape))}]" for name, shape in shapes.items())
    if not isinstance(batch, Mapping):
        shape = f" of shape {np.shape(batch)}" if hasattr(batch, "shape") else ""
        kind, massive = record.__name__, "mass" in record.BATCHED
        dense = f"{{{wanted}, 'mass': [n]}}" if massive else f"{{{wanted}}}"
        beside = " with the diphoton mass beside them" if massive else ""
        raise ValueError(
            f"predict takes {kind}, a padded batch of hits ({kind}.to_batch)"
            f"{f', or images{beside}, {dense}' if shapes else ''}; got {type(batch).__name__}{shape}."
        )
    columns = {
        jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(dict(batch))
    }
    for name, column in columns.items():
        if column.ndim == 0 or column.dtype.kind not in "fiub":
            raise ValueError(f"{name!r} is no array of numbers with an entry an event: {column.dtype}[].")
        _refuse_infinite(name, column)
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(
            f"The entries of this batch are of different numbers of events: {lengths or 'none'}."
        )
    for name, shape in shapes.items():
        if name in columns and columns[name].shape[1:] != shape:
            raise ValueError(
                f"The image {name!r} has the shape {columns[name].shape}, but this classifier sees {wanted}, "
                f"the channels {', '.join(inputs.channels)}, in GeV."
            )
    if "mass" in columns:
        bad = np.flatnonzero(~(columns["mass"] > 0) | ~np.isfinite(columns["mass"]))
        if len(bad):
            raise ValueError(
                f"'mass' of event {bad[0]} is {columns['mass'][bad[0]]}; it is the diphoton mass in GeV."
            )
    for name, cells in record.cells(inputs).items():
        _check_cells(name, columns.get(f"{name}.cell"), cells)


def _check_record(events, inputs):
    """Refuses events with a number that is not finite, or cells that the classifier does not see."""
    for name in events.BATCHED:
        _refuse_infinite(name, getattr(events, name))
    for name, columns in events.COLLECTIONS.items():
        ragged = getattr(events, name)
        for column in columns:
            _refuse_infinite(f"{name}.{column}", ragged.columns[column], ragged)
    for name, cells in events.cells(inputs).items():
        _check_cells(name, getattr(events, name).cell, cells)


def _refuse_infinite(name, values, ragged=None):
    """Refuses an array, by events or by the entries of `ragged`, where a number is not finite."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        row = np.argwhere(~np.isfinite(values))[0][0]
        event = row if ragged is None else ragged.event_index[row]
        raise ValueError(
            f"{name!r} of event {event} is not finite. Drop such events, or mend the source that wrote them."
        )


def _check_cells(name, cells, number):
    if cells is not None and cells.size and not (cells.min() >= 0 and cells.max() < number):
        raise ValueError(
            f"'{name}.cell' holds {cells.min()} to {cells.max()}, but the cells of {name!r} are 0 to "
            f"{number - 1} (detector.geometry, detector.crops); padding has cell 0 and energy 0."
        )


def _rows(events_or_images):
    if isinstance(events_or_images, Record):
        return len(events_or_images)
    return len(jax.tree.leaves(events_or_images)[0])


def _batches(events_or_images, rows, size):
    """Yields (batch of `size` rows, how many of them are real); the last row fills the last batch up."""
    lengths = {}
    if isinstance(events_or_images, Record):
        collections = {name: getattr(events_or_images, name) for name in events_or_images.COLLECTIONS}
        longest = {name: int(ragged.counts.max(initial=1)) for name, ragged in collections.items()}
        lengths = {name: -(-count // LENGTH_STEP) * LENGTH_STEP for name, count in longest.items()}
    for start in range(0, rows, size):
        taken = np.minimum(np.arange(start, start + size), rows - 1)
        if isinstance(events_or_images, Record):
            batch = events_or_images[taken].to_batch(lengths)
        else:
            batch = jax.tree.map(lambda leaf, taken=taken: np.asarray(leaf)[taken], dict(events_or_images))
        yield batch, min(size, rows - start)


def _one_ahead(items):
    """The items, each made by a thread while the one before is in use."""
    items, end = iter(items), object()
    with ThreadPoolExecutor(1, "batches") as thread:
        waiting = thread.submit(next, items, end)
        while (item := waiting.result()) is not end:
            waiting = thread.submit(next, items, end)
            yield item
