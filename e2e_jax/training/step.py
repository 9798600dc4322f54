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


def create_state(run: Experiment, optimizer: optax.GradientTransformation, key) -> TrainState:
    """The state before the first step: parameters drawn from `key`, the optimizer at rest."""
    init_key, key = jax.random.split(key)
    params = run.initial_params(init_key)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
        key=jax.random.key_data(key),
    )


def make_train_step(
    run: Experiment,
    optimizer: optax.GradientTransformation,
    penalty: losses.Penalty,
    axis_name: str | None = None,
    platform: str | None = None,
) -> Callable:
    """The training step, (state, batch) -> (state, metrics): pure, to be jitted.

    Args:
      run: task, inputs and network.
      optimizer: see `adam`.
      penalty: of the loss.
      axis_name: the mapped axis over which the batch is spread; None where the step gets it whole.
      platform: where the step runs, see `models.backend.features`; on this process's devices by default.
    """
    logits_of = logits_function(run.network, run.inputs, platform, run.setup.deterministic)

    def train_step(state, batch):
        key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
        keys = parallel.event_keys(key, len(batch["label"]), axis_name)

        def objective(params):
            return losses.loss(logits_of(params, batch, keys), batch, run.task, penalty, axis_name)

        gradients, metrics = jax.grad(objective, has_aux=True)(state.params)
        if axis_name is not None:
            gradients = jax.lax.pmean(gradients, axis_name)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {**metrics, "parameter_norm": optax.tree.norm(params)}
        return state.replace(step=state.step + 1, params=params, opt_state=opt_state), metrics

    return train_step


def adam(learning_rate: float, schedule: str = "constant", steps: int = 1) -> optax.GradientTransformation:
    """The optimizer of a training.

    Args:
      learning_rate: at the start.
      schedule: "constant", or "cosine", down to zero over the steps.
      steps: of the whole training.

    Raises:
      ValueError: there is no such schedule.
    """
    if schedule == "cosine":
        return optax.adam(optax.cosine_decay_schedule(learning_rate, steps))
    if schedule != "constant":
        raise ValueError(f"config.train.schedule is {schedule!r}; it is one of constant, cosine.")
    return optax.adam(learning_rate)
