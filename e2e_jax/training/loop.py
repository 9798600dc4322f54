"""Training: the loop around the step, and the files that it leaves."""

import contextlib
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from e2e_jax.classes import Classes, category_of
from e2e_jax.datasets import batches
from e2e_jax.devices import distributed, host, parallel, placement
from e2e_jax.evaluation import results as evaluate
from e2e_jax.models.cpu import resnet_cpu
from e2e_jax.report.board import Board
from e2e_jax.runs.checkpoints import Checkpoints, check_dataset, host_copy, load_classifier, read_about
from e2e_jax.runs.folder import METRICS, PROFILE, TENSORBOARD, claim, owned, read_config
from e2e_jax.training import history, profile, stopping
from e2e_jax.training.step import create_state, make_train_step
from e2e_jax.training.validation import Validation


def train(config, workdir):
    """Trains a classifier and evaluates its best epoch; goes on where an interrupted run stopped.

    Writes into `workdir`: config.json, metrics.jsonl, tensorboard/, checkpoints/, results.json and
    scores.parquet. A finished run is not trained again, only evaluated. Of several processes
    (`distributed.join`) all train and evaluate, and the first alone writes and prints.

    Args:
      config: the config (`configs/default.py` documents every field).
      workdir: the run's folder; made where it does not exist.

    Returns:
      The content of results.json; None in a process that is not the first.

    Raises:
      WorkdirError: the folder belongs to another config, dataset or process, or cannot be written to.
      history.TrainingError: the loss is no longer finite.
      stopping.Stopped: the process was asked to end; the same call continues where it stopped.
    """
    workdir = Path(workdir)
    with _owned_by_first(workdir):
        distributed.of_first(lambda: claim(workdir, config))
        # Before anyone reads it: where the dataset is missing, the first process builds it.
        described, fingerprints = distributed.of_first(lambda: _dataset(config))
        with Checkpoints(workdir, config, fingerprints) as checkpoints:
            validation = _train(config, workdir, checkpoints)
            # The others read the last checkpoint, too.
            distributed.of_first(checkpoints.wait)
        return _evaluate(workdir, described, fingerprints, validation)


def evaluate_run(workdir, config=None):
    """Evaluates the best epoch of a run on the validation sample, and prints it beside the paper's results.

    Writes results.json and scores.parquet into the run's folder.

    Args:
      workdir: the run's folder.
      config: the run's config, perhaps with other fields of `evaluate`; the folder's own by default.

    Returns:
      The content of results.json; None in a process that is not the first.

    Raises:
      WorkdirError: there is no run in the folder, it is of another config, or no epoch of it is finished.
    """
    read_config(workdir := Path(workdir))
    with _owned_by_first(workdir):
        if config is not None:
            distributed.of_first(lambda: claim(workdir, config))
        return _evaluate(workdir, *distributed.of_first(lambda: _dataset(read_config(workdir))))


def _dataset(config):
    """The description of the dataset for results.json, and the fingerprint of each split."""
    return batches.describe(config), batches.fingerprints(config)


@contextlib.contextmanager
def _owned_by_first(workdir):
    """`folder.owned` in the process that writes."""
    with contextlib.ExitStack() as stack:

        def own():
            stack.enter_context(owned(workdir))

        distributed.of_first(own)
        yield


