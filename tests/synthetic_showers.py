"""A small sample of showers in which the classes differ, made in memory, and the configs that train on it."""

import numpy as np

from e2e_jax.configs import showers_conv_lstm, showers_fcn, showers_pairs, showers_resnet, showers_vgg
from e2e_jax.detector import crops
from e2e_jax.events.base import Ragged
from e2e_jax.events.showers import Showers

PULSE = np.array([0, 0, 0, 0.2, 0.9, 1, 0.8, 0.6, 0.4, 0.3])
"""Of a crystal, about."""


def shower_sample(per_class=40, seed=0, view="crop", pairs=False):
    """A seed crystal with some neighbours, of electrons spread in phi; with times and digis."""
    rng = np.random.default_rng(seed)
    n, side = 2 * per_class, crops.SHAPES[view][1]
    label = np.arange(n) % 2
    middle = (15, 15) if view == "crop" else (60, 180)
    # A crystal and four of its row; an electron's further from it.
    step = np.where(label == 1, 2, 1)[:, None]
    columns = middle[1] + np.array([0, -1, 1, -2, 2])[None, :] * step
    energy = np.array([35, 5, 4, 2, 1])[None, :] * rng.uniform(0.8, 1.2, (n, 5))
    rows = np.full((n, 5), middle[0])
    if pairs:
        rows, columns = (np.concatenate([x, x + y], axis=1) for x, y in ((rows, 50), (columns, 100)))
        energy = np.concatenate([energy, energy[:, ::-1]], axis=1)
    cell = (rows * side + columns).ravel().astype(np.uint16)
    energy = energy.astype(np.float32)
    samples = crops.PEDESTAL + energy.reshape(-1, 1) / crops.GEV_PER_COUNT * PULSE[None, :]
    particles = np.zeros((n, 2, 3), np.float32)
    particles[:, : 1 + pairs, 0] = 50
    hits = np.full(n, energy.shape[1])
    return Showers(
        run=np.ones(n, np.int64),
        lumi=np.ones(n, np.int64),
        event=np.arange(n),
        label=label.astype(np.int32),
        particles=particles,
        crystals=Ragged.from_counts(
            hits,
            {
                "cell": cell,
                "energy": energy.ravel(),
                "time": rng.normal(0, 0.3, cell.size).astype(np.float32),
            },
        ),
        digis=Ragged.from_counts(hits, {"cell": cell, "samples": samples.astype(np.uint16)}),
    )


def vgg_config(**train):
    return _small(showers_vgg.get_config(), {"widths": (4, 4, 4), "head": (8,)}, train)


def conv_lstm_config(**train):
    return _small(showers_conv_lstm.get_config(), {"widths": (2, 2), "head": (8,)}, train)


def fcn_config(**train):
    return _small(showers_fcn.get_config(), {"widths": (8, 8, 8)}, train)


def resnet_config(**train):
    return _small(showers_resnet.get_config(), {"widths": (2, 4)}, train)


def pairs_config(**train):
    return _small(showers_pairs.get_config(), {"widths": (2, 4)}, train)


def _small(config, model, train):
    config.model.update(model)
    config.evaluate.update(batch_size=24, bootstrap=5)
    config.train.update({"batch_size": 8, "epochs": 2, "checkpoint_seconds": 0.0, **train})
    return config


CONFIGS = {
    "vgg": vgg_config,
    "conv_lstm": conv_lstm_config,
    "fcn": fcn_config,
    "resnet": resnet_config,
    "pairs": pairs_config,
}
