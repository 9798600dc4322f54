"""Showers, pairs: e+ e- from gamma gamma by the ResNet-15 on the energies of the whole ECAL barrel.

    python -m e2e_jax.main --config=configs/showers_pairs.py:medium

The two particles of an event have nothing to do with each other. Paper (Table 5, full simulation): AUC 0.997.
"""

from configs import showers_resnet


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = showers_resnet.get_config(size)
    config.name = "showers_pairs"
    config.dataset.name = f"ecal_showers/pairs_{size}"
    return config
