"""A step over all devices: the state on each of them, the batch split among them.

Two ways with the same losses. "jit": the step is written for the whole batch, and the compiler splits it over
a mesh. "pmap": each device runs the step on its part and gathers what has to be seen together.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

AXIS = "batch"
WAYS = ("jit", "pmap")


class ParallelStep(NamedTuple):
    """A compiled training step.

    Attributes:
      place: puts a host copy of the state on the devices.
      step: (state, host batch) -> (state, metrics). The state it was given is donated: do not use it again.
      devices: how many devices work on it.
    """

    place: Callable[[Any], Any]
    step: Callable[[Any, Any], tuple[Any, Any]]
    devices: int


def mesh(batch_size, devices=None):
    """A mesh of the most devices that divide the batch evenly; one axis, named "batch"."""
    devices = jax.devices() if devices is None else devices
    count = max(n for n in range(1, len(devices) + 1) if batch_size % n == 0)
    return jax.make_mesh((count,), (AXIS,), axis_types=(AxisType.Auto,), devices=devices[:count])


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


def parallelize(make_step, config, devices=None):
    """Compiles a training step for the devices, as `config.parallel` says.

    Args:
      make_step: axis name -> step; with None the step sees the whole batch, with a name a device's part.
      config: read are `parallel` and `train.batch_size`.
      devices: the devices to use; all by default.

    Raises:
      ValueError: `config.parallel` is neither "jit" nor "pmap".
    """
    grid = mesh(config.train.batch_size, devices)
    replicated, split = shardings(grid)
    # Never an alias: the step donates its state, and must not free or overwrite the caller's copy.
    place = functools.partial(jax.device_put, device=replicated, may_alias=False)
    if config.parallel == "jit":
        step = jax.jit(
            make_step(None),
            in_shardings=(replicated, split),
            out_shardings=(replicated, replicated),
            donate_argnums=0,
        )
        return ParallelStep(place, step, grid.size)
    if config.parallel != "pmap":
        raise ValueError(f"config.parallel is {config.parallel!r}; it is one of {', '.join(WAYS)}.")
    mapped = jax.pmap(
        make_step(AXIS),
        axis_name=AXIS,
        in_axes=(None, 0),
        out_axes=(None, None),
        donate_argnums=0,
        devices=list(grid.devices.flat),
    )

    def step(state, batch):
        # [events, ...] -> [devices, events of a device, ...]
        return mapped(state, jax.tree.map(lambda x: x.reshape(grid.size, -1, *x.shape[1:]), batch))

    return ParallelStep(place, step, grid.size)
