"""Writes diphoton events, simulated or read from the CMS Open Data, as a TFDS dataset.

    cd data_builders && tfds build cms_hgg                    # the quick size
    cd data_builders && tfds build cms_hgg --config=medium    # or: tfds build cms_hgg/medium
    cd data_builders && tfds build cms_hgg --config='{"name": "mine", "train": 500, "validation": 100}'
    cd data_builders && tfds build cms_hgg/opendata_central

A build that is interrupted leaves no dataset, and the next one goes on where it stopped.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import pathlib
import shutil
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from e2e_jax.features import DetectorImages
from e2e_jax.sources import cluster
from e2e_jax.sources.events import CLASSES
from e2e_jax.sources.tasks import SPLITS, event_keys, run_tasks
from e2e_jax.sources.workers import WorkerPool, available_cores

from .configs import CONFIGS, HggConfig, OpenDataConfig, Place

__all__ = ["CONFIGS", "Builder", "HggConfig", "OpenDataConfig"]


class Builder(tfds.core.GeneratorBasedBuilder):
    """Diphoton events with their hits.

    Args:
      file_format: "array_record" (read at random without TensorFlow; the default) or "tfrecord".
      executor: where the events are made or read, for instance Dask's `Client.get_executor()`; by default
        the cluster that `E2E_DASK_SCHEDULER` names, or else all cores of this machine.
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
            metadata=tfds.core.MetadataDict(self.builder_config.provenance()),
        )

    def _create_builder_config(self, builder_config, version):
        # TFDS would not take a config that differs from its namesake in this list, such as one with
        # the folder of the user's own files filled in.
        if isinstance(builder_config, tfds.core.BuilderConfig):
            return builder_config
        return super()._create_builder_config(builder_config, version)

    def download_and_prepare(self, *, download_dir=None, download_config=None, **kwargs) -> None:
        """As in every TFDS builder; finished tasks are kept in `download_dir` until all are done."""
        root = pathlib.Path(download_dir or pathlib.Path(self.data_dir).parents[2] / "downloads")
        scratch = root / self.name / self.builder_config.name
        lists = download_config and download_config.manual_dir
        with _own_progress_bar(), contextlib.ExitStack() as stack:
            executor = self._executor or stack.enter_context(
                cluster.executor() or WorkerPool(available_cores())
            )
            self._place = Place(
                run=functools.partial(run_tasks, executor=executor),
                scratch=scratch,
                kept=root / "skims",
                lists=lists and pathlib.Path(lists),
                title=f"{self.name}/{self.builder_config.name}",
            )
            super().download_and_prepare(download_dir=download_dir, download_config=download_config, **kwargs)
        shutil.rmtree(scratch, ignore_errors=True)
        # What builds that were killed could not tidy up themselves.
        for leftover in pathlib.Path(self.data_dir).parent.glob(f"incomplete.*_{self.version}"):
            shutil.rmtree(leftover, ignore_errors=True)

    def _log_download_bytes(self) -> None:
        """Says what is about to happen, where TFDS would announce a download of unknown size."""
        print(
            f"{self.builder_config.announcement()} for {self.info.full_name} in {self.data_dir}. "
            "An interrupted build goes on where it stopped.",
            flush=True,
        )

    def _split_generators(self, dl_manager):
        production = self.builder_config.production(self._place)
        return {split: self._generate_examples(production, split) for split in SPLITS}

    def _generate_examples(self, production, split: str) -> Iterator[tuple[str, dict]]:
        for events in production.events(split):
            yield from zip(event_keys(events.validate()), events.examples())
        if split == SPLITS[-1]:
            self.info.metadata.update(production.metadata())
            production.write_tables(pathlib.Path(self.data_dir))


@contextlib.contextmanager
def _own_progress_bar():
    """TFDS's bars know no totals and would overwrite ours."""
    tfds.disable_progress_bar()
    try:
        yield
    finally:
        tfds.enable_progress_bar()
