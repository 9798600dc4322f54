r"""Tops, ResNet: boosted top quarks against other jets, ResNet-15 on 8 channels of 125 x 125 crystals.

    python -m e2e_jax.main --config=configs/tops_resnet.py --files=DIR

DIR holds the public Parquet or HDF5 files (arXiv:2104.14659, whose AUC is 0.9824 +- 0.0013), see
docs/howto/public_files.md. The package has no simulation of this sample, and no result of its own, because
the files were not available. The study examples/tops.py simulates top pairs and multijets on the whole
detector:

    python -m e2e_jax.main --config=configs/cms_ii.py --config.dataset.name=examples/tops.py:quick \
        --config.inputs.normalization=sum_et

It reached an AUC of 0.828 +- 0.021 (600 events per label, see docs/howto/study.md).
"""

from ml_collections import config_dict

from e2e_jax.configs import default

CHANNELS = ("tracks", "d0", "dz", "ecal", "hcal", "pixel_1", "pixel_2", "pixel_3")


def get_config(size="medium"):
    """The config at a size: "quick", "medium" or "paper". The size changes the training, not the sample."""
    config = default.get_config(size, "jets")
    config.name = "tops_resnet"
    config.dataset.name = "cms_jets/tops"
    config.published = "tops"
    config.inputs.channels = CHANNELS
    # Impact parameters have signs.
    least = {name: -1e9 if name in ("d0", "dz") else 1e-3 for name in CHANNELS}
    config.inputs.threshold = config_dict.ConfigDict(least)
    config.inputs.scale = config_dict.ConfigDict(dict.fromkeys(CHANNELS, 0.5))
    return config
