"""Writes showers of particle guns, simulated or read from the public crops, as a TFDS dataset.

    cd data_builders && tfds build ecal_showers                       # crops, the quick size
    cd data_builders && tfds build ecal_showers --config=barrel_medium
    cd data_builders && tfds build ecal_showers --config='{"name": "mine", "train": 500, "validation": 100}'
    cd data_builders && tfds build ecal_showers --config=crops_hdf5 --manual_dir=DIR

A build that is interrupted leaves no dataset, and the next one goes on where it stopped.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from e2e_jax.datasets.builder import HitsBuilder
from e2e_jax.datasets.shower_features import ShowerImages
from e2e_jax.events.showers import CLASSES, Showers

from .configs import CONFIGS, FilesConfig, GunConfig

__all__ = ["CONFIGS", "Builder", "FilesConfig", "GunConfig"]


class Builder(HitsBuilder):
    """Showers with their crystals."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "Particle guns in the fast simulation, and the public crops."}
    CONFIGS: ClassVar = CONFIGS
    # A bare `tfds build ecal_showers` builds every config listed here.
    BUILDER_CONFIGS: ClassVar = [CONFIGS[0]]

    def checked(self, events: Showers) -> Showers:
        """The events of a task, or a ValueError that names the first bad one and its value."""
        return events.validate(self.builder_config.view)

    def features(self) -> dict:
        """What is stored of an event, name -> feature."""
        return {
            "run": np.int64,
            "lumi": np.int64,
            "event": np.int64,
            "label": tfds.features.ClassLabel(names=CLASSES),
            "particles": tfds.features.Tensor(
                shape=(2, 3), dtype=np.float32, doc="Generated (pt in GeV, eta, phi), 0 where there is none."
            ),
            "detector": ShowerImages(view=self.builder_config.view, digis=self.builder_config.digis),
        }
