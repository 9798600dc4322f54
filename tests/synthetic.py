"""A small sample of events in which the classes differ, made in memory, and the configs that train on it."""

import functools

import numpy as np

from e2e_jax.configs import default, four_momentum, high_level, whole_event
from e2e_jax.events.base import Ragged
from e2e_jax.events.diphotons import CELLS, COLLECTIONS, Events, cell_exists, from_leading
from e2e_jax.studies.hgg import LABELS

CONSTANT = {"learning_rate": 5e-4, "schedule": "constant"}


@functools.cache
def existing_cells(collection):
    """The cells of a collection that name a crystal or tower."""
    return np.flatnonzero(cell_exists(collection, np.arange(CELLS[collection])))


def sample(per_class=40, seed=0, hits=12):
    """Events with two photons and a few hits; the photons of each class have their own shape."""
    rng = np.random.default_rng(seed)
    n = per_class * len(LABELS)
    label = np.arange(n) % len(LABELS)
    photons = np.stack(
        [
            rng.uniform(20, 60, (n, 2)),
            rng.normal(0, 0.3 + 0.3 * label[:, None], (n, 2)),
            rng.uniform(-3, 3, (n, 2)),
        ],
        axis=-1,
    )
    ragged = {}
    for name, columns in COLLECTIONS.items():
        counts = rng.integers(1, hits, n)
        flat = {
            column: existing_cells(name)[rng.integers(0, 4000, counts.sum())]
            if column == "cell"
            else rng.uniform(0.1, 5, counts.sum())
            for column in columns
        }
        flat = {column: flat[column].astype(dtype) for column, dtype in columns.items()}
        ragged[name] = Ragged.from_counts(counts, flat)
    return Events(
        run=np.ones(n, np.int64),
        lumi=np.ones(n, np.int64),
        event=np.arange(n),
        label=label.astype(np.int32),
        photons=from_leading(photons),
        observables={"mass": rng.uniform(90, 180, n).astype(np.float32)},
        **ragged,
    )


def kinematics_config(**train):
    """A tiny 4-momentum classifier for `sample`."""
    return _small(four_momentum.get_config(), (8,), train)


def high_level_config(**train):
    """A tiny classifier on shower shapes and isolation for `sample`."""
    return _small(high_level.get_config(), (8,), train)


def image_config(**train):
    """A tiny ResNet-15 on two channels for `sample`."""
    config = default.get_config()
    config.inputs.channels = ("tracks", "ecal")
    return _small(config, (2, 4), train)


def token_config(**train):
    """A tiny event transformer for `sample`."""
    config = whole_event.get_config()
    config.inputs.tokens.update({"ecal": 4, "tracks": 2, "hcal": 2})
    config.model.head = (8,)
    return _small(config, (8, 4), train)


def dropout_config(**train):
    """A tiny network of three ResNet-15 and a head with dropout for `sample`."""
    config = image_config(**train)
    config.inputs.geometry, config.inputs.channels = "ecal_centric", ("ecal",)
    config.model.update(head=(8, 8), dropout=0.5, widths=(1, 2))
    return config


def binary_config(**train):
    """A tiny 4-momentum classifier of H against everything else for `sample`."""
    config = kinematics_config(**train)
    config.task.classes = ("background=gamma_gamma+gamma_jet", "h")
    return config


def _small(config, widths, train):
    config.model.widths = widths
    config.cvm.update(window=10, step=5)
    config.decorrelation.update(neighbors=2, reduction="mean")
    config.evaluate.update(batch_size=24, bootstrap=5)
    config.train.update({"batch_size": 12, "epochs": 3, "checkpoint_seconds": 0.0, **CONSTANT, **train})
    return config


CONFIGS = {
    "kinematics": kinematics_config,
    "high_level": high_level_config,
    "image": lambda **train: image_config(schedule="cosine", **train),
}