def _evaluate(workdir, described, fingerprints, validation=None):
    """`evaluate_run`, with the validation sample where it is in memory already."""
    classifier, about = load_classifier(workdir, "best"), read_about(workdir)
    config = classifier.config
    if not about["dataset"]:
        _say(
            f"The checkpoint in {workdir} has no fingerprint of its dataset, so these may be other events "
            "than those of its training."
        )
    check_dataset(workdir, about, fingerprints)
    progress = history.Progress(**about["progress"])
    best = history.best_epoch(progress.history, config.cvm.limit, category_of(config).signal)
    if validation is None:
        validation = batches.load_split(config, "validation")
    probabilities = distributed.divided(classifier.predict, validation)
    if not distributed.first():
        return None
    results = evaluate.evaluate(
        probabilities,
        validation.label,
        getattr(validation, "mass", None),
        config,
        epoch=progress.history[best.index]["epoch"],
        train_events=progress.train_events,
        dataset=described,
    )
    results["epoch_selection"] = best.rule
    columns = {name: getattr(validation, name) for name in validation.SCALARS}
    scores = evaluate.write_scores(workdir, probabilities, columns, names=Classes.of(config).names)
    written = evaluate.write_results(workdir, results)
    print(evaluate.results_table(results))
    print(f"Epoch chosen by: {best.rule}.")
    places = {
        "Results": written,
        "Scores": scores,
        "Epochs": workdir / METRICS,
        "Curves": workdir / TENSORBOARD,
    }
    print("\n".join(f"{name}: {path}" for name, path in places.items()))
    return json.loads(written.read_text())


def _train(config, workdir, checkpoints):
    """Trains to the end; returns the validation sample, or None where there was nothing left to train."""
    like = jax.eval_shape(lambda: create_state(config, jax.random.key(config.seed)))
    restored = checkpoints.restore(like)
    progress = history.Progress(**restored[2]) if restored else history.Progress()
    if history.finished(progress.history, config):
        _say(
            f"The run in {workdir} is finished, after {progress.epoch} epochs: evaluated, not trained again."
        )
        _report(workdir, progress.history, [])
        return None
    if restored:
        state, best = restored[:2]
        _say(f"Going on with the run in {workdir}: epoch {progress.epoch + 1}, step {int(state.step)}.")
    else:
        state = distributed.arrays_of_first(lambda: _fresh(config), like)
        best = state.params

    training = batches.load_split(config, "train")
    validation = batches.load_split(config, "validation")
    host.keep_memory(config.train.batch_size)
    progress.train_events = len(training)
    steps = batches.steps_per_epoch(training, config.train.batch_size, Classes.of(config))
    parallel_step = parallel.parallelize(lambda axis: make_train_step(config, axis, steps), config)
    distributed.connect(parallel_step.devices)
    # The free memory differs between processes.
    placed, why = distributed.of_first(
        lambda: placement.choose(config.data.placement, training, parallel_step.devices)
    )
    make_feed = {"device": placement.resident, "stream": placement.streamed}[placed]
    feed = make_feed(parallel_step, training, config)
    if config.get("profile", False) and distributed.first():
        feed = profile.profiled(feed, workdir / PROFILE)
    _say(_summary(config, training, validation, len(parallel_step.devices), state.params))
    _say(f"Training sample: placement {placed!r}, as {why}.")
    if config.model.name == "resnet15" and parallel_step.devices[0].platform == "cpu":
        _say(f"Convolutions: {resnet_cpu.describe()}.")
    now = _Now(parallel_step.place(state), best, progress)
    _report(workdir, progress.history, progress.history)
    with (
        _board(workdir, config, progress.history) as board,
        stopping.Requests() as requests,
    ):
        # Several processes may validate in batches of different number, so they do not stop in between.
        before_batch = (lambda: None) if distributed.several() else requests.check
        validate = Validation(validation, config, before_batch)
        try:
            while not history.finished(now.progress.history, config):
                _train_epoch(feed, steps, now, config, checkpoints, requests)
                row, probabilities = _close_epoch(now, validate, config)
                drawn = board and board.add_epoch(row, probabilities, validation.label, validate.mass, config)
                # After the drawing: a resumed run writes no earlier epoch again.
                now.save(checkpoints, after=drawn)
                _report(workdir, now.progress.history, [row])
        except stopping.Stopped as stopped:
            now.save(checkpoints)
            distributed.of_first(checkpoints.wait)
            distributed.leave()
            raise stopping.Stopped(
                f"The training was ended by {stopped}. It is saved at step {int(now.state.step)} in "
                f"{workdir}; start the same command again to continue from there."
            ) from None
    _say(f"Training ended after {now.progress.epoch} epochs.")
    return validation


