"""Training in several processes, each with its own devices, on one or more machines.

All processes run the same code with the same config and read the same dataset; each takes its share of a
batch. They all need access to the run's folder, but only the first process writes into it. (Orbax requires
all processes to call for a checkpoint and writes it from the first.) If a process dies, the others end within
a minute; the last checkpoint stays intact.
"""

import contextlib
import itertools
import json
import math
import multiprocessing
import os
import sys
import threading
import traceback
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from orbax.checkpoint import multihost

START_SECONDS = 300
"""Seconds that a process waits for the others to start."""

END_SECONDS = 3600
"""Seconds that the others wait at the end, while the first process writes results and report."""

SILENCE_SECONDS = 30
"""Seconds without a heartbeat after which a process counts as dead."""

MEETING_SECONDS = 86_400
"""Seconds that processes wait for each other in between, for example while the first builds a dataset."""

MESSAGE_BYTES = 4096
"""Messages of the first process are padded to a multiple of this, so that few programs are compiled."""

LOST = ("gloo", "nccl", "connection", "coordination", "heartbeat", "unavailable", "deadline_exceeded")
"""Words in an error of the runtime that indicate a failure of another process."""

_meetings = itertools.count()

_VALUE, _ERROR = b"v", b"e"
"""First byte of a message: its type."""


def join(coordinator: str | None = None, processes: int | None = None, process: int | None = None) -> None:
    """Make this process one of several. Call it before anything that uses JAX's devices.

    Args:
      coordinator: "host:port" of the first process, the same for all. None if the cluster defines all three
        arguments (Slurm, Open MPI, TPU pods).
      processes: number of processes.
      process: index of this process, from 0.

    Raises:
      ValueError: the arguments do not match, the processes cannot connect, or they have different numbers of
        devices.
    """
    given = (coordinator, processes, process)
    if any(value is None for value in given) and any(value is not None for value in given):
        raise ValueError(
            "--coordinator=HOST:PORT, --processes=N and --process=I go together (I from 0; process 0 runs on "
            "HOST). Where the cluster tells a program all that, as Slurm does, --distributed stands for them."
        )
    if coordinator is not None and not 0 <= process < processes:
        raise ValueError(
            f"--process is {process}, but {processes} processes count from 0 to {processes - 1}."
        )
    # This service would handle SIGTERM as a notice, and the process would continue.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            coordinator,
            processes,
            process,
            initialization_timeout=START_SECONDS,
            heartbeat_timeout_seconds=SILENCE_SECONDS,
            shutdown_timeout_seconds=END_SECONDS,
        )
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"The processes of this training did not find each other: {_first_line(error)} Start all "
            f"within {START_SECONDS} s, with one --coordinator=HOST:PORT that each can reach; --distributed "
            "alone is for clusters that tell a program all that, as Slurm does."
        ) from error
    counts = [sum(d.process_index == i for d in jax.devices()) for i in range(jax.process_count())]
    if len(set(counts)) > 1:
        raise ValueError(
            f"The processes have {', '.join(map(str, counts))} devices; they need as many each. "
            "CUDA_VISIBLE_DEVICES chooses GPUs, JAX_NUM_CPU_DEVICES the devices of a CPU."
        )


def stand_alone() -> None:
    """Make a child process compute alone on its CPU and end when its parent ends."""
    jax.config.update("jax_platforms", "cpu")

    def follow():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def several() -> bool:
    """Whether the training has several processes."""
    return jax.process_count() > 1


def first() -> bool:
    """Whether this is the first process, which writes the files."""
    return jax.process_index() == 0


def share(size: int) -> slice:
    """The slice of the `size` events of a batch that this process takes."""
    own = size // jax.process_count()
    return slice(own * jax.process_index(), own * (jax.process_index() + 1))


def connect(devices: list) -> None:
    """Connect the devices of a training. Call it before the steps are compiled: compile times differ."""
    if not several():
        return
    _meet()
    grid = Mesh(np.array(devices), ("all",))
    own = NamedSharding(grid, PartitionSpec("all"))
    ones = jax.make_array_from_callback((len(devices),), own, lambda _: np.ones(1, np.int32))
    jax.block_until_ready(jax.jit(jnp.sum, out_shardings=NamedSharding(grid, PartitionSpec()))(ones))


def _meet() -> None:
    """Wait for the other processes. Gloo gives them at most 30 s to join the first common computation."""
    wait = multihost.get_barrier_sync_fn()
    wait(key=f"e2e_jax {next(_meetings)}", timeout_ms=1000 * MEETING_SECONDS)


