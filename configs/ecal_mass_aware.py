"""ECAL mass-aware: the ECAL classifier without decorrelation from the mass, for comparison.

    python -m e2e_jax.main --config=configs/ecal_mass_aware.py:medium

Paper (Table 7, central+forward, 120,000 events per class): H vs rest 0.933, gamma gamma vs rest 0.921,
gamma+jet vs rest 0.955, H vs gamma gamma 0.918, H vs gamma+jet 0.972, CVM 0.088.

Quick, fast simulation (dataset version 1.0.0), 8 epochs in 15 minutes on two AMD Zen 4 cores shared with much
other work: H, gamma gamma and gamma+jet vs rest 0.662, 0.658, 0.693 (+- 0.014), CVM 0.0051 +- 0.0018. As for
ECAL, 6,000 events are too few for this network.
"""

from e2e_jax.configs import ecal


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = ecal.get_config(size)
    config.name = "ecal_mass_aware"
    config.inputs.normalization = "none"
    # 50 / 125 GeV: an event at the H mass has inputs of the same size as in ECAL.
    config.inputs.scale = {"tracks": 0.4, "ecal": 0.4, "hcal": 0.4}
    config.decorrelation.strength = 0.0
    config.cvm.limit = 1.0
    return config
