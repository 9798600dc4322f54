"""Cost of the checks, as a fraction of the time of the checked work.

    python benchmarks/checks.py [FILE] [--rounds 9] [--only NAME ...]

Times are processor time of all threads. For "step" the same work is timed with and without its checks, in
turns in one process. For the others the time inside the checks is measured, which is less sensitive to noise;
the cost is this time as a fraction of the rest. Prints medians over the rounds:

- step: CMS-B's training step at the paper's widths, with the norm of the parameters and the test of every
  metric for being finite;
- predict: a prediction of hits, with the check of every value of the events;
- first open: reading a split of a dataset from elsewhere, with the SHA-256 of its files, the CRC-32 of the
  arrays that are kept, and the range of every value;
- after a build: the same of a dataset that was built on this machine, whose digests are known;
- later opens: of a split that was opened before: size and times of the files;
- root: all events of an AODSIM file of 2,000 events made of FILE (see `aodsim.py`), with the ranges and the
  order of its hits, and events that come twice;
- adler32: the first pass over that file with and without the checksum that a list may state, in turns, wall
  time;
- run: a whole training, CMS-B for one epoch of 3,000 events, from the first opening of its dataset to
  results.json, with all of these and those of checkpoints. The norm of the parameters is part of the compiled
  step and counts in "step" alone.
"""

import argparse
import concurrent.futures
import contextlib
import functools
import shutil
import statistics
import sys
import tempfile
import threading
import time
import zlib
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from e2e_jax.devices import host

if __name__ == "__main__":
    host.use_well()  # as a training does

import jax

from benchmarks.synthetic_events import make_events

BATCH, EVENTS = 36, 720


def compare(rounds, work, checks):
    """Median processor seconds (with, without) of `work()`; without, inside of `checks()`, which disables."""
    times = ([], [])
    for turn in range(2 * (rounds + 1)):
        with checks() if turn % 2 else contextlib.nullcontext():
            start = time.process_time()
            work()
            times[turn % 2].append(time.process_time() - start)
    return tuple(statistics.median(of[1:]) for of in times)


def step(rounds):
    """Of a training: the test of its metrics on the host is among the work."""
    from e2e_jax.configs import cms_b
    from e2e_jax.datasets.layout import Layout
    from e2e_jax.devices import parallel
    from e2e_jax.training.progress import Progress, require_finite
    from tests import objects

    config = cms_b.get_config("medium")
    config.train.batch_size = BATCH
    host.keep_memory(BATCH)
    events = make_events(BATCH)
    batch = Layout.padded(events).batch(events)

    def without_norm(axis):
        whole = objects.train_step(config, axis)

        def train_step(state, batch):
            state, metrics = whole(state, batch)
            return state, {name: value for name, value in metrics.items() if name != "parameter_norm"}

        return train_step

    steps = {
        True: objects.parallel_step(config),
        False: parallel.parallelize(without_norm, BATCH, objects.run_of(config).setup),
    }
    checked, state = [True], steps[True].place(objects.new_state(config))

    def work():
        nonlocal state
        state, metrics = steps[checked[0]].step(state, batch)
        metrics = jax.device_get(metrics)
        if checked[0]:
            progress = Progress()
            progress.add(metrics)
            require_finite(progress, config.train.learning_rate)

    @contextlib.contextmanager
    def off():
        checked[0] = False
        yield
        checked[0] = True

    return compare(rounds, work, off)


class Clock:
    """Processor seconds inside of some functions, of all threads; inner calls count once."""

    def __init__(self):
        self.seconds, self._thread = 0.0, threading.local()

    def timed(self, function):
        @functools.wraps(function)
        def call(*arguments, **options):
            if getattr(self._thread, "inside", False):
                return function(*arguments, **options)
            self._thread.inside, start = True, time.thread_time()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds += time.thread_time() - start
                self._thread.inside = False

        return call


def inside(rounds, work, *checks, before=lambda: None):
    """Median processor seconds (with, without) of `work()`; checks are (object, names of functions in it)."""
    times = ([], [])
    for _ in range(rounds + 1):
        before()
        clock = Clock()
        with contextlib.ExitStack() as stack:
            for owner, *names in checks:
                for name in names:
                    timed = clock.timed(getattr(owner, name))
                    stack.enter_context(mock.patch.object(owner, name, timed))
            start = time.process_time()
            work()
            whole = time.process_time() - start
        times[0].append(whole)
        times[1].append(whole - clock.seconds)
    return tuple(statistics.median(of[1:] or of) for of in times)


def predict(rounds):
    """Of the released CMS-B."""
    from e2e_jax.inference import validity
    from e2e_jax.inference.loading import load_classifier

    classifier, events = load_classifier(Path(__file__).parents[1] / "release/cms_b"), make_events(EVENTS)
    checks = (validity, "is_invalid", "check_columns")
    return inside(rounds, lambda: classifier.predict(events), checks)


