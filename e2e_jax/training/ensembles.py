"""Runs of `config.seeds` networks: a single network, or an ensemble of networks that differ only in the seed.

In an ensemble each network has its own folder, seed-0, seed-1, ..., in the run's folder. The ensemble
averages the networks' predictions. The run holds the results of the ensemble, and the mean and the spread of
every metric over the networks.
"""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from e2e_jax import experiment
from e2e_jax.datasets.splits import Dataset
from e2e_jax.devices import distributed
from e2e_jax.errors import TrainingError, WorkdirError
from e2e_jax.evaluation.spread import SEEDS, spread
from e2e_jax.events.base import Record
from e2e_jax.runs.folder import claim, members_of, owned, read_config
from e2e_jax.runs.results_files import read_scores
from e2e_jax.training import loop
from e2e_jax.training.many import FAILURES, Outcome, Training, finished, train_each

ADDRESS = ("run", "lumi", "event")


def train(
    config: ConfigDict,
    workdir,
    dataset: Dataset | None = None,
    board: Callable | None = None,
    executor: Executor | None = None,
) -> dict | None:
    """Trains a classifier, or an ensemble of `config.seeds`, and evaluates it; resumes an interrupted run.

    Args:
      config: the config (`configs/default.py` documents every field).
      workdir: the run's folder; created if missing.
      dataset, board: as for `loop.train`.
      executor: executor that trains the networks of an ensemble, see `many.machines`; by default they are
        trained one after another in this process.

    Returns:
      The content of results.json; None in all processes except the first.

    Raises:
      WorkdirError: the folder belongs to another config, task, dataset or process, or is not writable.
      TrainingError: the loss is not finite, or a network of an ensemble could not be trained.
      ValueError: several networks are requested while several processes train together.
      stopping.Stopped: the process was asked to end; the same call continues where it stopped.
    """
    if config.seeds == 1:
        return loop.train(config, workdir, dataset, board)
    datasets = experiment.dataset_of if dataset is None else functools.partial(_given, dataset)
    (outcome,) = train_all([Training(config, Path(workdir))], datasets, executor, board)
    if outcome.results is None:
        raise TrainingError(outcome.failure)
    return outcome.results


def train_all(
    trainings: Sequence[Training],
    datasets: Callable[[ConfigDict], Dataset] = experiment.dataset_of,
    executor: Executor | None = None,
    board: Callable | None = None,
) -> Iterator[Outcome]:
    """Trains classifiers and ensembles, and yields the outcome of each, in order.

    Args, Raises: as for `many.train_each`, and as `train`.
    """
    if distributed.several():
        raise ValueError(
            "Several processes train one network together, and config.seeds asks for several networks. Train "
            "them without --coordinator and --distributed, or one by one with --config.seed."
        )
    networks = [_networks(training) for training in trainings]
    outcomes = train_each(list(itertools.chain(*networks)), datasets, executor, board)
    for training, own in zip(trainings, networks):
        yield _joined(training, [next(outcomes) for _ in own], datasets(training.config))


def evaluate_run(workdir, config: ConfigDict | None = None, dataset: Dataset | None = None) -> dict | None:
    """Evaluates a run again, with all its networks; see `loop.evaluate_run` for arguments and errors."""
    workdir = Path(workdir)
    saved = read_config(workdir)
    config = saved if config is None else config
    if config.seeds == 1:
        return loop.evaluate_run(workdir, config, dataset)
    training = Training(config, workdir)
    own = [loop.evaluate_run(one.workdir, one.config, dataset) for one in _networks(training)]
    return _evaluated(training, own, dataset or experiment.dataset_of(config))


def _given(dataset: Dataset, config: ConfigDict) -> Dataset:
    """The dataset for any config; a partial of this function is sent to other processes."""
    return dataset


def _networks(training: Training) -> list[Training]:
    """The single-network trainings of a training; claims the folder of an ensemble."""
    if training.config.seeds == 1:
        return [training]
    claim(training.workdir, training.config)
    networks = []
    for number, folder in enumerate(members_of(training.workdir, training.config)):
        config = copy.deepcopy(training.config)
        config.update(seed=training.config.seed + number, seeds=1)
        networks.append(Training(config, folder))
    return networks


def _joined(training: Training, outcomes: Sequence[Outcome], dataset: Dataset) -> Outcome:
    """The outcome of a training, from the outcomes of its networks."""
    if failures := [outcome.failure for outcome in outcomes if outcome.results is None]:
        return Outcome(None, failures[0])
    if training.config.seeds == 1:
        return outcomes[0]
    if results := finished(training, dataset):
        return Outcome(results)
    try:
        return Outcome(_evaluated(training, [outcome.results for outcome in outcomes], dataset))
    except FAILURES as error:
        return Outcome(None, str(error))


def _evaluated(training: Training, own: Sequence[Mapping], dataset: Dataset) -> dict:
    """Writes results and scores of an ensemble from the results of its networks; returns the results."""
    config, workdir = training.config, Path(training.workdir)
    run, about = loop.resolved(config, dataset, workdir)
    validation = dataset.read("validation", run.task, run.unread)
    folders = members_of(workdir, config)
    predictions = [_predictions(folder, validation, run.task.columns) for folder in folders]
    more = {
        "epoch": [one["epoch"] for one in own],
        "epoch_selection": own[0]["epoch_selection"],
        "events": own[0]["events"],
        SEEDS: {"members": [folder.name for folder in folders], **spread(own)},
    }
    with owned(workdir):
        mean = np.mean(predictions, axis=0)
        return loop.write_evaluation(workdir, config, run, about["description"], validation, mean, more)


def _predictions(folder: Path, events: Record, columns: Sequence[str]) -> np.ndarray:
    """The predictions of a network for the events, f8 `[n, columns]`.

    Raises:
      WorkdirError: its scores belong to other events.
    """
    scores = read_scores(folder)
    if not all(np.array_equal(scores[name], getattr(events, name)) for name in (*ADDRESS, "label")):
        raise WorkdirError(
            f"The scores in {folder} are not of the validation events of the dataset. Evaluate the run again "
            "with --mode=evaluate."
        )
    return np.stack([scores[name] for name in columns], axis=1).astype(np.float64)
