"""ECAL mass-aware: the ECAL classifier left to see the mass, which shows what decorrelation is for.

    python -m e2e_jax.main --config=configs/ecal_mass_aware.py:medium

Paper (Table 7, central+forward, 120,000 events per class): H vs rest 0.933, gamma gamma vs rest 0.921,
gamma+jet vs rest 0.955, H vs gamma gamma 0.918, H vs gamma+jet 0.972, CVM 0.088.
"""

from configs import ecal


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = ecal.get_config(size)
    config.name = "ecal_mass_aware"
    config.inputs.normalisation = "none"
    # 50 / 125 GeV: the inputs of an event at the H mass are as large as ECAL's.
    config.inputs.scale = {"tracks": 0.4, "ecal": 0.4, "hcal": 0.4}
    config.cvm.strength = 0.0
    config.cvm.limit = 1.0
    return config