@dataclasses.dataclass
class _Now:
    """Where a training stands: the state on the devices, the best epoch's parameters, and the epochs."""

    state: Any
    best: Any
    progress: history.Progress

    def save(self, checkpoints, after=None):
        progress = dataclasses.asdict(self.progress)
        checkpoints.save(int(self.state.step), self.state, self.best, progress, after)


def _train_epoch(feed, steps, now, config, checkpoints, requests):
    """Trains to the end of the running epoch."""
    size, progress = config.train.batch_size, now.progress
    bar = tqdm(
        total=steps * size,
        initial=progress.steps * size,
        desc=f"Epoch {progress.epoch + 1}/{config.train.epochs}",
        unit=" events",
        dynamic_ncols=True,
        disable=not distributed.first(),
    )
    compiled, start = False, time.perf_counter()
    saved = start
    with bar:
        for piece in feed(now.state, progress.epoch, progress.steps):
            now.state, metrics = piece
            for of_step in metrics:
                progress.add(of_step)
            history.require_finite(progress, config)
            end = time.perf_counter()
            if compiled:
                progress.timed = [progress.timed[0] + len(metrics), progress.timed[1] + end - start]
            progress.seconds += end - start
            compiled, start = True, end
            bar.update(len(metrics) * size)
            bar.set_postfix(loss=f"{progress.sums['loss'] / progress.steps:.4f}")
            requests.check()
            # The last step of an epoch is saved with its validation.
            if progress.steps < steps and end - saved >= config.train.checkpoint_seconds:
                now.save(checkpoints)
                saved = end


def _close_epoch(now, validate, config):
    """Validates the finished epoch, and begins the next one; returns its row and what was predicted."""
    progress, start = now.progress, time.perf_counter()
    probabilities = validate.predict(now.state.params)
    steps, seconds = progress.timed if progress.timed[0] else (progress.steps, progress.seconds)
    row = {
        "epoch": progress.epoch + 1,
        "step": int(now.state.step),
        **{f"train_{name}": value for name, value in progress.means().items()},
        **validate.metrics(probabilities),
        "events_per_second": round(steps * config.train.batch_size / seconds, 1),
        "seconds": round(progress.seconds + time.perf_counter() - start, 3),
    }
    history.require_finite_row(row, config)
    # Its times, by which nothing is decided, differ between processes; its metrics must not.
    row = distributed.of_first(lambda: row)
    done = [*progress.history, row]
    if history.best_epoch(done, config.cvm.limit, category_of(config).signal).index == progress.epoch:
        now.best = host_copy(now.state.params)
    now.progress = history.Progress(history=done, train_events=progress.train_events)
    return row, probabilities


def _report(workdir, rows, new):
    """Writes metrics.jsonl from all rows, and the new ones to the screen."""
    if not distributed.first():
        return
    history.write_metrics(workdir / METRICS, rows)
    for row in new:
        _say(history.line(row))


def _board(workdir, config, rows):
    """TensorBoard's files, in the process that writes."""
    return Board(workdir / TENSORBOARD, config, rows) if distributed.first() else contextlib.nullcontext()


def _fresh(config):
    # Drawing a million numbers once is not worth the 6 s that optimizing the program for it takes.
    quick = {"xla_backend_optimization_level": 1}
    draw = jax.jit(lambda: create_state(config, jax.random.key(config.seed)), compiler_options=quick)
    return host_copy(draw())


def _summary(config, training, validation, devices, params):
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    there = len(parallel.chosen(config))
    fewer = "" if devices == there else ", the most that divide it evenly"
    several = f" in {jax.process_count()} processes" if distributed.several() else ""
    return (
        f"{config.name}-{config.size}: {len(training)} training and {len(validation)} validation events, "
        f"{count} parameters, batch {config.train.batch_size} on {devices} of {jax.device_count()} "
        f"devices{several}{fewer} ({jax.devices()[0].device_kind}, {config.parallel})."
    )


def _say(text):
    if distributed.first():
        tqdm.write(text, file=sys.stderr)
