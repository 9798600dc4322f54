"""What `gpu.py` measures: each part is a generator of rows, so that one that is cut off leaves its first ones.

A row is {"what": text, "value": number, "unit": text} and whatever else belongs to it, or {"what": text,
"error": text}.
"""

import dataclasses
import functools
import statistics
import tempfile
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import epoch, synthetic_events
from configs import cms_b
from e2e_jax import evaluate, history, input_pipeline, models, parallel, placement, preprocessing
from e2e_jax.checkpoint import host_copy
from e2e_jax.detector import images
from e2e_jax.models.resnet import PRECISIONS
from e2e_jax.step import create_state, make_train_step


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
      batches: events per step.
      precisions: in the order in which they are measured; the first is that of the epochs and the training.
      seconds: that a measurement of a step takes, about, in each of its rounds.
      training, validation: events of the training.
      peer: events in the HDF5 file that PyTorch reads.
      copied: numbers in the array whose copy gives the bandwidth.
      matrix: rows and columns of the matrix product that gives the peak.
      epochs: of the training at most.
      seeds: trained at once.
      widths: maps of the network.
      windows: fields of `config.cvm` that the numbers of events ask for.
    """

    batches: tuple[int, ...] = (360, 4096)
    precisions: tuple[str, ...] = tuple(reversed(PRECISIONS))
    seconds: float = 0.7
    training: int = 153_600
    validation: int = 35_400
    peer: int = 7_200
    copied: int = 2**28
    matrix: int = 8192
    epochs: int = 50
    seeds: int = 5
    widths: tuple[int, int] = (16, 32)
    windows: dict = dataclasses.field(default_factory=dict)


TINY = Sizes(
    batches=(6,),
    precisions=("float32",),
    seconds=0.0,
    training=12,
    validation=60,
    peer=12,
    copied=2**16,
    matrix=64,
    epochs=1,
    seeds=2,
    widths=(1, 2),
    windows={"window": 10, "step": 5, "neighbors": 2},
)


class Bench:
    """What the parts share: the sizes, the events, and the peaks that the machine reached."""

    def __init__(self, sizes):
        self.sizes, self.bandwidth, self.products = sizes, None, {}

    @functools.cached_property
    def events(self):
        return synthetic_events.make_events(self.sizes.training, seed=1)

    def config(self, precision):
        """CMS-B of the paper's size on one device."""
        config = cms_b.get_config("paper")
        config.precision, config.devices = precision, 1
        config.train.update(batch_size=self.sizes.batches[0], epochs=self.sizes.epochs)
        config.model.widths = self.sizes.widths
        config.cvm.update(self.sizes.windows)
        return config

    def hits(self, size):
        """A batch of hits on the device."""
        return jax.device_put(self.events[np.arange(size) % len(self.events)].to_batch())


def row(what, value, unit, **more):
    return {"what": what, "value": value, "unit": unit, **more}


def guarded(what, rows):
    """The rows; in place of an exception, such as too little memory, one row that holds it."""
    try:
        yield from rows
    except Exception as error:
        yield {"what": what, "error": f"{type(error).__name__}: {str(error).strip()[:300]}"}


@dataclasses.dataclass
class Program:
    """Something to time: `call` starts it, `wait` returns when all that was started is done."""

    call: Callable[[], None]
    wait: Callable[[], None]
    compiled: object = None


def in_turns(programs, seconds, rounds=3):
    """Median seconds of one call of each program; they take turns."""
    times, counts = {name: [] for name in programs}, {}
    for turn in range(rounds + 2):
        for name, program in programs.items():
            start = time.perf_counter()
            for _ in range(counts.get(name, 1)):
                program.call()
            program.wait()
            spent = time.perf_counter() - start
            if turn == 1:  # the first call compiles
                counts[name] = max(1, int(seconds / spent))
            if turn > 1:
                times[name].append(spent / counts[name])
    return {name: statistics.median(values) for name, values in times.items()}


