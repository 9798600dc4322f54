"""The TFDS builder of a study: hits stored under "detector", jobs on any executor, resumable builds."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from e2e_jax.datasets import preparation
from e2e_jax.datasets.configs import Config
from e2e_jax.datasets.features import DetectorImages, JetImages
from e2e_jax.datasets.production import Place
from e2e_jax.datasets.shower_features import ShowerImages
from e2e_jax.events.base import Record
from e2e_jax.events.diphotons import PHOTONS
from e2e_jax.execution import cluster
from e2e_jax.execution.jobs import event_keys, run_jobs
from e2e_jax.execution.workers import WorkerPool, available_cores
from e2e_jax.files import digests, locks
from e2e_jax.study import Study
from e2e_jax.study.samples import Gun

VERSION = tfds.core.Version("3.0.0")
"""Version of the stored events. Increase it when the features or the physics of the simulation change."""


class StudyBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """The dataset of a study; a subclass lists its configs.

    A config has `study`; `splits`; `provenance()`, the metadata known before the build; `announcement()`, one
    line about the build; and `production(place)`, see `e2e_jax.datasets.production`.

    Args:
      file_format: "array_record" (random access without TensorFlow; the default) or "tfrecord".
      executor: runs the jobs, for instance Dask's `Client.get_executor()`; by default the cluster of
        `E2E_DASK_SCHEDULER` if it is set, else all cores of this machine.
      **kwargs: `data_dir`, `config` and `version` as in every TFDS builder.
    """

    VERSION = VERSION
    CONFIGS: ClassVar[Sequence[Config]] = ()

    def __init__(
        self,
        *,
        file_format: str | None = None,
        executor: concurrent.futures.Executor | None = None,
        **kwargs,
    ):
        super().__init__(file_format=file_format, **kwargs)
        self._executor = executor
        self._made: dict[str, digests.OfColumns] = {}
        # `is_prepared` would log a warning about a dataset that does not exist yet.
        if file_format is None and not self.data_path.exists():
            self.info.set_file_format("array_record", override=True)

    @tfds.core.utils.classproperty
    @classmethod
    def builder_configs(cls) -> dict[str, tfds.core.BuilderConfig]:
        """All configs by name."""
        return {config.name: config for config in cls.CONFIGS}

    @property
    def study(self) -> Study:
        """The study of the config."""
        return self.builder_config.study

    def checked(self, events: Record) -> Record:
        """Validate the events of a job; a ValueError names the first bad event and its value."""
        view = {"view": self.builder_config.gun.view} if self.builder_config.gun else {}
        return events.validate(len(self.study.labels), **view)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.study.description or f"Events of the study {self.name}.",
            features=tfds.features.FeaturesDict(features_of(self.study, self.builder_config.gun)),
            homepage="https://arxiv.org/abs/1807.11916",
            metadata=tfds.core.MetadataDict(self.builder_config.provenance()),
        )

    def _create_builder_config(self, builder_config, version):
        # TFDS rejects a config that differs from the listed config of the same name, for example in the
        # folder of the user's files.
        if isinstance(builder_config, tfds.core.BuilderConfig):
            return builder_config
        return super()._create_builder_config(builder_config, version)

    def download_and_prepare(self, *, download_dir=None, download_config=None, **kwargs) -> None:
        """As in every TFDS builder; finished jobs are kept in `download_dir` until all are done."""
        root = pathlib.Path(download_dir or pathlib.Path(self.data_dir).parents[2] / "downloads")
        scratch = root / self.name / self.builder_config.name
        lists = download_config and download_config.manual_dir
        with self._alone(), _own_progress_bar(), contextlib.ExitStack() as stack:
            executor = self._executor or stack.enter_context(
                cluster.executor() or WorkerPool(available_cores())
            )
            self._place = Place(
                run=functools.partial(run_jobs, executor=executor),
                scratch=scratch,
                kept=root / "skims",
                lists=lists and pathlib.Path(lists),
                title=f"{self.name}/{self.builder_config.name}",
            )
            super().download_and_prepare(download_dir=download_dir, download_config=download_config, **kwargs)
            if self._made:
                preparation.note_written(pathlib.Path(self.data_dir))
            shutil.rmtree(scratch, ignore_errors=True)
            # Left by builds that were killed.
            for leftover in pathlib.Path(self.data_dir).parent.glob(f"incomplete.*_{self.version}"):
                shutil.rmtree(leftover, ignore_errors=True)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait until no other process builds this dataset. TFDS then uses the dataset of that process."""
        folder = pathlib.Path(self.data_dir)
        lock = folder.parents[2] / "downloads" / self.name / f"{self.builder_config.name}.lock"
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locks.locked(lock))
            except locks.LockedError as error:
                print(f"Waiting for {error.owner}, which builds this dataset: {folder}.", flush=True)
                stack.enter_context(locks.locked(lock, wait=True))
            if (folder / "dataset_info.json").exists():
                self.info.read_from_directory(folder)
            yield

    def _download_and_prepare(self, dl_manager, download_config, **kwargs) -> None:
        """Write the data files and add their digests to the metadata, which TFDS writes later."""
        self._made = {split: digests.OfColumns() for split in self.builder_config.splits}
        super()._download_and_prepare(dl_manager, download_config, **kwargs)
        fingerprints = {split: made.hexdigest() for split, made in self._made.items()}
        folder = pathlib.Path(self.data_dir)
        self.info.metadata.update(
            preparation.sealed_metadata(self.info.metadata, folder, self.name, fingerprints)
        )

    def _log_download_bytes(self) -> None:
        """Announce the build, where TFDS would announce a download of unknown size."""
        print(
            f"{self.builder_config.announcement()} for {self.info.full_name} in {self.data_dir}. "
            "An interrupted build continues where it stopped.",
            flush=True,
        )

    def _split_generators(self, dl_manager):
        production = self.builder_config.production(self._place)
        splits = self.builder_config.splits
        return {split: self._generate_examples(production, split, splits[-1]) for split in splits}

    def _generate_examples(self, production, split: str, last: str) -> Iterator[tuple[str, dict]]:
        for events in production.events(split):
            self._made[split].update(self.checked(events).parts())
            yield from zip(event_keys(events), events.examples())
        if split == last:
            self.info.metadata.update(production.metadata())
            production.write_tables(pathlib.Path(self.data_dir))


