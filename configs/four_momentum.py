"""4-mom: three hidden layers on the photons' kinematics, the reference that sees no detector.

    python -m e2e_jax.main --config=configs/four_momentum.py:medium

Paper (Table 6, 51,200 events per class): H vs rest 0.708, gamma gamma vs rest 0.807, gamma+jet vs rest 0.803,
H vs gamma gamma 0.767, H vs gamma+jet 0.773, CVM 0.002.
"""

from configs import default


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = default.get_config(size)
    config.name = "four_momentum"
    config.inputs.kind = "kinematics"
    config.model.name = "four_momentum"
    config.model.widths = (256, 256, 256)
    return config
