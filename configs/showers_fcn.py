"""Showers, FCN: electrons against photons with three fully connected layers on the ten samples per crystal.

    python -m e2e_jax.main --config=configs/showers_fcn.py:medium
    python -m e2e_jax.main --config=configs/showers_fcn.py --config.inputs.channels='("energy",)'

Medium (20,000 showers per class, fast simulation): AUC 0.754 +- 0.005 in 9 minutes on two AMD Zen 4 cores
shared with other work. The fourth of nine epochs is the best; later epochs memorize the sample. At electron
efficiencies of 50, 70 and 90 % it rejects 0.832, 0.671 and 0.373 of the photons.

Paper (Table 4, 249,000 showers per class of full simulation): 0.770 on digis.
"""

from e2e_jax.configs import showers_vgg


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = showers_vgg.get_config(size)
    config.name = "showers_fcn"
    config.inputs.channels = ("digis",)
    config.model.name = "shower_fcn"
    config.model.widths = (256, 256, 256)
    return config
