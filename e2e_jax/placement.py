"""Where the training sample lies: on the device as hits without gaps, or on the host, sent batch by batch.

A sample of the paper's size is a gigabyte as hits, and a hundred as images. On the device, an epoch is one
compiled loop that picks its events, makes their images and trains on them; nothing crosses the bus but the
order of the events and the losses. Both places give the same batches.
"""

import os
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from e2e_jax import input_pipeline, parallel
from e2e_jax.classes import Classes
from e2e_jax.sources.events import COLLECTIONS, Events

PLACES = ("auto", "device", "stream")

SHARE = 0.5
"""Part of a device's free memory that the sample may take; the rest is the training's."""

PIECE_SECONDS = 2.0
"""About how long the device works before it tells of its losses, so that a progress bar moves."""

Feed = Callable[[object, int, int], Iterator[tuple[object, list[dict]]]]
"""(state, epoch, first step) -> the state after each piece of the epoch, with the metrics of its steps."""


def pack(events: Events) -> dict:
    """The sample as flat arrays.

    Returns:
      `{"mass": [n], "photons": [n, 2, 3], "label": [n], "eb": {"first": [n], "count": [n], "cell": [hits],
      "energy": [hits]}, ...}`: event i owns the hits `first[i]` to `first[i] + count[i]` of a collection.

    Raises:
      ValueError: a collection has more hits than 32-bit numbers count.
    """
    packed = {"mass": events.mass, "photons": events.photons, "label": events.label}
    for name in COLLECTIONS:
        ragged = getattr(events, name)
        if ragged.offsets[-1] > np.iinfo(np.int32).max:
            raise ValueError(
                f"The sample has {ragged.offsets[-1]} entries in {name!r}, more than a device array indexes: "
                "set config.data.placement to 'stream'."
            )
        counts = {"first": ragged.offsets[:-1].astype(np.int32), "count": ragged.counts.astype(np.int32)}
        # A collection without any entry still needs one to point at.
        columns = {c: v if len(v) else np.zeros(1, v.dtype) for c, v in ragged.columns.items()}
        packed[name] = counts | columns
    return packed


def take(packed: dict, rows: jax.Array, lengths: dict[str, int]) -> dict:
    """The padded batch of some events, as `Events.to_batch` makes it; inside a jitted step.

    Args:
      packed: from `pack`.
      rows: int32 `[batch]`, which events.
      lengths: padded length of each collection, at least its longest event's.
    """
    batch = {name: packed[name][rows] for name in ("mass", "photons", "label")}
    for name, columns in COLLECTIONS.items():
        place = jnp.arange(lengths[name], dtype=jnp.int32)[None, :]
        filled = place < packed[name]["count"][rows][:, None]
        entry = jnp.where(filled, packed[name]["first"][rows][:, None] + place, 0)
        batch[name] = {c: jnp.where(filled, packed[name][c][entry], 0).astype(t) for c, t in columns.items()}
    return batch


def choose(place: str, events: Events, devices: list) -> tuple[str, str]:
    """Where the sample goes: ("device" or "stream", the reason in words).

    Args:
      place: `config.data.placement`, one of `PLACES`.
      events: the sample.
      devices: the devices of the training; each gets the whole sample.

    Raises:
      ValueError: `place` is none of `PLACES`.
    """
    if place not in PLACES:
        raise ValueError(f"config.data.placement is {place!r}; it is one of {', '.join(PLACES)}.")
    if place == "stream":
        return "stream", "config.data.placement asks for it"
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(pack(events)))
    free, where = _free_memory(devices)
    if size <= SHARE * free:
        return "device", f"{size / 1e9:.2f} GB of hits fit into {where}"
    reason = (
        f"{size / 1e9:.2f} GB of hits are more than {SHARE:.0%} of the {free / 1e9:.2f} GB free in {where}"
    )
    return "stream", reason


def _free_memory(devices: list) -> tuple[float, str]:
    """Bytes for the sample on each device, and what they are called."""
    statistics = [device.memory_stats() for device in devices]
    if all(s and "bytes_limit" in s for s in statistics):
        return min(s["bytes_limit"] - s.get("bytes_in_use", 0) for s in statistics), devices[0].device_kind
    pages = os.sysconf("SC_AVPHYS_PAGES") if "SC_AVPHYS_PAGES" in os.sysconf_names else 0
    # CPU devices share the host's memory, and each has its own copy.
    return pages * os.sysconf("SC_PAGE_SIZE") / len(devices), "this machine's memory"


def streamed(step: parallel.ParallelStep, events: Events, config) -> Feed:
    """Feeds a training from the host: each batch is padded by a thread, and sent when the device is ready."""

    def feed(state, epoch, first):
        batches = input_pipeline.epoch_batches(
            events, config.train.batch_size, config.seed, epoch, first, Classes.of(config)
        )
        for batch in batches:
            state, metrics = step.step(state, batch)
            yield state, [jax.device_get(metrics)]

    return feed


def resident(step: parallel.ParallelStep, events: Events, config) -> Feed:
    """Feeds a training on the device: the sample is sent once, an epoch's order at its start."""
    classes, size = Classes.of(config), config.train.batch_size
    steps = input_pipeline.steps_per_epoch(events, size, classes)
    targets = classes.of_labels(events.label)
    lengths = input_pipeline.padded_lengths(events)
    run = step.loop(lambda packed, rows: take(packed, rows, lengths))
    packed = step.spread(pack(events))

    def feed(state, epoch, first):
        rows = input_pipeline.epoch_rows(targets, size, steps, config.seed, epoch, len(classes.names))
        rows, piece = rows.astype(np.int32), 1
        while first < steps:
            until_saved = config.train.checkpoint_every - first % config.train.checkpoint_every
            count = min(piece, until_saved, steps - first, parallel.LONGEST_LOOP)
            start = time.perf_counter()
            state, metrics = run(state, packed, rows, first, count)
            metrics = jax.device_get(metrics)
            piece = max(1, min(2 * piece, int(count * PIECE_SECONDS / (time.perf_counter() - start))))
            first += count
            yield state, [{name: values[i] for name, values in metrics.items()} for i in range(count)]

    return feed
