"""Parts of `gpu.py` with single steps, and the machine's limits.

Each part is a generator of rows, so that an interrupted part keeps its first rows. A row is {"what": text,
"value": number, "unit": text} with optional further entries, or {"what": text, "error": text}.
"""

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import synthetic_events
from e2e_jax.configs import cms_b
from e2e_jax.datasets.layout import Layout
from e2e_jax.detector import images
from e2e_jax.models import preprocessing
from e2e_jax.models.forward import logits_function
from e2e_jax.models.resnet import PRECISIONS
from tests import objects
from tests.objects import run_of, train_step


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
      windows: fields of the config that the numbers of events ask for.
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
    windows={"cvm": {"window": 10, "step": 5}, "decorrelation": {"neighbors": 2}},
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
        config.update(self.sizes.windows)
        return config

    def hits(self, size, group=None):
        """A batch of hits on the device, laid out as a training's: in groups, by default a single one."""
        rows = np.arange(size) % len(self.events)
        layout = Layout.flat(self.events, [rows[None]], group or size)
        return jax.device_put(layout.batch(self.events[rows]))


def row(what, value, unit, **more):
    return {"what": what, "value": value, "unit": unit, **more}


def guarded(what, rows):
    """The rows; an exception, such as too little memory, becomes a row."""
    try:
        yield from rows
    except Exception as error:
        yield {"what": what, "error": f"{type(error).__name__}: {str(error).strip()[:300]}"}


@dataclasses.dataclass
class Program:
    """A program to time: `call` starts it, `wait` waits for all started calls."""

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


def jitted(config, platform=None):
    """The programs that are timed, not yet compiled: {name: jitted function} for a platform of JAX."""
    run, step = run_of(config), train_step(config, platform=platform)
    logits = logits_function(run.network, run.inputs, platform)

    def forward(params, batch):
        return jax.nn.softmax(logits(params, batch))

    def draw(batch):
        return images.make_images(batch, config.inputs.geometry, tuple(config.inputs.channels))

    return {
        "step": jax.jit(step, donate_argnums=0),
        "forward": jax.jit(forward),
        "images": jax.jit(draw),
        "seeds": jax.jit(jax.vmap(step), donate_argnums=0),
    }


def new_state(config, seed=0):
    return jax.jit(lambda: objects.new_state(config, seed))()


def updating(function, state, batch):
    """A program that calls (state, batch) -> (state, metrics) repeatedly."""
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
    """A training step, ours and PyTorch's."""
    return _compared(bench, "step")


def forward(bench):
    """A forward pass, ours and PyTorch's."""
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
        programs[source] = (
            updating(functions["step"], state, batch)
            if kind == "step"
            else repeating(functions["forward"], state.params, batch)
        )
    times = in_turns(programs, bench.sizes.seconds)
    for source, spent in times.items():
        yield row(f"{what}, from {source}", size / spent, "events/s", milliseconds=spent * 1e3)
    yield from _used(bench, kind, precision, size, what, programs["images"].compiled, times["images"])
    inputs = np.asarray(preprocessing.model_inputs(dense, config.inputs)["barrel"])
    labels = np.asarray(hits["label"])
    del programs, dense, hits, batch, state  # PyTorch needs the memory
    for compiled in (False, True) if jax.default_backend() == "gpu" else (False,):
        name = f"{what}, {'compiled ' if compiled else ''}PyTorch"
        peers = _peer(bench, kind, precision, inputs, labels, compiled, name, times)
        yield from guarded(name, peers)


def _used(bench, kind, precision, size, what, compiled, seconds):
    """How much of the machine a compiled program uses that takes so many seconds."""
    used = compiled.memory_analysis()
    total = used.temp_size_in_bytes + used.argument_size_in_bytes + used.output_size_in_bytes
    yield row(f"{what}, device memory", (total - used.alias_size_in_bytes) / 1e9, "GB")
    done = size * flops(len(bench.config(precision).inputs.channels), kind) / seconds
    share = {"share": done / bench.products[precision]} if bench.products else {}
    yield row(f"{what}, products", done / 1e12, "TFLOP/s", **share)
    moved = (compiled.cost_analysis() or {}).get("bytes accessed", 0) / seconds
    if moved:
        share = {"share": moved / bench.bandwidth} if bench.bandwidth else {}
        yield row(f"{what}, bytes of XLA's operations", moved / 1e9, "GB/s", **share)


def _peer(bench, kind, precision, inputs, labels, compiled, name, ours):
    """PyTorch on the same images [n, rows, columns, channels], which are on the device."""
    import torch

    from benchmarks import peer

    torch.compiler.reset()  # else the eighth network is not compiled any more
    x = torch.tensor(inputs).permute(0, 3, 1, 2).to(peer.device(), memory_format=torch.channels_last)
    y = torch.tensor(labels).long().to(peer.device())
    if kind == "step":
        call = functools.partial(peer.training(x.shape[1], 5e-4, precision, compiled), x, y)
    else:
        logits = peer.classifier(x.shape[1], precision, compiled)[1]
        call = functools.partial(torch.inference_mode()(logits), x)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    spent = in_turns({name: Program(call, peer.wait)}, bench.sizes.seconds)[name]
    yield row(name, len(x) / spent, "events/s", milliseconds=spent * 1e3)
    for source, seconds in ours.items():
        yield row(f"from {source} over {name}", spent / seconds, "times")
    if torch.cuda.is_available():
        yield row(f"{name}, device memory", torch.cuda.max_memory_allocated() / 1e9, "GB")
        torch.cuda.empty_cache()


def flops(channels, kind):
    """Operations per event in ResNet-15's convolutions on the barrel: two per product."""
    of_stem = 2 * 83 * 178 * 7 * 7 * channels * 16
    of_narrow = 2 * 41 * 89 * 9 * 16 * 16 * 6
    of_wide = 2 * 21 * 45 * (9 * 16 * 32 + 16 * 32 + 9 * 32 * 32 * 7)
    all_forward = of_stem + of_narrow + of_wide
    # Backward: the gradients of the kernels and of the inputs, but none of the images.
    return 3 * all_forward - of_stem if kind == "step" else all_forward
