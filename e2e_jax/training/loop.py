"""Training in a run's folder: start, resume, evaluate."""

import contextlib
import dataclasses
import json
from pathlib import Path

import jax
import numpy as np

from e2e_jax import experiment
from e2e_jax.datasets import batches, flat_arrays
from e2e_jax.devices import distributed, host, parallel, placement
from e2e_jax.evaluation.results import evaluate
from e2e_jax.evaluation.selection import best_epoch, finished
from e2e_jax.evaluation.tables import results_table
from e2e_jax.inference.loading import load_classifier
from e2e_jax.models.cpu import resnet_cpu
from e2e_jax.runs.checkpoints import Checkpoints, check_dataset, check_task, host_copy, read_about
from e2e_jax.runs.folder import METRICS, PROFILE, TENSORBOARD, claim, owned, read_config, saved_steps
from e2e_jax.runs.results_files import write_results, write_scores
from e2e_jax.study import Task
from e2e_jax.training import profile, start, stopping
from e2e_jax.training.epochs import Epochs, Standing
from e2e_jax.training.options import Options
from e2e_jax.training.progress import Progress, report, say
from e2e_jax.training.step import create_state, make_train_step
from e2e_jax.training.validation import Validation
from e2e_jax.training.weights import check_observables, weighted


def train(config, workdir, dataset=None, board=None):
    """Trains a classifier and evaluates its best epoch; resumes an interrupted run.

    Writes into `workdir`: config.json, metrics.jsonl, checkpoints/, results.json and scores.parquet. A
    finished run is not trained again, only evaluated. With several processes (`distributed.join`), all train
    and evaluate; only the first writes and prints.

    Args:
      config: the config (`configs/default.py` documents every field).
      workdir: the run's folder; created if missing.
      dataset: training dataset, such as `datasets.splits.GivenDataset(task, {"train": events, "validation":
        others})`; by default the one named in the config.
      board: draws finished epochs during the next ones, such as `report.board.Board`: (folder, config, task,
        rows) -> a context manager with `add_epoch` and `add_results`. By default nothing is drawn.

    Returns:
      The content of results.json; None in all processes except the first.

    Raises:
      WorkdirError: the folder belongs to another config, task, dataset or process, or is not writable.
      TrainingError: the loss is not finite.
      stopping.Stopped: the process was asked to end; the same call continues where it stopped.
    """
    workdir = Path(workdir)
    with _owned_by_first(workdir):
        distributed.of_first(lambda: claim(workdir, config))
        dataset = dataset or experiment.dataset_of(config)
        run, about = resolved(config, dataset, workdir)
        with Checkpoints(workdir, config, run.task, about["fingerprints"]) as checkpoints:
            validation = _train(config, run, dataset, workdir, checkpoints, board)
            # The other processes read the last checkpoint, too.
            distributed.of_first(checkpoints.wait)
        results = _evaluate(workdir, config, run, dataset, about, validation)
        if board is not None and validation is not None and distributed.first():
            rows = Progress(**read_about(workdir)["progress"]).history
            chosen = next(row["step"] for row in rows if row["epoch"] == results["epoch"])
            with board(workdir / TENSORBOARD, config, run.task, rows) as drawing:
                drawing.add_results(results, chosen)
        return results


def evaluate_run(workdir, config=None, dataset=None):
    """Evaluates the best epoch of a run on the validation sample, and prints the results.

    Writes results.json and scores.parquet into the run's folder.

    Args:
      workdir: the run's folder.
      config: the run's config; fields of `evaluate` may differ. By default the config in the folder.
      dataset: as for `train`.

    Returns:
      The content of results.json; None in all processes except the first.

    Raises:
      WorkdirError: the folder has no run, the run has another config, or no epoch is finished.
    """
    read_config(workdir := Path(workdir))
    with _owned_by_first(workdir):
        if config is not None:
            distributed.of_first(lambda: claim(workdir, config))
        config = read_config(workdir)
        dataset = dataset or experiment.dataset_of(config)
        run, about = resolved(config, dataset, workdir)
        return _evaluate(workdir, config, run, dataset, about)


def resolved(config, dataset, workdir):
    """The objects of a config on a dataset, and {"description", "fingerprints"} of the dataset."""

    # The first process goes first: it builds the dataset if it is missing.
    def described():
        return {"description": dataset.describe(), "fingerprints": dataset.fingerprints()}

    about = distributed.of_first(described)
    run = experiment.of(config, experiment.task_of(config, about["description"]))
    scales = distributed.of_first(lambda: _scales(run, dataset, workdir))
    return dataclasses.replace(run, task=dataclasses.replace(run.task, scales=scales)), about


