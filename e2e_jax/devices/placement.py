"""Placement of the training sample: on the device as packed hits, or on the host, sent batch by batch.

A sample of the paper's size takes a gigabyte as hits and a hundred as images. On the device, an epoch is one
compiled loop that selects events, makes their images and trains on them; only the order of the events and the
losses are transferred. A sample that does not fit into the memory of the host stays on disk, and the events
of a batch are read from there. All placements give the same batches.
"""

import itertools
import os
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np

from e2e_jax.datasets import batches
from e2e_jax.datasets.batches import Sampling
from e2e_jax.devices import distributed, parallel
from e2e_jax.events.base import Record
from e2e_jax.study import Task

PLACES = ("auto", "device", "stream", "disk")

SHARE = 0.5
"""Fraction of the free memory of a device that the sample may take; the training needs the rest."""

PIECE_SECONDS = 2.0
"""Approximate time between two transfers of losses from the device, so that a progress bar moves."""

LOOP = 16
"""Steps per compiled loop, to save calls. Networks with convolutions run single steps on a CPU, because XLA's
convolutions are 20 times slower in a loop and a call is short compared with a step."""

IN_FLIGHT = 16
"""Maximum number of calls that wait for the devices. With 64 and more, short steps on two CPU devices ended
in a deadlock of XLA's all-reduce (jaxlib 0.10.2)."""

STREAMED_TOGETHER = 8
"""Maximum number of steps sent to the device at a time; limits the memory of the waiting batches."""

Feed = Callable[[object, int, int], Iterator[tuple[object, list[dict]]]]
"""(state, epoch, first step) -> after each piece of the epoch, the state and the metrics of its steps."""


def pack(events: Record) -> dict:
    """The sample as flat arrays.

    Returns:
      The columns of `Record.batched`, such as "label": [n], and for each collection, such as "eb": `{"first":
      [n], "count": [n], "cell": [hits], "energy": [hits]}`. Event i has the hits `first[i]` to
      `first[i] + count[i]` of a collection.

    Raises:
      ValueError: a collection has too many hits for 32-bit indices.
    """
    packed = events.batched()
    for name in events.COLLECTIONS:
        ragged = getattr(events, name)
        if ragged.offsets[-1] > np.iinfo(np.int32).max:
            raise ValueError(
                f"The sample has {ragged.offsets[-1]} entries in {name!r}, more than a device array indexes: "
                "set config.data.placement to 'stream'."
            )
        counts = {"first": ragged.offsets[:-1].astype(np.int32), "count": ragged.counts.astype(np.int32)}
        # An empty collection still needs one entry to index.
        columns = {
            c: v if len(v) else np.zeros((1, *v.shape[1:]), v.dtype) for c, v in ragged.columns.items()
        }
        packed[name] = counts | columns
    return packed


def choose(place: str, events: Record, devices: list) -> tuple[str, str]:
    """The placement of the sample: ("device", "stream" or "disk", the reason in words).

    Args:
      place: `config.data.placement`, one of `PLACES`.
      events: the sample.
      devices: the devices of the training; each gets the whole sample.

    Raises:
      ValueError: `place` is none of `PLACES`.
    """
    if place not in PLACES:
        raise ValueError(f"config.data.placement is {place!r}; it is one of {', '.join(PLACES)}.")
    if place in ("stream", "disk"):
        return place, "config.data.placement asks for it"
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(pack(events)))
    free, where = _free_memory(devices)
    if size <= SHARE * free:
        return "device", f"{size / 1e9:.2f} GB of hits fit into {where}"
    reason = (
        f"{size / 1e9:.2f} GB of hits are more than {SHARE:.0%} of the {free / 1e9:.2f} GB free in {where}"
    )
    host = _host_memory()
    if size > SHARE * host:
        return "disk", f"{size / 1e9:.2f} GB of hits are more than {SHARE:.0%} of this machine's free memory"
    return "stream", reason


def fits(size: float, devices: list) -> bool:
    """Whether `size` bytes, split over the devices of this process, leave enough memory free."""
    return size / len(devices) <= SHARE * _free_memory(devices)[0]


