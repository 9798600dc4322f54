"""The objects that the layers below `experiment` take, made from a config: for tests and benchmarks."""

import functools

import jax
import numpy as np

from e2e_jax import experiment
from e2e_jax.datasets.splits import GivenDataset
from e2e_jax.devices import parallel
from e2e_jax.inference.prediction import Classifier, Predictor
from e2e_jax.studies import hgg, jets, showers
from e2e_jax.training.options import Options
from e2e_jax.training.step import create_state, make_train_step
from tests.synthetic import sample


def dataset_in_memory(**splits):
    """A dataset of `sample`, or of other splits."""
    return GivenDataset(hgg.TASK, {"train": sample(20, seed=1), "validation": sample(20, seed=2)} | splits)


def run_of(config):
    """The objects of a config, on the task of the built-in study that its dataset belongs to."""
    builder, _, name = config.dataset.name.partition("/")
    tops, decays = name.startswith("tops"), name.startswith("decays")
    task = {
        "cms_hgg": hgg.TASK,
        "ecal_showers": showers.STUDIES["decays"].task if decays else showers.TASK,
        "cms_jets": jets.STUDIES["tops"].task if tops else jets.TASK,
    }.get(builder, hgg.TASK)
    if decays:
        task = task.scaled({"mass_a": [0.0, 1.2]})
    return experiment.of(config, experiment.task_of(config, {"task": task.to_json()}))


def new_state(config, seed=0):
    """The state before a training, by one program: compiling each operation alone takes longer."""
    make = functools.partial(create_state, run_of(config), Options.of(config))
    return jax.jit(make)(jax.random.key(seed))


def random_params(run, seed=0):
    """Parameters of a run's network that keep the size of its maps, on the host; nothing is compiled."""
    random = np.random.default_rng(seed)

    def draw(leaf):
        if leaf.ndim < 2:
            # Small, so that a ReLU does not pass or stop all events alike.
            return random.uniform(-0.01, 0.01, leaf.shape).astype(leaf.dtype)
        return random.normal(0, (2 / np.prod(leaf.shape[:-1])) ** 0.5, leaf.shape).astype(leaf.dtype)

    return jax.tree.map(draw, jax.eval_shape(run.initial_params, jax.random.key(0)))


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
    return Predictor(run.task, run.network, run.inputs, run.together, run.setup, run.views)


def classifier_of(config, seed=1):
    """A classifier with parameters drawn at random."""
    run = run_of(config)
    params = random_params(run, seed)
    return Classifier(run.name, run.task, run.inputs, run.network, params, predictor_of(config))


def fed(config, events):
    """What `placement.resident` and `streamed` take next to the step: events, task and sampling."""
    return events, run_of(config).task, Options.of(config).sampling(config.inputs.kind == "images")
