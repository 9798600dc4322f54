"""The objects that the layers below `experiment` take, made from a config: for tests and benchmarks."""

import functools

import jax

from e2e_jax import experiment
from e2e_jax.datasets.splits import GivenDataset
from e2e_jax.devices import parallel
from e2e_jax.inference.prediction import Classifier, Predictor
from e2e_jax.studies import hgg, loading, showers
from e2e_jax.training.options import Options
from e2e_jax.training.step import create_state, make_train_step
from tests.synthetic import sample


def dataset_in_memory(**splits):
    """A dataset of `sample`, or of other splits."""
    return GivenDataset(hgg.TASK, {"train": sample(20, seed=1), "validation": sample(20, seed=2)} | splits)


def run_of(config):
    """The objects of a config, on the task of the built-in study that its inputs belong to."""
    task = showers.TASK if config.inputs.kind == experiment.SHOWERS else hgg.TASK
    if "decays" in config.dataset.name:
        task = showers.STUDIES["decays"].task.scaled({"mass_a": [0.0, 1.2]})
    if "tops" in config.dataset.name:
        task = loading.load("examples/tops.py").task
    return experiment.of(config, experiment.task_of(config, {"task": task.to_json()}))


def new_state(config, seed=0):
    """The state before a training."""
    return create_state(run_of(config), Options.of(config), jax.random.key(seed))


def train_step(config, axis_name=None, steps=1, platform=None):
    """The training step of a config, to be jitted; `steps` of an epoch."""
    return make_train_step(run_of(config), Options.of(config), steps, axis_name, platform)


def parallel_step(config, devices=None, steps=1, platform=None):
    """The training step of a config over several devices."""
    make = functools.partial(train_step, config, steps=steps, platform=platform)
    return parallel.parallelize(make, config.train.batch_size, run_of(config).setup, devices)


def predictor_of(config):
    """The compiled forward pass of a config's network."""
    run = run_of(config)
    return Predictor(run.task, run.network, run.inputs, run.together, run.setup)


def classifier_of(config, seed=1):
    """A classifier with parameters drawn at random."""
    run = run_of(config)
    params = jax.device_get(run.initial_params(jax.random.key(seed)))
    return Classifier(run.name, run.task, run.inputs, run.network, params, predictor_of(config))


def fed(config, events):
    """What `placement.resident` and `streamed` take next to the step: events, task and sampling."""
    return events, run_of(config).task, Options.of(config).sampling(config.inputs.kind == "images")
