"""Writes the simulated diphoton events of `e2e_jax.sources` as a TFDS dataset.

    cd data_builders && tfds build cms_hgg                    # the quick size
    cd data_builders && tfds build cms_hgg --config=medium    # or: tfds build cms_hgg/medium
    cd data_builders && tfds build cms_hgg --config='{"name": "mine", "train": 500, "validation": 100}'

A build that is interrupted leaves no dataset, and the next one goes on where it stopped.
"""

from __future__ import annotations

import ast
import concurrent.futures
import contextlib
import dataclasses
import hashlib
import importlib.metadata
import inspect
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

import e2e_jax
from e2e_jax.features import DetectorImages
from e2e_jax.sources.events import CLASSES, Events
from e2e_jax.sources.selection import ERAS
from e2e_jax.sources.tasks import SPLITS, SimulationTask, event_keys, run_tasks, simulation_tasks
from e2e_jax.sources.workers import WorkerPool, available_cores


@dataclasses.dataclass(kw_only=True)
class HggConfig(tfds.core.BuilderConfig):
    """A size of the dataset.

    Attributes:
      train, validation: events of each class in the split.
      fast: simulate without multi-parton interactions, see `sources.fastsim`.
      category: "central" or "central_forward", see `sources.selection`.
      seed: everything random in the events derives from it.
      produce: makes the events of a task; the fast simulation where it is None.
    """

    train: int
    validation: int
    fast: bool = True
    category: str = "central"
    seed: int = 2012
    produce: Callable[[SimulationTask], Events] | None = None

    def tasks(self, split: str) -> list[SimulationTask]:
        """The simulation tasks of "train" or "validation"."""
        size = {"train": self.train, "validation": self.validation}[split]
        return simulation_tasks(size, self.seed, split, fast=self.fast, category=self.category)


CONFIGS = (
    HggConfig(name="quick", train=2_000, validation=600, description="Made in minutes on two cores."),
    HggConfig(name="medium", train=15_000, validation=3_000, description="Where the paper's pattern shows."),
    HggConfig(
        name="paper", train=51_200, validation=11_800, fast=False, description="The paper's statistics."
    ),
)


class Builder(tfds.core.GeneratorBasedBuilder):
    """Simulated diphoton events with their hits.

    Args:
      file_format: "array_record" (read at random without TensorFlow; the default) or "tfrecord".
      executor: where the simulation runs, for instance Dask's `Client.get_executor()`; by default
        all cores of this machine.
      **kwargs: `data_dir`, `config` and `version` as in every TFDS builder.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "Fast simulation of the central category."}
    # A bare `tfds build cms_hgg` builds every config listed here, and the paper's takes hours.
    BUILDER_CONFIGS: ClassVar = [CONFIGS[0]]

    def __init__(
        self,
        *,
        file_format: str | None = None,
        executor: concurrent.futures.Executor | None = None,
        **kwargs,
    ):
        super().__init__(file_format=file_format, **kwargs)
        self._executor = executor
        if file_format is None and not self.is_prepared():
            self.info.set_file_format("array_record", override=True)

    @tfds.core.utils.classproperty
    @classmethod
    def builder_configs(cls) -> dict[str, HggConfig]:
        """All configs by name."""
        return {config.name: config for config in CONFIGS}

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "run": np.int64,
                    "lumi": np.int64,
                    "event": np.int64,
                    "mass": tfds.features.Scalar(np.float32, doc="Diphoton mass in GeV."),
                    "label": tfds.features.ClassLabel(names=CLASSES),
                    "photons": tfds.features.Tensor(
                        shape=(2, 3), dtype=np.float32, doc="(pt in GeV, eta, phi) of both, leading first."
                    ),
                    "detector": DetectorImages(),
                }
            ),
            homepage="https://arxiv.org/abs/1807.11916",
            metadata=tfds.core.MetadataDict(self._provenance()),
        )

    def _provenance(self) -> dict:
        config = self.builder_config
        return {
            "origin": "fast simulation",
            "seed": config.seed,
            "fast": config.fast,
            "category": config.category,
            "versions": {
                "e2e_jax": e2e_jax.__version__,
                "numpy": np.__version__,
                "pythia8": _version("pythia8mc"),
            },
            "events": {split: _counts(config.tasks(split)) for split in SPLITS},
        }

    def download_and_prepare(self, *, download_dir=None, **kwargs) -> None:
        """As in every TFDS builder; finished tasks are kept in `download_dir` until all are done."""
        root = pathlib.Path(download_dir or pathlib.Path(self.data_dir).parents[2] / "downloads")
        self._finished_tasks = root / self.name / self.builder_config.name
        with _own_progress_bar(), WorkerPool(available_cores()) as pool:
            self._pool = self._executor or pool
            super().download_and_prepare(download_dir=download_dir, **kwargs)
        shutil.rmtree(self._finished_tasks, ignore_errors=True)
        # What builds that were killed could not tidy up themselves.
        for leftover in pathlib.Path(self.data_dir).parent.glob(f"incomplete.*_{self.version}"):
            shutil.rmtree(leftover, ignore_errors=True)

    def _log_download_bytes(self) -> None:
        """Says what is about to happen, where TFDS would announce a download of unknown size."""
        events = len(CLASSES) * (self.builder_config.train + self.builder_config.validation)
        print(
            f"Simulating {events:,} events for {self.info.full_name} in {self.data_dir}. "
            "An interrupted build goes on where it stopped.",
            flush=True,
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str) -> Iterator[tuple[str, dict]]:
        produce = self.builder_config.produce or _simulation()
        results = run_tasks(
            self.builder_config.tasks(split),
            produce,
            executor=self._pool,
            cache_dir=self._finished_tasks,
            version=_code_version(produce),
            progress=f"{self.name}/{self.builder_config.name} {split}",
        )
        for _, events in results:
            yield from zip(event_keys(events.validate()), events.examples())


def _simulation() -> Callable[[SimulationTask], Events]:
    """The fast simulation, imported when it is needed: reading a dataset needs no Pythia."""
    from e2e_jax.sources.fastsim.simulate import produce

    return produce


def _code_version(produce: Callable) -> str:
    """Changes with whatever may change the events of a task, so that no stale task is reused.

    Comments, docstrings and layout of the code do not count.
    """
    package = pathlib.Path(e2e_jax.__file__).parent
    rooms = ("sources/fastsim", "sources/events.py", "sources/selection.py", "detector")
    files = {pathlib.Path(inspect.getfile(produce))}
    for path in (package / room for room in rooms):
        files.update(path.rglob("*.py") if path.is_dir() else [path])
    code = hashlib.sha256("".join(_statements(path) for path in sorted(files)).encode()).hexdigest()
    return f"{code[:32]} numpy {np.__version__} pythia {_version('pythia8mc')}"


def _statements(path: pathlib.Path) -> str:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [
                s for s in body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
            ]
    return ast.dump(tree)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _counts(tasks: list[SimulationTask]) -> dict[str, dict[str, int]]:
    """Events of each class by run number: what the metadata says of a split."""
    counts = {name: {str(era.run): 0 for era in ERAS} for name in CLASSES}
    for task in tasks:
        counts[CLASSES[task.label]][str(ERAS[task.era].run)] += task.events
    return counts


@contextlib.contextmanager
def _own_progress_bar():
    """TFDS's bars know no totals and would overwrite ours."""
    tfds.disable_progress_bar()
    try:
        yield
    finally:
        tfds.enable_progress_bar()
