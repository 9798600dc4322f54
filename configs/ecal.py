"""ECAL: three ResNet-15 on the energies of the ECAL barrel and endcaps, joined by a head; mass-decorrelated.

    python -m e2e_jax.main --config=configs/ecal.py:medium

Paper (Table 7, central+forward, 120,000 events per class): H vs rest 0.810, gamma gamma vs rest 0.833,
gamma+jet vs rest 0.939, H vs gamma gamma 0.751, H vs gamma+jet 0.936, CVM 0.004.
"""

from configs import cms_i


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = cms_i.get_config(size)
    config.name = "ecal"
    config.inputs.channels = ("ecal",)
    return config
