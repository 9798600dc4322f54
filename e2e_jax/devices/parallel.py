"""A step over all devices: the state is replicated, the batch is split.

Two methods give the same losses. "jit": the step is written for the whole batch, and the compiler splits it
over a mesh. "pmap": each device runs the step on its part and gathers the values that depend on the whole
batch. The devices may belong to several processes, each of which passes its share of the batch
(`distributed.share`).
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "batch"
WAYS = ("jit", "pmap")


@dataclasses.dataclass(frozen=True)
class Setup:
    """The devices of a training or a prediction, and the method of parallelism.

    Attributes:
      way: "jit" (over a mesh) or "pmap".
      devices: devices per process; 0 uses all.
      deterministic: whether a GPU gives the same bits each time.
    """

    way: str = "jit"
    devices: int = 0
    deterministic: bool = False

    @property
    def compiler_options(self) -> dict:
        """Options of `jax.jit`."""
        return {"xla_gpu_exclude_nondeterministic_ops": True} if self.deterministic else {}


class ParallelStep(NamedTuple):
    """A compiled training step.

    Attributes:
      place: function that copies a state from the host to the devices.
      spread: function that copies a whole sample to every device.
      step: (state, host batch) -> (state, metrics). The given state is donated: do not use it again. With
        several processes, each passes its share of the batch, and of the rows below.
      loop: pick -> loop, where pick(sample, rows [batch]) makes the batch of the events `rows`. The loop does
        many steps in one call, (state, sample, rows int32 [steps, batch]) -> (state, metrics [steps]). It is
        compiled for each number of steps, and also donates its state.
      devices: the devices of the step.
    """

    place: Callable[[Any], Any]
    spread: Callable[[Any], Any]
    step: Callable[[Any, Any], tuple[Any, Any]]
    loop: Callable[[Callable], Callable]
    devices: list


def mesh(batch_size, devices=None):
    """A mesh of as many devices as divide the batch evenly, with one axis named "batch".

    All processes have the same number of devices in it, in the order of the processes.

    Raises:
      ValueError: the number of processes does not divide the batch size.
    """
    owned = _by_process(jax.devices() if devices is None else devices)
    if batch_size % len(owned):
        raise ValueError(
            f"A batch of {batch_size} events cannot be shared among {len(owned)} processes: set "
            f"config.train.batch_size to a multiple of {len(owned)}, or start fewer processes."
        )
    most = min(map(len, owned))
    count = max(n for n in range(1, most + 1) if batch_size % (n * len(owned)) == 0)
    # `jax.make_mesh` may order them differently.
    grid = np.array([device for own in owned for device in own[:count]])
    return Mesh(grid, (AXIS,), axis_types=(AxisType.Auto,))


def _by_process(devices):
    """The devices of each process, in the order of the processes."""
    owners = sorted({device.process_index for device in devices})
    return [[device for device in devices if device.process_index == owner] for owner in owners]


def chosen(count: int = 0) -> list:
    """The first `count` devices of each process; 0 gives all.

    Raises:
      ValueError: a process has fewer devices.
    """
    there = jax.local_devices()
    if not 0 <= count <= len(there):
        raise ValueError(
            f"config.devices is {count}, but there are {len(there)} ({there[0].device_kind}): set it to at "
            "most that, or to 0 for all of them. JAX_NUM_CPU_DEVICES makes several of a CPU."
        )
    return [device for own in _by_process(jax.devices()) for device in own[: count or None]]


def shardings(grid):
    """The two layouts on a mesh: (the same on every device, split along the first axis)."""
    return NamedSharding(grid, PartitionSpec()), NamedSharding(grid, PartitionSpec(AXIS))


def event_keys(key, events, axis_name=None):
    """A random key per event of a step, the same on any number of devices.

    Args:
      key: the random key of the step.
      events: number of events in the step: with an axis, the device's part of the batch.
      axis_name: the mapped axis over which the batch is split; None if the step gets the whole batch.

    Returns:
      Keys [events], derived from the position of each event in the whole batch.
    """
    first = 0 if axis_name is None else jax.lax.axis_index(axis_name) * events
    return jax.vmap(lambda place: jax.random.fold_in(key, place))(first + jnp.arange(events))


def parallelize(
    make_step: Callable, batch_size: int, setup: Setup | None = None, devices=None
) -> ParallelStep:
    """Compile a training step for several devices.

    Args:
      make_step: axis name -> step. With None the step gets the whole batch, with a name the device's part.
      batch_size: events per batch.
      setup: method of parallelism; `Setup()` by default.
      devices: available devices, by default those of `chosen`. As many as divide the batch evenly are used.

    Raises:
      ValueError: `way` is neither "jit" nor "pmap", or "pmap" in a deterministic setup; or there are fewer
        devices than requested.
    """
    setup = setup or Setup()
    grid = mesh(batch_size, chosen(setup.devices) if devices is None else devices)
    if setup.way not in WAYS:
        raise ValueError(f"config.parallel is {setup.way!r}; it is one of {', '.join(WAYS)}.")
    if setup.way == "jit":
        return _by_jit(make_step, grid, setup.compiler_options)
    if setup.deterministic:
        raise ValueError(
            "config.deterministic is True and config.parallel is 'pmap', which takes no compiler options: "
            "set config.parallel to 'jit'."
        )
    return _by_pmap(make_step, grid)


def _by_jit(make_step, grid, options):
    replicated, split = shardings(grid)
    jit = functools.partial(
        jax.jit, out_shardings=(replicated, replicated), donate_argnums=0, compiler_options=options
    )
    columns = NamedSharding(grid, PartitionSpec(None, AXIS))
    compiled = jit(make_step(None), in_shardings=(replicated, split))

    def step(state, batch):
        return compiled(state, _global(batch, split))

    def loop(pick):
        def pick_split(sample, rows):
            return jax.lax.with_sharding_constraint(pick(sample, rows), split)

        compiled = jit(_loop(make_step(None), pick_split), in_shardings=(replicated, replicated, columns))

        def run(state, sample, rows):
            return compiled(state, sample, _global(rows, columns))

        return run

    spread = functools.partial(_global, sharding=replicated)
    place = functools.partial(jax.tree.map, functools.partial(_copied, sharding=replicated))
    return ParallelStep(place, spread, step, loop, list(grid.devices.flat))


def _by_pmap(make_step, grid):
    devices = list(grid.devices.flat)
    own = [device for device in devices if device.process_index == jax.process_index()]
    pmap = functools.partial(
        jax.pmap, axis_name=AXIS, out_axes=(None, None), donate_argnums=0, devices=devices
    )
    mapped = pmap(make_step(AXIS), in_axes=(None, 0))

    def step(state, batch):
        # [events, ...] -> [devices, events per device, ...]
        return mapped(state, jax.tree.map(lambda x: x.reshape(len(own), -1, *x.shape[1:]), batch))

    def loop(pick):
        mapped = pmap(_loop(make_step(AXIS), pick), in_axes=(None, None, 0))

        def run(state, sample, rows):
            # [steps, events] -> [devices, steps, events per device]
            of_device = np.swapaxes(rows.reshape(len(rows), len(own), -1), 0, 1)
            return mapped(state, sample, of_device)

        return run

    # For pmap, a process places arrays on its own devices only.
    replicated, _ = shardings(Mesh(np.array(own), (AXIS,), axis_types=(AxisType.Auto,)))
    spread = functools.partial(jax.device_put, device=replicated)
    # Never an alias, see `_copied`.
    place = functools.partial(spread, may_alias=False)
    return ParallelStep(place, spread, step, loop, devices)


def _global(tree, sharding):
    """Arrays over all devices, from the shares that the processes hold on the host."""
    return jax.make_array_from_process_local_data(sharding, tree)


def _copied(x, sharding):
    """A copy, over all devices, of a host array that each process holds completely.

    Never an alias: a step donates its state and must not free or overwrite the caller's array.
    """
    x = np.asarray(x)
    return jax.make_array_from_callback(x.shape, sharding, lambda index: np.array(x[index]))


def _loop(step, pick):
    """A loop of steps over rows, see `ParallelStep.loop`.

    The number of steps is the number of rows and known at compile time, so a GPU evaluates no loop condition.
    """

    def one(sample, state, rows):
        return step(state, pick(sample, rows))

    def run(state, sample, rows):
        if len(rows) == 1:
            # No loop for one step: XLA's convolutions are 20 times slower in a loop on a CPU.
            state, metrics = one(sample, state, rows[0])
            return state, jax.tree.map(lambda metric: metric[None], metrics)
        return jax.lax.scan(functools.partial(one, sample), state, rows)

    return run
