"""The training step: a pure function of (state, batch)."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from e2e_jax.classes import Classes
from e2e_jax.devices import parallel
from e2e_jax.models.forward import logits_function
from e2e_jax.runs.checkpoints import initial_params
from e2e_jax.training import losses


class TrainState(flax.struct.PyTreeNode):
    """All that a step changes or needs beside the batch.

    Attributes:
      step: int32 scalar, steps done.
      params: the network's parameters.
      opt_state: Adam's moments.
      key: uint32 key data of the training's random numbers; step i folds i into it.
    """

    step: jax.Array
    params: Any
    opt_state: Any
    key: jax.Array


def create_state(config, key):
    """The state before the first step: parameters drawn from `key`, Adam at rest."""
    init_key, key = jax.random.split(key)
    params = initial_params(config, init_key)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=_optimizer(config).init(params),
        key=jax.random.key_data(key),
    )


def make_train_step(config, axis_name=None, steps_per_epoch=1, platform=None):
    """The training step, (state, batch) -> (state, metrics): pure, to be jitted.

    Args:
      config: the config of the training.
      axis_name: the mapped axis over which the batch is spread; None where the step gets it whole.
      steps_per_epoch: steps of an epoch, which a schedule of the learning rate counts in.
      platform: where the step runs, see `models.backend.features`; on this process's devices by default.
    """
    logits_of, optimizer = logits_function(config, platform), _optimizer(config, steps_per_epoch)
    classes = Classes.of(config)

    def train_step(state, batch):
        key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
        keys = parallel.event_keys(key, len(batch["label"]), axis_name)

        def objective(params):
            return losses.loss(logits_of(params, batch, keys), batch, config.cvm, axis_name, classes)

        gradients, metrics = jax.grad(objective, has_aux=True)(state.params)
        if axis_name is not None:
            gradients = jax.lax.pmean(gradients, axis_name)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {**metrics, "parameter_norm": optax.tree.norm(params)}
        return state.replace(step=state.step + 1, params=params, opt_state=opt_state), metrics

    return train_step


def _optimizer(config, steps_per_epoch=1):
    rate = config.train.learning_rate
    if config.train.schedule == "cosine":
        rate = optax.cosine_decay_schedule(rate, config.train.epochs * steps_per_epoch)
    elif config.train.schedule != "constant":
        raise ValueError(
            f"config.train.schedule is {config.train.schedule!r}; it is one of constant, cosine."
        )
    return optax.adam(rate)
