"""Where the training sample lies: on the device as hits without gaps, or on the host, sent batch by batch.

A sample of the paper's size is a gigabyte as hits, and a hundred as images. On the device, an epoch is one
compiled loop that picks its events, makes their images and trains on them; nothing crosses the bus but the
order of the events and the losses. A sample that does not fit into the host's memory stays on disk, where a
batch's events are read at random. All places give the same batches.
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
"""Part of a device's free memory that the sample may take; the rest is the training's."""

PIECE_SECONDS = 2.0
"""About how long the device works before it tells of its losses, so that a progress bar moves."""

LOOP = 16
"""Steps of a compiled loop, which spares the calls between them. A CPU takes single steps of networks with
convolutions: a step takes far longer than a call, and XLA's convolutions are 20 times slower in a loop."""

IN_FLIGHT = 16
"""Most calls that wait for the devices. With 64 and more waiting, short steps on two CPU devices ended in a
deadlock of XLA's all-reduce (jaxlib 0.10.2)."""

STREAMED_TOGETHER = 8
"""Most steps sent to the device before it tells: bounds the memory of the batches that wait there."""

Feed = Callable[[object, int, int], Iterator[tuple[object, list[dict]]]]
"""(state, epoch, first step) -> the state after each piece of the epoch, with the metrics of its steps."""


def pack(events: Record) -> dict:
    """The sample as flat arrays.

    Returns:
      The columns of `Record.batched`, such as "label": [n], and of each collection, such as "eb": `{"first":
      [n], "count": [n], "cell": [hits], "energy": [hits]}`: event i owns the hits `first[i]` to
      `first[i] + count[i]` of a collection.

    Raises:
      ValueError: a collection has more hits than 32-bit numbers count.
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
        # A collection without any entry still needs one to point at.
        columns = {
            c: v if len(v) else np.zeros((1, *v.shape[1:]), v.dtype) for c, v in ragged.columns.items()
        }
        packed[name] = counts | columns
    return packed


def choose(place: str, events: Record, devices: list) -> tuple[str, str]:
    """Where the sample goes: ("device", "stream" or "disk", the reason in words).

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
    """Whether so many bytes, split among the devices of this process, leave enough memory free."""
    return size / len(devices) <= SHARE * _free_memory(devices)[0]


def _free_memory(devices: list) -> tuple[float, str]:
    """Bytes for the sample on each device, and what they are called."""
    own = [device for device in devices if device.process_index == jax.process_index()]
    statistics = [device.memory_stats() for device in own]
    if all(s and "bytes_limit" in s for s in statistics):
        return min(s["bytes_limit"] - s.get("bytes_in_use", 0) for s in statistics), own[0].device_kind
    # CPU devices share the host's memory, and each has its own copy; those of other processes may, too.
    return _host_memory() / len(devices), "this machine's memory"


def _host_memory() -> float:
    """Bytes that are free on this machine; 0 where the system does not tell."""
    pages = os.sysconf("SC_AVPHYS_PAGES") if "SC_AVPHYS_PAGES" in os.sysconf_names else 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def streamed(
    step: parallel.ParallelStep, events: Record, task: Task, sampling: Sampling, single: bool = False
) -> Feed:
    """Feed a training from the host: batches are padded by a thread, and sent while the device works.

    Args:
      step: the compiled step.
      events: the training sample.
      task: whose classes the batches balance.
      sampling: how the epochs are drawn.
      single: whether each piece is one step, as where a checkpoint is due after every step.
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
    """Feed a training on the device: the sample is sent once, an epoch's order at its start.

    Args:
      step, events, task, sampling, single: as for `streamed`.
      convolves: whether the network has convolutions, which a CPU does not compute in loops, see `LOOP`.
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
            # The same calls whatever the clock, and wherever a run resumed: whole loops, then single steps.
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
    """The metrics [steps] of several calls as those of each step."""
    return [dict(zip(of, values)) for of in metrics for values in zip(*of.values())]


def _agreed(piece):
    """The first process's: clocks differ, but all must end a training after the same piece."""
    return distributed.of_first(lambda: piece)


def _next_piece(piece, count, seconds):
    """Steps of the next piece: twice as many, but not far more than `PIECE_SECONDS` of them."""
    return max(1, min(2 * piece, int(count * PIECE_SECONDS / seconds)))