def _scales(run, dataset, workdir):
    """The scales of the targets: from the run's checkpoint, or for a new run from the training sample."""
    if not run.task.targets:
        return {}
    if saved_steps(workdir):
        return Task(**read_about(workdir)["task"]).scales
    training = dataset.read("train", run.task, run.unread)
    return run.task.scaled(run.targets(training)).scales


@contextlib.contextmanager
def _owned_by_first(workdir):
    """`folder.owned` in the process that writes."""
    with contextlib.ExitStack() as stack:

        def own():
            stack.enter_context(owned(workdir))

        distributed.of_first(own)
        yield


def _evaluate(workdir, config, run, dataset, about, validation=None):
    """`evaluate_run`, with the validation sample if it is already in memory."""
    classifier, saved = load_classifier(workdir, "best"), read_about(workdir)
    if not any(saved["dataset"].values()):
        say(
            f"The checkpoint in {workdir} has no fingerprint of its dataset, so these may be other events "
            "than those of its training."
        )
    check_task(workdir, saved, run.task)
    check_dataset(workdir, saved, about["fingerprints"])
    progress = Progress(**saved["progress"])
    best = best_epoch(progress.history, run.metrics.limit, run.task)
    if validation is None:
        validation = dataset.read("validation", run.task, run.unread)
    predictions = distributed.divided(classifier.predict, validation)
    if not distributed.first():
        return None
    more = {
        "epoch": progress.history[best.index]["epoch"],
        "epoch_selection": best.rule,
        "events": {"train": progress.train_events, "validation": len(validation)},
    }
    if progress.started_from:
        more["started_from"] = progress.started_from
    return write_evaluation(workdir, config, run, about["description"], validation, predictions, more)


def write_evaluation(workdir, config, run, description, validation, predictions, more):
    """Evaluates predictions; writes and prints the results.

    Args:
      workdir: the run's folder, for results.json and scores.parquet.
      config: the run's config.
      run: the run's objects.
      description: description of the dataset.
      validation: the events.
      predictions: predictions for the events, `[n, columns]`, see `Task.columns`.
      more: additional results, such as "epoch" and "epoch_selection".

    Returns:
      The content of results.json.
    """
    task = run.task
    results = evaluate(
        task,
        predictions,
        validation.label,
        run.decorrelated_from(validation),
        run.metrics,
        weights=run.event_weights(validation),
        targets=run.targets(validation),
        config=config.to_dict(),
        dataset=description,
    )
    if started_from := more.pop("started_from", None):
        results["provenance"]["started_from"] = started_from
    results |= more
    names = dict.fromkeys((*validation.SCALARS, *(observable.name for observable in task.observables)))
    columns = {name: getattr(validation, name) for name in names}
    scores = write_scores(workdir, predictions, columns, task.columns)
    written = write_results(workdir, results)
    print(results_table(task, results))
    print(f"Epoch chosen by: {results['epoch_selection']}.")
    places = {"Results": written, "Scores": scores, "Epochs": workdir / METRICS}
    places["Curves"] = workdir / TENSORBOARD
    print("\n".join(f"{name}: {path}" for name, path in places.items() if path.exists()))
    return json.loads(written.read_text())


