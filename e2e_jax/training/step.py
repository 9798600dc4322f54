"""The training step: a pure function of (state, batch)."""

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from e2e_jax.devices import parallel
from e2e_jax.experiment import Experiment
from e2e_jax.models.forward import logits_function
from e2e_jax.training import losses
from e2e_jax.training.augmentation import augment
from e2e_jax.training.optimizer import averaged
from e2e_jax.training.options import Options

AUGMENTATION = 1
"""Folded into an event's key for its augmentation, so that augmentation and dropout are independent."""


class TrainState(flax.struct.PyTreeNode):
    """The state of a training: all inputs of a step besides the batch.

    Attributes:
      step: int32 scalar, number of steps so far.
      params: the network's parameters.
      opt_state: the optimizer's state.
      key: uint32 key data of the training's random numbers; step i folds i into it.
      average: moving average of the parameters, or None.
    """

    step: jax.Array
    params: Any
    opt_state: Any
    key: jax.Array
    average: Any = None

    @property
    def evaluated(self):
        """The parameters to evaluate and store: the average, if there is one."""
        return self.params if self.average is None else self.average


def create_state(run: Experiment, options: Options, key) -> TrainState:
    """The state before the first step: parameters drawn from `key`, and the initial optimizer state."""
    init_key, key = jax.random.split(key)
    params = run.initial_params(init_key)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=options.made_optimizer().init(params),
        key=jax.random.key_data(key),
        average=params if options.average else None,
    )


def make_train_step(
    run: Experiment,
    options: Options,
    steps_per_epoch: int = 1,
    axis_name: str | None = None,
    platform: str | None = None,
) -> Callable:
    """The training step, a pure function to jit: (state, batch) -> (state, metrics).

    Args:
      run: task, inputs and network.
      options: options of the training; uses those of the optimizer, the loss and the augmentation.
      steps_per_epoch: steps per epoch, for the learning rate schedule.
      axis_name: the mapped axis over which the batch is distributed; None if the step gets the whole batch.
      platform: platform to run on, see `models.backend.features`; default: that of this process's devices.
    """
    logits_of = logits_function(run.network, run.inputs, platform, run.setup.deterministic)
    optimizer = options.made_optimizer(steps_per_epoch)

    def train_step(state, batch):
        key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
        keys = parallel.event_keys(key, len(batch["label"]), axis_name)

        if options.augment:
            drawn = jax.vmap(lambda key: jax.random.fold_in(key, AUGMENTATION))(keys)
            batch = augment(batch, drawn, options.augment, run.inputs.geometry)

        def objective(params):
            return losses.loss(
                logits_of(params, batch, keys),
                batch,
                run.task,
                options.penalty,
                axis_name,
                options.label_smoothing,
            )

        gradients, metrics = jax.grad(objective, has_aux=True)(state.params)
        if axis_name is not None:
            gradients = jax.lax.pmean(gradients, axis_name)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {**metrics, "parameter_norm": optax.tree.norm(params)}
        average = state.average
        if options.average:
            average = averaged(average, params, state.step, options.average)
        new = state.replace(step=state.step + 1, params=params, opt_state=opt_state, average=average)
        return new, metrics

    return train_step
