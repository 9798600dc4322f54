"""Showers, VGG: electrons against photons with a VGG-type network on the energies of 32 x 32 crystals.

    python -m e2e_jax.main --config=configs/showers_vgg.py:medium
    python -m e2e_jax.main --config=configs/showers_vgg.py --config.inputs.channels='("energy", "time")'

Medium (20,000 showers per class, fast simulation): AUC 0.808 +- 0.005 after 10 epochs in 9 minutes on two AMD
Zen 4 cores shared with other work (620 to 1,120 events/s). At electron efficiencies of 50, 70 and 90 % it
rejects 0.898, 0.764 and 0.468 (+- 0.006, 0.010, 0.015) of the photons.

Paper (Table 4, 249,000 showers per class of full simulation): 0.807.
"""

from e2e_jax.configs import default


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = default.get_config(size, "showers")
    config.name = "showers_vgg"
    config.model.name = "shower_vgg"
    config.model.widths = (16, 32, 64)
    config.model.head = (128,)
    config.train.update(batch_size=50, epochs=10, learning_rate=1e-3, schedule="cosine")
    return config