def features_of(study: Study, gun: Gun | None = None) -> dict:
    """The stored features of an event by name, in the order of the dataset.

    Args:
      study: the study of the events.
      gun: the gun, which defines how showers are stored; None for other events.
    """
    label = tfds.features.ClassLabel(names=study.labels)
    first = {"run": np.int64, "lumi": np.int64, "event": np.int64, "label": label}
    numbers = {
        observable.name: tfds.features.Scalar(np.float32, doc=observable.label)
        for observable in study.task.observables
    }
    if gun:
        particles = tfds.features.Tensor(
            shape=(2, 3), dtype=np.float32, doc="Generated (pt in GeV, eta, phi), 0 where there is none."
        )
        images = ShowerImages(view=gun.view, digis=gun.digis)
        return {**first, **numbers, "particles": particles, "detector": images}
    if study.events == "jets":
        return {**first, **numbers, "detector": JetImages()}
    lists = {name: tfds.features.Tensor(shape=(None,), dtype=dtype) for name, dtype in PHOTONS.items()}
    photons = tfds.features.FeaturesDict(lists, doc="pt in GeV, eta and phi, leading first.")
    return {**first, **numbers, "photons": photons, "detector": DetectorImages()}


@contextlib.contextmanager
def _own_progress_bar():
    """Disable the progress bars of TFDS: they have no totals and would overwrite ours."""
    tfds.disable_progress_bar()
    try:
        yield
    finally:
        tfds.enable_progress_bar()


def of(name: str, configs: Sequence[Config]) -> type[StudyBuilder]:
    """The builder of a dataset with this name and these configs."""
    contents = {"name": name, "CONFIGS": tuple(configs), "BUILDER_CONFIGS": [configs[0]]}
    return type("Builder", (StudyBuilder,), {**contents, "__module__": __name__}, skip_registration=True)
