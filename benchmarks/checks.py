"""What do the checks cost, of the time of what they check?

    python benchmarks/checks.py [FILE] [--rounds 9] [--only NAME ...]

Each line times the same work with and without a check, in turns in one process, and prints medians of
processor time (of all threads) and the difference as a share of the time without:

- step: CMS-B's training step at the paper's widths, with the norm of the parameters and the test of every
  metric for being finite;
- predict: a prediction of hits, with the check of every value of the events;
- first open: reading a split of a dataset, with the SHA-256 of its files and of the arrays that are kept;
- later opens: what opening a verified split takes, and its checks (size and times of the files), in ms;
- root: all events of an AODSIM file of 2,000 events made of FILE (see `aodsim.py`), with the ranges and the
  order of its hits;
- adler32: the checksum of that file, which a list may state, next to the reading of it.
"""

import argparse
import concurrent.futures
import contextlib
import statistics
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from e2e_jax.devices import host

if __name__ == "__main__":
    host.use_well()  # as a training does

import jax
import numpy as np

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


def predict(rounds):
    """Of the released CMS-B."""
    from e2e_jax.inference import validity
    from e2e_jax.inference.loading import load_classifier

    classifier, events = load_classifier(Path(__file__).parents[1] / "release/cms_b"), make_events(EVENTS)

    @contextlib.contextmanager
    def off():
        with (
            mock.patch.object(validity, "is_invalid", return_value=np.zeros(EVENTS, bool)),
            mock.patch.object(validity, "check_columns", return_value=None),
        ):
            yield

    return compare(rounds, lambda: classifier.predict(events), off)


def build(data_dir):
    """The folder of a dataset of 3,000 training events."""
    from data_builders.cms_hgg.cms_hgg_dataset_builder import Builder
    from e2e_jax.datasets.naming import HggConfig
    from tests.synthetic_tasks import produce

    config = HggConfig(name="checked", train=1000, validation=3, produce=produce)
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        Builder(config=config, data_dir=data_dir, executor=executor).download_and_prepare()
    return data_dir / f"cms_hgg/checked/{Builder.VERSION}"


def first_open(rounds, folder):
    """Of a dataset that nobody has opened yet."""
    from e2e_jax.datasets import reading
    from e2e_jax.files import digests

    def work():
        for place in reading.derived_folders(folder):
            if place.exists():
                for path in sorted(place.rglob("*"), reverse=True):
                    path.rmdir() if path.is_dir() else path.unlink()
        reading.open_split(folder, "train", progress=False)

    @contextlib.contextmanager
    def off():
        with (
            mock.patch.object(digests, "of_file", return_value="0"),
            mock.patch.object(digests, "changed", return_value=[]),
        ):
            yield

    return compare(rounds, work, off)


def later_opens(rounds, folder):
    """Of the same dataset."""
    from e2e_jax.datasets import reading
    from e2e_jax.files import digests

    @contextlib.contextmanager
    def off():
        with mock.patch.object(digests, "changed", return_value=[]):
            yield

    reading.open_split(folder, "train", progress=False)
    return compare(10 * rounds, lambda: reading.open_split(folder, "train", progress=False), off)


def root(rounds, path):
    """Of all events of an AODSIM file."""
    from e2e_jax.sources.root import aodsim, rec_hits

    @contextlib.contextmanager
    def off():
        with (
            mock.patch.object(rec_hits, "mark_unlikely", return_value=None),
            mock.patch.object(rec_hits, "_mark_order", return_value=None),
        ):
            yield

    return compare(rounds, lambda: sum(len(part) for part in aodsim.iterate_events(path)), off)


def adler32(rounds, path):
    """The reading of the same file with and without the comparison of its content before it."""
    from e2e_jax.sources.root import aodsim, file_contents

    content, checked = file_contents.Content(adler32=file_contents._adler32(path)), [True]

    def work():
        if checked[0]:
            file_contents.check(path, Path(path).stat().st_size, content)
        sum(len(part) for part in aodsim.iterate_events(path))

    @contextlib.contextmanager
    def off():
        checked[0] = False
        yield
        checked[0] = True

    return compare(rounds, work, off)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", nargs="?", help="a real AODSIM file, for the lines root and adler32")
    parser.add_argument("--rounds", type=int, default=9)
    names = ("step", "predict", "first open", "later opens", "root", "adler32")
    parser.add_argument("--only", nargs="*", choices=names, default=names)
    options = parser.parse_args()
    from e2e_jax.models.cpu import resnet_cpu

    print(f"Convolutions: {resnet_cpu.describe()}.")
    print("| work | with, ms | without, ms | cost |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        measures = {"step": step, "predict": predict}
        if {"first open", "later opens"} & set(options.only):
            folder = build(Path(place))
            measures["first open"] = lambda rounds: first_open(rounds, folder)
            measures["later opens"] = lambda rounds: later_opens(rounds, folder)
        if options.file:
            from benchmarks import aodsim

            path = f"{place}/repeated.root"
            aodsim.repeat(options.file, path, 2000)
            measures["root"] = lambda rounds: root(rounds, path)
            measures["adler32"] = lambda rounds: adler32(rounds, path)
        for name, measure in measures.items():
            if name in options.only:
                checked, plain = measure(options.rounds)
                cost = checked / plain - 1
                print(f"| {name} | {1e3 * checked:.2f} | {1e3 * plain:.2f} | {cost:+.1%} |", flush=True)


if __name__ == "__main__":
    main()
