"""Showers, ResNet: electrons against photons with the ResNet-15 on the energies of the whole ECAL barrel.

    python -m e2e_jax.main --config=configs/showers_resnet.py:medium

Medium (20,000 showers per class of 20 to 100 GeV, fast simulation): AUC 0.651 +- 0.006 after 5 epochs in 18
minutes on two AMD Zen 4 cores shared with other work (162 to 240 events/s), and still rising. Paper (Table 5,
full simulation): 0.788.
"""

from e2e_jax.configs import default


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = default.get_config(size, "showers")
    config.name = "showers_resnet"
    config.dataset.name = f"ecal_showers/barrel_{size}"
    config.published = "table_5"
    config.inputs.geometry = "barrel"
    return config