def jitted(config):
    """The programs that are timed, not yet compiled: {name: jitted function}."""
    network, step = models.build(config), make_train_step(config)

    def forward(params, batch):
        inputs = preprocessing.model_inputs(batch, config.inputs)
        return jax.nn.softmax(network.apply({"params": params}, inputs))

    def draw(batch):
        return images.make_images(batch, config.inputs.geometry, tuple(config.inputs.channels))

    return {
        "step": jax.jit(step, donate_argnums=0),
        "forward": jax.jit(forward),
        "images": jax.jit(draw),
        "seeds": jax.jit(jax.vmap(step), donate_argnums=0),
    }


def new_state(config, seed=0):
    return jax.jit(lambda: create_state(config, jax.random.key(seed)))()


def states_of_seeds(config, seeds):
    return jax.jit(jax.vmap(lambda seed: create_state(config, jax.random.key(seed))))(jnp.arange(seeds))


def updating(function, state, batch):
    """A program that calls (state, batch) -> (state, metrics) on and on."""
    compiled, kept = function.lower(state, batch).compile(), [state]

    def call():
        kept[0] = compiled(kept[0], batch)[0]

    return Program(call, lambda: jax.block_until_ready(kept[0]), compiled)


def repeating(function, *arguments):
    """A program that calls a function on the same arguments."""
    compiled, kept = function.lower(*arguments).compile(), [None]

    def call():
        kept[0] = compiled(*arguments)

    return Program(call, lambda: jax.block_until_ready(kept[0]), compiled)


def machine(bench):
    """The bandwidth of a copy and the rate of a matrix product, which bound everything else."""
    numbers = jnp.ones(bench.sizes.copied, jnp.float32)
    copy = repeating(jax.jit(lambda x: x + 1), numbers)
    spent = in_turns({"copy": copy}, bench.sizes.seconds)["copy"]
    bench.bandwidth = 2 * numbers.nbytes / spent
    yield row("copy, bytes read and written", bench.bandwidth / 1e9, "GB/s")
    n, kinds = bench.sizes.matrix, {"float32": "highest", "tf32": "default", "bfloat16": "default"}
    for name, precision in kinds.items():
        dtype = jnp.bfloat16 if name == "bfloat16" else jnp.float32
        left = jax.random.normal(jax.random.key(0), (n, n), dtype)
        product = repeating(jax.jit(functools.partial(jnp.matmul, precision=precision)), left, left)
        spent = in_turns({name: product}, bench.sizes.seconds)[name]
        bench.products[name] = 2 * n**3 / spent
        yield row(f"matrix product, {name}", bench.products[name] / 1e12, "TFLOP/s")


def make_images(bench):
    """Hits -> images, of the barrel, all three channels."""
    for size in bench.sizes.batches:
        drawn = repeating(jitted(bench.config("float32"))["images"], bench.hits(size))
        spent = in_turns({"images": drawn}, bench.sizes.seconds)["images"]
        yield row(f"hits -> images, batch {size}", size / spent, "images/s")


def step(bench):
    """A training step beside PyTorch's."""
    return _compared(bench, "step")


def forward(bench):
    """A forward pass beside PyTorch's."""
    return _compared(bench, "forward")


def _compared(bench, kind):
    for precision in bench.sizes.precisions:
        for size in bench.sizes.batches:
            what = f"{kind}, {precision}, batch {size}"
            yield from guarded(what, _one_compared(bench, kind, precision, size, what))


