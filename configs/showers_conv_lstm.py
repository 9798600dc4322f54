"""Showers, Conv-LSTM: electrons against photons with a convolutional LSTM on the ten samples per crystal.

    python -m e2e_jax.main --config=configs/showers_conv_lstm.py:medium

Medium (20,000 showers per class, fast simulation), --config.train.epochs=5: AUC 0.771 +- 0.005 in 14 minutes
on two AMD Zen 4 cores shared with other work (204 to 415 events/s), still rising. The FCN reaches 0.754 on
the same digis, the VGG 0.808 on energies.

Paper (Table 4, 249,000 showers per class of full simulation): 0.799.
"""

from e2e_jax.configs import showers_vgg


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = showers_vgg.get_config(size)
    config.name = "showers_conv_lstm"
    config.inputs.channels = ("digis",)
    config.model.name = "shower_conv_lstm"
    config.model.widths = (4, 8)
    # A step takes twice as long as the VGG's.
    config.train.epochs = 7
    return config
