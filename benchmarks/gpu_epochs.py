"""Parts of `gpu.py` with many steps: several seeds at once, epochs, and a training; see `gpu_parts`."""

import tempfile
import time

import jax
import jax.numpy as jnp

from benchmarks import epoch, gpu_parts, synthetic_events
from e2e_jax.datasets import batches
from e2e_jax.devices import placement
from e2e_jax.evaluation import selection
from e2e_jax.runs.checkpoints import host_copy
from e2e_jax.studies import hgg
from e2e_jax.training.validation import Validation
from tests.objects import fed, new_state, parallel_step, run_of


def states_of_seeds(config, seeds):
    return jax.jit(jax.vmap(lambda seed: new_state(config, seed)))(jnp.arange(seeds))


def seeds(bench):
    """The step of several seeds at once, each with its own batch, and of one seed."""
    count, size, config = bench.sizes.seeds, bench.sizes.batches[0], bench.config(bench.sizes.precisions[0])
    functions, batch = gpu_parts.jitted(config), bench.hits(count * size, group=size)
    split = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), batch)
    programs = {
        f"{count} seeds at once": gpu_parts.updating(
            functions["seeds"], states_of_seeds(config, count), split
        ),
        "one seed": gpu_parts.updating(
            functions["step"], gpu_parts.new_state(config), jax.tree.map(lambda x: x[0], split)
        ),
    }
    times = gpu_parts.in_turns(programs, bench.sizes.seconds)
    at_once, one = times.values()
    yield gpu_parts.row(f"{count} seeds at once, batch {size} each", count * size / at_once, "events/s")
    yield gpu_parts.row("one seed", size / one, "events/s")
    yield gpu_parts.row(f"{count} seeds at once over one after another", count * one / at_once, "times")


def epochs(bench):
    """An epoch with the hits on the device, streamed, and PyTorch's from HDF5."""
    config = bench.config(bench.sizes.precisions[0])
    size, events = config.train.batch_size, bench.events
    done = batches.steps_per_epoch(events, size, hgg.TASK) * size
    rates = {}
    for place in epoch.FEEDS:
        run = epoch.our_epoch(place, events, config)
        run()  # the first epoch compiles what its first steps did not need
        rates[place] = done / _seconds(run)
        yield gpu_parts.row(
            f"epoch of {done} events, {place}", rates[place], "events/s", seconds=done / rates[place]
        )
    yield from gpu_parts.guarded("epoch, PyTorch from HDF5", _peers_epoch(bench, config, rates))


def _peers_epoch(bench, config, rates):
    from benchmarks import peer

    events, workers = bench.events[: bench.sizes.peer], epoch.WORKERS if bench.sizes.seconds else 0
    with tempfile.TemporaryDirectory() as folder:
        peer.write_images(f"{folder}/images.h5", events, config)
        run = epoch.peers_epoch(f"{folder}/images.h5", config, workers)
        done = len(events) // config.train.batch_size * config.train.batch_size
        rate = done / _seconds(run)
    yield gpu_parts.row(f"epoch of {done} events, PyTorch from HDF5, {workers} workers", rate, "events/s")
    for place, ours in rates.items():
        yield gpu_parts.row(f"epoch, {place} over PyTorch from HDF5", ours / rate, "times")


def _seconds(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def training(bench):
    """A training to its early stop, without checkpoints and pictures; a row for each epoch."""
    config = bench.config(bench.sizes.precisions[0])
    size, events = config.train.batch_size, bench.events
    validation = synthetic_events.make_events(bench.sizes.validation, seed=2)
    steps = batches.steps_per_epoch(events, size, hgg.TASK)
    began = time.perf_counter()
    train_step = parallel_step(config, steps=steps)
    feed = placement.resident(train_step, *fed(config, events))
    state, rows = train_step.place(host_copy(gpu_parts.new_state(config))), []
    validate = Validation(validation, run_of(config))
    limit, most = config.cvm.limit, (config.train.epochs, config.train.patience)
    while not selection.finished(rows, hgg.TASK, limit, *most):
        start = time.perf_counter()
        for new, _ in feed(state, len(rows), 0):
            state = new
        jax.block_until_ready(state)
        trained = time.perf_counter() - start
        metrics = validate.metrics(validate.predict(state.params))
        rows.append({"epoch": len(rows) + 1, **metrics})
        yield gpu_parts.row(
            f"training, epoch {len(rows)}",
            time.perf_counter() - start,
            "s",
            steps=trained,
            auc_h=metrics["auc_h"],
            cvm=metrics["cvm"],
        )
    best = selection.best_epoch(rows, limit, hgg.TASK).index
    yield gpu_parts.row(
        f"training to its end, {len(rows)} epochs of {steps * size} events",
        time.perf_counter() - began,
        "s",
        auc_h=rows[best]["auc_h"],
        cvm=rows[best]["cvm"],
    )
    statistics_ = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in statistics_:
        yield gpu_parts.row("device memory of all parts, JAX", statistics_["peak_bytes_in_use"] / 1e9, "GB")
