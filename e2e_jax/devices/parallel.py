"""A step over all devices: the state on each of them, the batch split among them.

Two ways with the same losses. "jit": the step is written for the whole batch, and the compiler splits it over
a mesh. "pmap": each device runs the step on its part and gathers what has to be seen together. The devices
may belong to several processes, each of which gives its share of the batch (`distributed.share`).
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
    """The devices of a training or a prediction, and how they work together.

    Attributes:
      way: "jit" (over a mesh) or "pmap".
      devices: how many of the devices, in each process; 0 for all of them.
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
      place: puts a host copy of the state on the devices.
      spread: puts a sample of events on every device, whole.
      step: (state, host batch) -> (state, metrics). The state it was given is donated: do not use it again.
        Of several processes each gives its share of the batch, and so of the rows below.
      loop: pick -> loop, where pick(sample, rows [batch]) makes the batch of some events. The loop does many
        steps in one call, (state, sample, rows int32 [steps, batch]) -> (state, metrics [steps]), and is
        compiled for each number of steps; it donates its state, too.
      devices: the devices that work on it.
    """

    place: Callable[[Any], Any]
    spread: Callable[[Any], Any]
    step: Callable[[Any, Any], tuple[Any, Any]]
    loop: Callable[[Callable], Callable]
    devices: list


def mesh(batch_size, devices=None):
    """A mesh of the most devices that divide the batch evenly; one axis, named "batch".

    Of several processes each has as many devices in it, one process's after another's.

    Raises:
      ValueError: the processes do not divide the batch.
    """
    owned = _by_process(jax.devices() if devices is None else devices)
    if batch_size % len(owned):
        raise ValueError(
            f"A batch of {batch_size} events cannot be shared among {len(owned)} processes: set "
            f"config.train.batch_size to a multiple of {len(owned)}, or start fewer processes."
        )
    most = min(map(len, owned))
    count = max(n for n in range(1, most + 1) if batch_size % (n * len(owned)) == 0)
    # Not `jax.make_mesh`, which may put them in another order.
    grid = np.array([device for own in owned for device in own[:count]])
    return Mesh(grid, (AXIS,), axis_types=(AxisType.Auto,))


def _by_process(devices):
    """The devices of each process, in the order of the processes."""
    owners = sorted({device.process_index for device in devices})
    return [[device for device in devices if device.process_index == owner] for owner in owners]


def chosen(count: int = 0) -> list:
    """The first `count` of the devices there are, in each process; all of them where that is 0.

    Raises:
      ValueError: more are asked for than there are.
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
    """A random key for each event that a step sees, the same on any number of devices.

    Args:
      key: the step's random key.
      events: how many events the step sees: a device's part of the batch where there is an axis.
      axis_name: the mapped axis over which the batch is spread; None where the step gets it whole.

    Returns:
      Keys [events], by each event's place in the whole batch.
    """
    first = 0 if axis_name is None else jax.lax.axis_index(axis_name) * events
    return jax.vmap(lambda place: jax.random.fold_in(key, place))(first + jnp.arange(events))


def parallelize(
    make_step: Callable, batch_size: int, setup: Setup | None = None, devices=None
) -> ParallelStep:
    """Compile a training step for several devices.

    Args:
      make_step: axis name -> step; with None the step sees the whole batch, with a name a device's part.
      batch_size: events of a batch.
      setup: how the devices work together; `Setup()` by default.
      devices: the devices to use, as many as divide the batch evenly; those of `chosen` by default.

    Raises:
      ValueError: the way is neither "jit" nor "pmap", or "pmap" in a deterministic setup; or there are fewer
        devices than asked for.
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
        # [events, ...] -> [devices, events of a device, ...]
        return mapped(state, jax.tree.map(lambda x: x.reshape(len(own), -1, *x.shape[1:]), batch))

    def loop(pick):
        mapped = pmap(_loop(make_step(AXIS), pick), in_axes=(None, None, 0))

        def run(state, sample, rows):
            # [steps, events] -> [devices, steps, events of a device]
            of_device = np.swapaxes(rows.reshape(len(rows), len(own), -1), 0, 1)
            return mapped(state, sample, of_device)

        return run

    # A process places on its own devices alone, as it does for anything that it gives a pmap.
    replicated, _ = shardings(Mesh(np.array(own), (AXIS,), axis_types=(AxisType.Auto,)))
    spread = functools.partial(jax.device_put, device=replicated)
    # Never an alias, see `_copied`.
    place = functools.partial(spread, may_alias=False)
    return ParallelStep(place, spread, step, loop, devices)


def _global(tree, sharding):
    """Host arrays, of which each process has its share, as arrays over all devices."""
    return jax.make_array_from_process_local_data(sharding, tree)


def _copied(x, sharding):
    """A host array that each process has whole, over all devices; each gets a copy.

    Never an alias: a step donates its state, and must not free or overwrite the caller's copy.
    """
    x = np.asarray(x)
    return jax.make_array_from_callback(x.shape, sharding, lambda index: np.array(x[index]))


def _loop(step, pick):
    """The steps of some rows, see `ParallelStep.loop`.

    Their number is that of the rows, so known to the compiler: a GPU asks for no condition between them.
    """

    def one(sample, state, rows):
        return step(state, pick(sample, rows))

    def run(state, sample, rows):
        if len(rows) == 1:
            # Not a loop of one: XLA convolves 20 times slower in a loop on a CPU.
            state, metrics = one(sample, state, rows[0])
            return state, jax.tree.map(lambda metric: metric[None], metrics)
        return jax.lax.scan(functools.partial(one, sample), state, rows)

    return run
