"""Training: the loop around the step, and the files that it leaves."""

import contextlib
import dataclasses
import json
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from e2e_jax import (
    distributed,
    evaluate,
    history,
    host,
    input_pipeline,
    losses,
    models,
    parallel,
    placement,
    profile,
)
from e2e_jax.checkpoint import (
    Checkpoints,
    host_copy,
    load_classifier,
    predictor,
    read_progress,
)
from e2e_jax.classes import Classes, category_of
from e2e_jax.report.board import Board
from e2e_jax.step import create_state, make_train_step
from e2e_jax.workdir import METRICS, PROFILE, TENSORBOARD, claim, read_config


def train_and_evaluate(config, workdir):
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
      WorkdirError: the folder belongs to another config.
      history.TrainingError: the loss is no longer finite.
    """
    workdir = Path(workdir)
    distributed.of_first(lambda: claim(workdir, config))
    if distributed.several():
        # Before anyone reads it: where the dataset is missing, the first process builds it.
        distributed.of_first(lambda: input_pipeline.describe(config))
    with Checkpoints(workdir) as checkpoints:
        validation = _train(config, workdir, checkpoints)
    return _evaluate(workdir, validation)


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
    workdir = Path(workdir)
    read_config(workdir)
    if config is not None:
        distributed.of_first(lambda: claim(workdir, config))
    return _evaluate(workdir)


def _evaluate(workdir, validation=None):
    """`evaluate_run`, with the validation sample where it is in memory already."""
    classifier = load_classifier(workdir, "best")
    config = classifier.config
    progress = history.Progress(**read_progress(workdir))
    best = history.best_epoch(progress.history, config.cvm.limit, category_of(config).signal)
    if validation is None:
        validation = input_pipeline.load_split(config, "validation")
    probabilities = distributed.divided(classifier.predict, validation)
    if not distributed.first():
        return None
    results = evaluate.evaluate(
        probabilities,
        validation.label,
        _mass(validation),
        config,
        epoch=progress.history[best.index]["epoch"],
        train_events=progress.train_events,
        dataset=input_pipeline.describe(config),
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
    state, best = restored[:2] if restored else distributed.of_first(lambda: _fresh(config))
    if restored:
        _say(f"Going on with the run in {workdir}: epoch {progress.epoch + 1}, step {int(state.step)}.")

    training = input_pipeline.load_split(config, "train")
    validation = input_pipeline.load_split(config, "validation")
    host.keep_memory(config.train.batch_size)
    progress.train_events = len(training)
    steps = input_pipeline.steps_per_epoch(training, config.train.batch_size, Classes.of(config))
    parallel_step = parallel.parallelize(lambda axis: make_train_step(config, axis, steps), config)
    distributed.connect(parallel_step.devices)
    # The free memory differs between processes.
    placed, why = distributed.of_first(
        lambda: placement.choose(
            config.data.placement, training, parallel_step.devices, models.slow_in_loops(config)
        )
    )
    make_feed = {"device": placement.resident, "stream": placement.streamed}[placed]
    feed = make_feed(parallel_step, training, config)
    if config.get("profile", False) and distributed.first():
        feed = profile.profiled(feed, workdir / PROFILE)
    _say(_summary(config, training, validation, len(parallel_step.devices), state.params))
    _say(f"Training sample: placement {placed!r}, as {why}.")
    predict = predictor(config)
    state = parallel_step.place(state)
    _report(workdir, progress.history, progress.history)
    with _board(workdir, config, progress.history) as board:
        while not history.finished(progress.history, config):
            state = _train_epoch(feed, steps, state, config, progress, best, checkpoints)
            row, probabilities = _close_epoch(state, validation, config, progress, predict)
            # Its times, by which nothing is decided, differ between processes; its metrics must not.
            row = distributed.of_first(lambda row=row: row)
            done = [*progress.history, row]
            best_now = history.best_epoch(done, config.cvm.limit, category_of(config).signal)
            if best_now.index == progress.epoch:
                best = host_copy(state.params)
            progress = history.Progress(history=done, train_events=len(training))
            # Before the checkpoint: a resumption goes on behind it, and writes no earlier epoch again.
            if board:
                board.add_epoch(row, probabilities, validation.label, _mass(validation), config)
            checkpoints.save(row["step"], state, best, dataclasses.asdict(progress))
            _report(workdir, done, [row])
    _say(f"Training ended after {progress.epoch} epochs.")
    return validation


def _train_epoch(feed, steps, state, config, progress, best, checkpoints):
    """Trains to the end of the running epoch; returns the state."""
    size, every = config.train.batch_size, config.train.checkpoint_every
    bar = tqdm(
        total=steps * size,
        initial=progress.steps * size,
        desc=f"Epoch {progress.epoch + 1}/{config.train.epochs}",
        unit=" events",
        dynamic_ncols=True,
        disable=not distributed.first(),
    )
    compiled, start = False, time.perf_counter()
    with bar:
        for piece in feed(state, progress.epoch, progress.steps):
            state, metrics = piece
            for of_step in metrics:
                progress.add(of_step)
            history.require_finite(progress, config)
            now = time.perf_counter()
            if compiled:
                progress.timed = [progress.timed[0] + len(metrics), progress.timed[1] + now - start]
            progress.seconds += now - start
            compiled, start = True, now
            bar.update(len(metrics) * size)
            bar.set_postfix(loss=f"{progress.sums['loss'] / progress.steps:.4f}")
            if progress.steps % every == 0:
                checkpoints.save(int(state.step), state, best, dataclasses.asdict(progress))
    return state


def _close_epoch(state, validation, config, progress, predict):
    """The finished epoch's row of metrics.jsonl, and the probabilities of the validation events."""
    start = time.perf_counter()
    probabilities = distributed.divided(lambda events: predict(state.params, events), validation)
    # The logarithm of a probability is a logit; one that underflowed to 0 counts as the smallest there is.
    logits = jnp.log(jnp.maximum(probabilities, jnp.finfo(jnp.float32).tiny))
    targets = Classes.of(config).of_labels(validation.label)
    validation_loss = losses.cross_entropy(logits, jnp.asarray(targets))
    steps, seconds = progress.timed if progress.timed[0] else (progress.steps, progress.seconds)
    row = {
        "epoch": progress.epoch + 1,
        "step": int(state.step),
        **{f"train_{name}": value for name, value in progress.means().items()},
        "validation_cross_entropy": float(jnp.mean(validation_loss)),
        "validation_accuracy": float(np.mean(np.argmax(probabilities, axis=1) == targets)),
        **evaluate.validation_metrics(probabilities, validation.label, _mass(validation), config),
        "events_per_second": round(steps * config.train.batch_size / seconds, 1),
        "seconds": round(progress.seconds + time.perf_counter() - start, 3),
    }
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


def _mass(events):
    """The masses of a sample; None where its events have none."""
    return getattr(events, "mass", None)


def _fresh(config):
    # Drawing a million numbers once is not worth the 6 s that optimizing the program for it takes.
    quick = {"xla_backend_optimization_level": 1}
    draw = jax.jit(lambda: create_state(config, jax.random.key(config.seed)), compiler_options=quick)
    state = host_copy(draw())
    return state, state.params


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
