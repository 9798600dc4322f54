"""EB: ResNet-15 on the energies of the ECAL barrel alone, decorrelated from the mass.

    python -m e2e_jax.main --config=configs/eb.py:medium

Paper (Table 6, 51,200 events per class): H vs rest 0.801, gamma gamma vs rest 0.828, gamma+jet vs rest 0.942,
H vs gamma gamma 0.723, H vs gamma+jet 0.937, CVM 0.002.
"""

from configs import default


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = default.get_config(size)
    config.name = "eb"
    config.inputs.channels = ("ecal",)
    return config
