"""Writes diphoton events, simulated or read from the CMS Open Data, as a TFDS dataset.

    cd data_builders && tfds build cms_hgg                    # the quick size
    cd data_builders && tfds build cms_hgg --config=medium
    cd data_builders && tfds build cms_hgg --config='{"name": "mine", "train": 500, "validation": 100}'
    cd data_builders && tfds build cms_hgg --config=opendata_central

A build that is interrupted leaves no dataset, and the next one goes on where it stopped.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from e2e_jax.datasets.builder import HitsBuilder
from e2e_jax.datasets.features import DetectorImages
from e2e_jax.events.diphotons import CLASSES

from .configs import CONFIGS, HggConfig, OpenDataConfig

__all__ = ["CONFIGS", "Builder", "HggConfig", "OpenDataConfig"]


class Builder(HitsBuilder):
    """Diphoton events with their hits."""

    VERSION = tfds.core.Version("2.0.0")
    RELEASE_NOTES: ClassVar = {
        "2.0.0": "Pythia's tune is CUETP8S1-CTEQ6L1: the parton distributions of the CMS samples.",
        "1.0.0": "Fast simulation, central and central+forward, with Pythia's Monash tune.",
    }
    CONFIGS: ClassVar = CONFIGS
    # A bare `tfds build cms_hgg` builds every config listed here, and the paper's takes hours.
    BUILDER_CONFIGS: ClassVar = [CONFIGS[0]]

    def features(self) -> dict:
        """What is stored of an event, name -> feature."""
        return {
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