def _free_memory(devices: list) -> tuple[float, str]:
    """Free bytes on each device, and the name of this memory."""
    own = [device for device in devices if device.process_index == jax.process_index()]
    statistics = [device.memory_stats() for device in own]
    if all(s and "bytes_limit" in s for s in statistics):
        return min(s["bytes_limit"] - s.get("bytes_in_use", 0) for s in statistics), own[0].device_kind
    # CPU devices share the memory of the host, and each has its own copy. So may those of other processes.
    return _host_memory() / len(devices), "this machine's memory"


def _host_memory() -> float:
    """Free bytes on this machine; 0 if the system does not report them."""
    pages = os.sysconf("SC_AVPHYS_PAGES") if "SC_AVPHYS_PAGES" in os.sysconf_names else 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def streamed(
    step: parallel.ParallelStep, events: Record, task: Task, sampling: Sampling, single: bool = False
) -> Feed:
    """Feed a training from the host: a thread pads the batches and sends them while the device works.

    Args:
      step: the compiled step.
      events: the training sample.
      task: defines the classes, which the batches balance.
      sampling: parameters of the batches.
      single: make each piece one step, for example to save a checkpoint after every step.
    """
    steps = batches.steps_per_epoch(events, sampling.batch_size, task)
    layout = batches.layout(events, task, sampling, len(step.devices))
    most = 1 if single else STREAMED_TOGETHER

    def feed(state, epoch, first):
        own = distributed.share(sampling.batch_size)
        made = batches.epoch_batches(events, task, sampling, epoch, first, own, layout)
        piece = 1
        while first < steps:
            count = min(piece, steps - first, most)
            start, metrics = time.perf_counter(), []
            for batch in itertools.islice(made, count):
                # Does not wait for the device.
                state, of_step = step.step(state, batch)
                metrics.append(of_step)
            metrics = jax.device_get(metrics)
            piece = _agreed(_next_piece(piece, count, time.perf_counter() - start))
            first += count
            yield state, metrics

    return feed


def resident(
    step: parallel.ParallelStep,
    events: Record,
    task: Task,
    sampling: Sampling,
    single: bool = False,
    convolves: bool = True,
) -> Feed:
    """Feed a training on the device: the sample is sent once, the order of the events at each epoch.

    Args:
      step, events, task, sampling, single: as for `streamed`.
      convolves: whether the network has convolutions; these do not run in loops on a CPU, see `LOOP`.
    """
    steps = batches.steps_per_epoch(events, sampling.batch_size, task)
    layout = batches.layout(events, task, sampling, len(step.devices))
    run = step.loop(layout.take)
    loop = 1 if single or (convolves and step.devices[0].platform == "cpu") else LOOP
    most = 1 if single else steps
    packed = step.spread(pack(events))

    def feed(state, epoch, first):
        rows = batches.epoch_rows(events, task, sampling, steps, epoch)
        layout.check(events, rows)
        rows, piece = rows[:, distributed.share(sampling.batch_size)].astype(np.int32), 1
        while first < steps:
            # Whole loops, then single steps: the calls do not depend on timing or on where a run resumed.
            begin, start, metrics = first, time.perf_counter(), []
            while first < min(begin + min(piece, most), steps):
                end = first + loop if first % loop == 0 and first + loop <= steps else first + 1
                # Does not wait for the device.
                state, of_steps = run(state, packed, rows[first:end])
                metrics.append(of_steps)
                first = end
                if len(metrics) % IN_FLIGHT == 0:
                    jax.block_until_ready(of_steps)
            count, metrics = first - begin, _by_step(jax.device_get(metrics))
            piece = _agreed(_next_piece(piece, count, time.perf_counter() - start))
            yield state, metrics

    return feed


def _by_step(metrics):
    """The metrics of each step, from the metrics [steps] of several calls."""
    return [dict(zip(of, values)) for of in metrics for values in zip(*of.values())]


def _agreed(piece):
    """The value of the first process: clocks differ, but all must end after the same piece."""
    return distributed.of_first(lambda: piece)


def _next_piece(piece, count, seconds):
    """Steps of the next piece: at most twice as many, in about `PIECE_SECONDS`."""
    return max(1, min(2 * piece, int(count * PIECE_SECONDS / seconds)))