def build(data_dir):
    """The folder of a dataset of 3,000 training events."""
    from data_builders.cms_hgg.cms_hgg_dataset_builder import Builder
    from e2e_jax.datasets.naming import HggConfig
    from tests.synthetic_tasks import produce

    config = HggConfig(name="checked", train=1000, validation=300, produce=produce)
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        Builder(config=config, data_dir=data_dir, executor=executor).download_and_prepare()
    return data_dir / f"cms_hgg/checked/{Builder.VERSION}"


def of_datasets():
    from e2e_jax.events.diphotons import Events
    from e2e_jax.files import digests

    return (digests, "of_file", "crc_of_file", "changed", "note", "read_sealed", "write_sealed"), (
        Events,
        "validate",
    )


def forget(folder):
    """Resets the dataset to the state before its first opening."""
    from e2e_jax.datasets import reading

    for place in reading.derived_folders(folder):
        shutil.rmtree(place, ignore_errors=True)


def opening(rounds, folder, before):
    from e2e_jax.datasets import reading

    work = functools.partial(reading.open_split, folder, "train", progress=False)
    return inside(rounds, work, *of_datasets(), before=before)


def first_open(rounds, folder):
    return opening(rounds, folder, lambda: forget(folder))


def after_build(rounds, folder):
    def as_built():
        forget(folder)
        preparation.note_written(folder)

    from e2e_jax.datasets import preparation

    return opening(rounds, folder, as_built)


def later_opens(rounds, folder):
    return opening(10 * rounds, folder, lambda: None)


def root(rounds, path):
    """Of all events of an AODSIM file."""
    from e2e_jax.sources.root import aodsim, rec_hits

    checks = (rec_hits, "mark_unlikely", "_mark_order"), (aodsim, "_check_photons", "repeated")
    return inside(rounds, lambda: sum(len(part) for part in aodsim.iterate_events(path)), *checks)


def adler32(rounds, path):
    """Median wall seconds (with, without) of the first pass, in turns."""
    from e2e_jax.sources.root import aodsim, file_contents, remote

    checksum = functools.reduce(lambda so_far, block: zlib.adler32(block, so_far), remote.blocks(path), 1)
    contents, times = (file_contents.Content(adler32=checksum), file_contents.UNKNOWN), ([], [])
    for turn in range(4 * (rounds + 1)):
        start = time.perf_counter()
        aodsim.read_candidates(path, content=contents[turn % 2])
        times[turn % 2].append(time.perf_counter() - start)
    return tuple(statistics.median(of[2:]) for of in times)


def run(rounds, folder):
    """One training; the rounds are those of its steps."""
    from e2e_jax.configs import cms_b
    from e2e_jax.files import locks
    from e2e_jax.inference import validity
    from e2e_jax.runs import checkpoint_files, checkpoints, config_ranges
    from e2e_jax.training import epochs, loop

    config = cms_b.get_config("quick")
    config.dataset.name, config.train.epochs = "cms_hgg/checked", 1
    config.dataset.data_dir = str(folder.parents[2])
    checks = (
        *of_datasets(),
        (locks, "locked"),
        (validity, "is_invalid", "check_columns"),
        (checkpoint_files, "_digest", "_sealed", "check_written", "read_about"),
        (checkpoints, "_require_finite", "check_config", "check_task", "check_dataset"),
        (config_ranges, "check_fields"),
        (epochs, "require_finite", "require_finite_row"),
    )
    forget(folder)
    with tempfile.TemporaryDirectory() as workdir, named(folder):
        return inside(0, lambda: loop.train(config, workdir), *checks)


@contextlib.contextmanager
def named(folder):
    """The dataset of `build` is known by its name."""
    from e2e_jax.datasets import preparation

    with mock.patch.object(preparation, "prepare_dataset", return_value=folder):
        yield


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", nargs="?", help="a real AODSIM file, for the lines root and adler32")
    parser.add_argument("--rounds", type=int, default=9)
    ofs = {"first open": first_open, "after a build": after_build, "later opens": later_opens, "run": run}
    ofs_file = {"root": root, "adler32": adler32}
    names = ("step", "predict", *ofs, *ofs_file)
    parser.add_argument("--only", nargs="*", choices=names, default=names)
    options = parser.parse_args()
    from e2e_jax.models.cpu import resnet_cpu

    print(f"Convolutions: {resnet_cpu.describe()}.")
    print("| work | with, ms | without, ms | cost |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        measures = {"step": step, "predict": predict}
        if set(ofs) & set(options.only):
            folder = build(Path(place))
            measures |= {name: functools.partial(measure, folder=folder) for name, measure in ofs.items()}
        if options.file and set(ofs_file) & set(options.only):
            from benchmarks import aodsim

            path = f"{place}/repeated.root"
            aodsim.repeat(options.file, path, 2000)
            measures |= {name: functools.partial(measure, path=path) for name, measure in ofs_file.items()}
        for name, measure in measures.items():
            if name in options.only:
                checked, plain = measure(options.rounds)
                cost = checked / plain - 1
                print(f"| {name} | {1e3 * checked:.2f} | {1e3 * plain:.2f} | {cost:+.2%} |", flush=True)


if __name__ == "__main__":
    main()
