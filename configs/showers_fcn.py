"""Showers, FCN: electrons from photons by three fully connected layers on the ten samples of each crystal.

    python -m e2e_jax.main --config=configs/showers_fcn.py:medium
    python -m e2e_jax.main --config=configs/showers_fcn.py --config.inputs.channels='("energy",)'

Medium (20,000 showers per class, fast simulation): AUC 0.754 +- 0.005, the fourth epoch of nine the best, in
9 minutes on two AMD Zen 4 cores shared with other work; it then memorizes the sample. It rejects 0.832,
0.671, 0.373 of the photons at 50, 70, 90 % of the electrons.

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