def of_first(make: Callable):
    """Call `make()` in the first process only and return its value in all processes.

    The value is sent as JSON: numbers, text, lists and dicts. Use `arrays_of_first` for arrays.

    Raises:
      Exception: the error of `make`, in the first process; in the others a ValueError with its message.
    """
    if not several():
        return make()
    value, content = _sent(make, lambda value: json.dumps(value).encode())
    return value if first() else json.loads(content)


def arrays_of_first(make: Callable, like):
    """Call `make()` in the first process only and return its pytree of arrays in all processes.

    Args:
      make: called in the first process only.
      like: pytree of the same structure, whose leaves have the `shape` and `dtype` of the arrays.

    Raises:
      Exception: as in `of_first`.
    """
    if not several():
        return make()
    value, content = _sent(make, lambda value: to_bytes(value, like))
    return value if first() else from_bytes(content, like)


def to_bytes(tree, like) -> bytes:
    """The concatenated bytes of the arrays of a pytree.

    Raises:
      ValueError: an array has another shape or type than in `like`.
    """
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    kinds = [[(leaf.shape, leaf.dtype) for leaf in some] for some in (leaves, jax.tree.leaves(like))]
    if kinds[0] != kinds[1]:
        raise ValueError("The arrays of the first process differ in shape or type from those of the others.")
    return b"".join(leaf.tobytes() for leaf in leaves)


def from_bytes(content: bytes, like):
    """The pytree from the bytes of `to_bytes`."""
    leaves, structure = jax.tree.flatten(like)
    arrays, start = [], 0
    for leaf in leaves:
        arrays.append(np.ndarray(leaf.shape, leaf.dtype, content, start).copy())
        start += arrays[-1].nbytes
    return jax.tree.unflatten(structure, arrays)


def _sent(make: Callable, pack: Callable) -> tuple[object, bytes]:
    """The value of `make()` in the first process (None in the others), and its packed bytes in all."""
    value, error, content = None, None, b""
    if first():
        try:
            value = make()
            content = _VALUE + pack(value)
        except Exception as caught:  # any error ends all processes
            error, content = caught, _ERROR + str(caught).encode()
    content = _broadcast(content)
    if error is not None:
        raise error
    if content.startswith(_ERROR):
        raise ValueError(content.removeprefix(_ERROR).decode())
    return value, content.removeprefix(_VALUE)


def _broadcast(content: bytes) -> bytes:
    """The bytes of the first process, in all of them."""
    _meet()
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    message = np.zeros(-(-length // MESSAGE_BYTES) * MESSAGE_BYTES, np.uint8)
    if first():
        message[:length] = np.frombuffer(content, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(message)).tobytes()[:length]


def leave() -> None:
    """Wait until all processes get here; then each can end alone."""
    if several():
        jax.distributed.shutdown()


def divided(compute: Callable, events) -> np.ndarray:
    """`compute(events)`, an array with one entry per event. Each process computes a part of it."""
    return gathered(compute(part(events)), len(events))


def part(events):
    """The events of this process. All parts have the same size; the last event may be repeated."""
    if not several() or not len(events):
        return events
    size = math.ceil(len(events) / jax.process_count())
    rows = np.arange(size) + size * jax.process_index()
    return events[np.minimum(rows, len(events) - 1)]


def gathered(own, count: int) -> np.ndarray:
    """The joined results of all processes, for `count` events in total."""
    if not several() or not count:
        return own
    _meet()
    return np.asarray(multihost_utils.process_allgather(own, tiled=True))[:count]


@contextlib.contextmanager
def dying_together():
    """Context of all work of a process: the process ends immediately if it fails or the others are lost.

    The normal end of a process waits for the others, which may be waiting for it.
    """
    try:
        yield
    except BaseException as error:
        if not several():
            raise
        if isinstance(error, jax.errors.JaxRuntimeError) and _concerns_another(error):
            print(
                f"Error: process {jax.process_index()} of {jax.process_count()} lost another one, so it ends "
                f"too ({_first_line(error)}). The output of the one that ended first says why. Started "
                "again, all of them continue from the last checkpoint.",
                file=sys.stderr,
            )
        elif not isinstance(error, SystemExit):
            traceback.print_exc()
        elif not error.code:
            raise
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1)


def _concerns_another(error):
    return any(word in str(error).lower() for word in LOST)


def _first_line(error):
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