def _one_compared(bench, kind, precision, size, what):
    config = bench.config(precision)
    functions, hits = jitted(config), bench.hits(size)
    dense = functions["images"](hits) | {name: hits[name] for name in ("mass", "label")}
    programs = {}
    for source, batch in (("images", dense), ("hits", hits)):
        state = new_state(config)
        programs[f"from {source}"] = (
            updating(functions["step"], state, batch)
            if kind == "step"
            else repeating(functions["forward"], state.params, batch)
        )
    inputs = jax.jit(lambda batch: preprocessing.model_inputs(batch, config.inputs)["barrel"])(dense)
    try:
        programs |= _peers(kind, np.asarray(inputs), np.asarray(hits["label"]), precision)
        del inputs
    except ModuleNotFoundError as error:
        yield {"what": f"{what}, PyTorch", "error": str(error)}
    times = in_turns(programs, bench.sizes.seconds)
    best_peer = min((spent for name, spent in times.items() if "PyTorch" in name), default=None)
    for name, spent in times.items():
        more = {"milliseconds": spent * 1e3}
        if best_peer and "PyTorch" not in name:
            more["times PyTorch"] = best_peer / spent
        yield row(f"{what}, {name}", size / spent, "events/s", **more)
    ours = programs["from images"]
    used = ours.compiled.memory_analysis()
    total = used.temp_size_in_bytes + used.argument_size_in_bytes + used.output_size_in_bytes
    total -= used.alias_size_in_bytes
    yield row(f"{what}, device memory of the program", total / 1e9, "GB")
    yield from _peers_memory(what, programs)
    done = size * flops(len(config.inputs.channels), kind) / times["from images"]
    share = {"share": done / bench.products[precision]} if bench.products else {}
    yield row(f"{what}, products", done / 1e12, "TFLOP/s", **share)
    moved = (ours.compiled.cost_analysis() or {}).get("bytes accessed")
    if moved:
        moved /= times["from images"]
        share = {"share": moved / bench.bandwidth} if bench.bandwidth else {}
        yield row(f"{what}, bytes of XLA's operations", moved / 1e9, "GB/s", **share)


def _peers(kind, inputs, labels, precision):
    """PyTorch's programs, plain and compiled, on images [n, rows, columns, channels] that lie on the device."""
    import torch

    from benchmarks import peer

    x = torch.tensor(inputs).permute(0, 3, 1, 2).to(peer.device(), memory_format=torch.channels_last)
    labels, programs = torch.tensor(labels).long().to(peer.device()), {}
    for compiled in (False, True) if peer.device().type == "cuda" else (False,):
        if kind == "step":
            call = functools.partial(peer.training(x.shape[1], 5e-4, precision, compiled), x, labels)
        else:
            logits = peer.classifier(x.shape[1], precision, compiled)[1]
            call = functools.partial(torch.inference_mode()(logits), x)
        programs["compiled PyTorch" if compiled else "PyTorch"] = Program(call, peer.wait)
    return programs


def _peers_memory(what, programs):
    """The most memory of PyTorch's tensors in one more call."""
    import torch

    for name, program in programs.items():
        if "PyTorch" in name and torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            program.call()
            program.wait()
            most = torch.cuda.max_memory_allocated()
            torch.cuda.empty_cache()
            yield row(f"{what}, device memory of {name}", most / 1e9, "GB")


def flops(channels, kind):
    """Operations of an event in ResNet-15's convolutions on the barrel: two for each product."""
    of_stem = 2 * 83 * 178 * 7 * 7 * channels * 16
    of_narrow = 2 * 41 * 89 * 9 * 16 * 16 * 6
    of_wide = 2 * 21 * 45 * (9 * 16 * 32 + 16 * 32 + 9 * 32 * 32 * 7)
    all_forward = of_stem + of_narrow + of_wide
    # Backward: the gradients of the kernels and of the inputs, but none of the images.
    return 3 * all_forward - of_stem if kind == "step" else all_forward


def seeds(bench):
    """The step of several seeds at once, each with its own batch, and of one seed."""
    count, size, config = bench.sizes.seeds, bench.sizes.batches[0], bench.config(bench.sizes.precisions[0])
    functions, batch = jitted(config), bench.hits(count * size)
    split = jax.tree.map(lambda x: x.reshape(count, size, *x.shape[1:]), batch)
    programs = {
        f"{count} seeds at once": updating(functions["seeds"], states_of_seeds(config, count), split),
        "one seed": updating(functions["step"], new_state(config), jax.tree.map(lambda x: x[0], split)),
    }
    times = in_turns(programs, bench.sizes.seconds)
    at_once, one = times.values()
    yield row(f"{count} seeds at once, batch {size} each", count * size / at_once, "events/s")
    yield row("one seed", size / one, "events/s")
    yield row(f"{count} seeds at once over one after another", count * one / at_once, "times")


