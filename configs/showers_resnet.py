"""Showers, ResNet: electrons from photons by the ResNet-15 on the energies of the whole ECAL barrel.

    python -m e2e_jax.main --config=configs/showers_resnet.py:medium

Paper (Table 5, full simulation): AUC 0.788.
"""

from configs import default


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = default.get_config(size, "showers")
    config.name = "showers_resnet"
    config.dataset.name = f"ecal_showers/barrel_{size}"
    config.inputs.geometry = "barrel"
    return config