def _train(config, run, dataset, workdir, checkpoints, board):
    """Trains to the end; returns the validation sample, or None if the training was already finished."""
    options = Options.of(config)
    # The state of a schedule has the same structure for any number of steps.
    like = jax.eval_shape(lambda: create_state(run, options, jax.random.key(options.seed)))
    restored = checkpoints.restore(like)
    progress = Progress(**restored[2]) if restored else Progress()
    if finished(progress.history, run.task, run.metrics.limit, options.epochs, options.patience):
        say(f"The run in {workdir} is finished, after {progress.epoch} epochs: evaluated, not trained again.")
        report(workdir, progress.history, [], run.task)
        return None
    if restored:
        state, best = restored[:2]
        say(f"Going on with the run in {workdir}: epoch {progress.epoch + 1}, step {int(state.step)}.")
    else:
        state = distributed.arrays_of_first(lambda: _fresh(run, options, progress), like)
        best = state.evaluated
    training = dataset.read("train", run.task, run.unread)
    check_observables(training, run)
    training = weighted(training, run, options.penalty.method)
    validation = dataset.read("validation", run.task, run.unread)
    progress.train_events = len(training)
    steps = batches.steps_per_epoch(training, options.batch_size, run.task)
    parallel_step, feed = _feed(run, options, training, steps)
    if options.profile and distributed.first():
        feed = profile.profiled(feed, workdir / PROFILE)
    title, sizes = f"{config.name}-{config.size}", (len(training), len(validation))
    say(summary(run, options, title, sizes, len(parallel_step.devices), state.params))
    if run.network.name == "resnet15" and parallel_step.devices[0].platform == "cpu":
        say(f"Convolutions: {resnet_cpu.describe()}.")
    standing = Standing(parallel_step.place(state), best, progress)
    report(workdir, progress.history, progress.history, run.task)
    drawn = contextlib.nullcontext()
    if board is not None and distributed.first():
        drawn = board(workdir / TENSORBOARD, config, run.task, progress.history)
    with drawn as drawing, stopping.Requests() as requests:
        # Several processes may have different numbers of validation batches, so they do not stop in between.
        before_batch = (lambda: None) if distributed.several() else requests.check
        validate = Validation(validation, run, before_batch)
        epochs = Epochs(run, options, feed, steps, validate, checkpoints, requests)
        try:
            epochs.train(standing, workdir, drawing)
        except stopping.Stopped as stopped:
            standing.save(checkpoints)
            distributed.of_first(checkpoints.wait)
            distributed.leave()
            raise stopping.Stopped(
                f"The training was ended by {stopped}. It is saved at step {int(standing.state.step)} in "
                f"{workdir}; start the same command again to continue from there."
            ) from None
    say(f"Training ended after {standing.progress.epoch} epochs.")
    return validation


def _feed(run, options, training, steps):
    """The compiled step, and the feed of the training sample."""
    host.keep_memory(options.batch_size)
    parallel_step = parallel.parallelize(
        lambda axis: make_train_step(run, options, steps, axis), options.batch_size, run.setup
    )
    distributed.connect(parallel_step.devices)
    # The free memory differs between processes.
    placed, why = distributed.of_first(
        lambda: placement.choose(options.placement, training, parallel_step.devices)
    )
    drawn = run.inputs.kind in ("images", "tokens")
    sampling, single = options.sampling(drawn), not options.checkpoint_seconds
    if placed == "device":
        convolves = run.inputs.kind in ("images", experiment.SHOWERS)
        feed = placement.resident(parallel_step, training, run.task, sampling, single, convolves)
    else:
        if placed == "disk":
            flat_arrays.read_at_random(training)
        feed = placement.streamed(parallel_step, training, run.task, sampling, single)
    say(f"Training sample: placement {placed!r}, as {why}.")
    return parallel_step, feed


def _fresh(run, options, progress):
    # A million numbers are drawn only once; optimizing the program for it would take 6 s.
    quick = {"xla_backend_optimization_level": 1}
    draw = jax.jit(lambda: create_state(run, options, jax.random.key(options.seed)), compiler_options=quick)
    state = host_copy(draw())
    if not options.start_from:
        return state
    params, progress.started_from = start.started(state.params, run, options.start_from, options.start_parts)
    average = None if state.average is None else params
    return state.replace(params=params, average=average)


def summary(run, options, title, sizes, devices, params):
    """A sentence about a starting training and its task."""
    count = sum(np.size(leaf) for leaf in jax.tree.leaves(params))
    there = len(parallel.chosen(run.setup.devices))
    fewer = "" if devices == there else ", the most that divide it evenly"
    several = f" in {jax.process_count()} processes" if distributed.several() else ""
    return (
        f"{title}: {sizes[0]} training and {sizes[1]} validation events, {count} parameters, batch "
        f"{options.batch_size} on {devices} of {jax.device_count()} devices{several}{fewer} "
        f"({jax.devices()[0].device_kind}, {run.setup.way}). {_learnt(run.task, options.penalty)}"
    )


def _learnt(task, penalty):
    """The predictions of the task, and the observables from which its score is decorrelated."""
    said = []
    if task.targets:
        predicted = ", ".join(task.target(name).phrase for name in task.targets)
        said.append(f"It predicts: {predicted} (loss {task.loss!r}).")
    if task.classifies:
        said.append(_decorrelation(task, penalty))
    return " ".join(said)


def _decorrelation(task, penalty):
    if not task.decorrelate:
        return "The task has no decorrelation."
    phrase = task.decorrelate_phrase
    if penalty.method == "planing":
        return f"Training weights make the {phrase} alike in all classes."
    if penalty.method == "none" or not penalty.strength:
        why = "method is none" if penalty.method == "none" else "strength is 0"
        return f"The score is not decorrelated from the {phrase} (config.decorrelation.{why})."
    of = ", ".join(map(task.title, task.of))
    return f"The score is decorrelated from the {phrase} in the events of {of} ({penalty.method})."
