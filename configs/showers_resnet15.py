"""Showers, ResNet-15 on crops: electrons from photons by the energies of 32 x 32 crystals.

python -m e2e_jax.main --config=configs/showers_resnet15.py
"""

from e2e_jax.configs import default


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = default.get_config(size, "showers")
    config.name = "showers_resnet15"
    config.train.update(batch_size=50, epochs=10, learning_rate=2e-3, schedule="cosine")
    return config
