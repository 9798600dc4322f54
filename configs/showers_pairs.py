"""Showers, pairs: e+ e- from gamma gamma by the ResNet-15 on the energies of the whole ECAL barrel.

    python -m e2e_jax.main --config=configs/showers_pairs.py:medium

The two particles of an event have nothing to do with each other. Medium (20,000 pairs per class, fast
simulation): AUC 0.776 +- 0.005 after 5 epochs in 21 minutes on two AMD Zen 4 cores shared with other work,
single ones 0.651 with the same training (showers_resnet.py); both still rose. Paper (Table 5, full
simulation): 0.997.

That cannot come from the shapes of independent showers: two of those that the VGG judges (AUC 0.808), their
logits added, are told at 0.895. Of two equal normal distributions a single AUC A gives a pair's
Phi(sqrt(2) Phi^-1(A)): 0.891 of 0.808, 0.871 of the paper's 0.788; 0.95 needs single showers at 0.878. The
network cannot compare the two showers either: one of its last pixels sees 177 crystals, half of the barrel.
"""

from e2e_jax.configs import showers_resnet


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = showers_resnet.get_config(size)
    config.name = "showers_pairs"
    config.dataset.name = f"ecal_showers/pairs_{size}"
    return config