def epochs(bench):
    """An epoch with the hits on the device, streamed, and PyTorch's from HDF5."""
    config = bench.config(bench.sizes.precisions[0])
    size, events = config.train.batch_size, bench.events
    done = input_pipeline.steps_per_epoch(events, size) * size
    rates = {}
    for place in epoch.FEEDS:
        run = epoch.our_epoch(place, events, config)
        run()  # the first epoch compiles what its first steps did not need
        rates[place] = done / _seconds(run)
        yield row(f"epoch of {done} events, {place}", rates[place], "events/s", seconds=done / rates[place])
    yield from guarded("epoch, PyTorch from HDF5", _peers_epoch(bench, config, rates))


def _peers_epoch(bench, config, rates):
    from benchmarks import peer

    events, workers = bench.events[: bench.sizes.peer], epoch.WORKERS if bench.sizes.seconds else 0
    with tempfile.TemporaryDirectory() as folder:
        peer.write_images(f"{folder}/images.h5", events, config)
        run = epoch.peers_epoch(f"{folder}/images.h5", config, workers)
        done = len(events) // config.train.batch_size * config.train.batch_size
        rate = done / _seconds(run)
    yield row(f"epoch of {done} events, PyTorch from HDF5, {workers} workers", rate, "events/s")
    for place, ours in rates.items():
        yield row(f"epoch, {place} over PyTorch from HDF5", ours / rate, "times")


def _seconds(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def training(bench):
    """A training to its early stop, without checkpoints and pictures; a row for each epoch."""
    config = bench.config(bench.sizes.precisions[0])
    size, events = config.train.batch_size, bench.events
    validation = synthetic_events.make_events(bench.sizes.validation, seed=2)
    steps = input_pipeline.steps_per_epoch(events, size)
    began = time.perf_counter()
    train_step = parallel.parallelize(lambda axis: make_train_step(config, axis, steps), config)
    feed = placement.resident(train_step, events, config)
    state, rows = train_step.place(host_copy(new_state(config))), []
    predict = _predictor(config, validation)
    while not history.finished(rows, config):
        start = time.perf_counter()
        for new, _ in feed(state, len(rows), 0):
            state = new
        jax.block_until_ready(state)
        trained = time.perf_counter() - start
        metrics = evaluate.validation_metrics(
            predict(state.params), validation.label, validation.mass, config
        )
        rows.append({"epoch": len(rows) + 1, **metrics})
        yield row(
            f"training, epoch {len(rows)}",
            time.perf_counter() - start,
            "s",
            steps=trained,
            auc_h=metrics["auc_h"],
            cvm=metrics["cvm"],
        )
    best = history.best_epoch(rows, config.cvm.limit).index
    yield row(
        f"training to its end, {len(rows)} epochs of {steps * size} events",
        time.perf_counter() - began,
        "s",
        auc_h=rows[best]["auc_h"],
        cvm=rows[best]["cvm"],
    )
    statistics_ = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in statistics_:
        yield row("device memory of all parts, JAX", statistics_["peak_bytes_in_use"] / 1e9, "GB")


def _predictor(config, events):
    """params -> probabilities of the events, which lie on the device."""
    run, size = jitted(config)["forward"], min(len(events), 10 * config.evaluate.batch_size)
    batches = [jax.device_put(batch) for batch in input_pipeline.evaluation_batches(events, size)]
    valid = np.concatenate([batch.pop("valid") for batch in batches])
    return lambda params: np.concatenate([run(params, batch) for batch in batches])[valid]


PARTS = {
    "machine": (machine, 25),
    "images": (make_images, 35),
    "step": (step, 150),
    "forward": (forward, 60),
    "seeds": (seeds, 35),
    "epoch": (epochs, 90),
    "training": (training, 400),
}
"""{name: (generator of rows, the most seconds)}; the last takes what is left of the whole time."""
