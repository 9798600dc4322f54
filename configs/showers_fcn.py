"""Showers, FCN: electrons from photons by three fully connected layers on the ten samples of each crystal.

    python -m e2e_jax.main --config=configs/showers_fcn.py:medium
    python -m e2e_jax.main --config=configs/showers_fcn.py --config.inputs.channels='("energy",)'

Paper (Table 4, 249,000 showers per class of full simulation): AUC 0.770 on digis.
"""

from configs import showers_vgg


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = showers_vgg.get_config(size)
    config.name = "showers_fcn"
    config.inputs.channels = ("digis",)
    config.model.name = "shower_fcn"
    config.model.widths = (256, 256, 256)
    return config
