"""EB mass-aware: the EB classifier without decorrelation from the mass, for comparison.

    python -m e2e_jax.main --config=configs/eb_mass_aware.py:medium

Paper (Table 6, 51,200 events per class): H vs rest 0.926, gamma gamma vs rest 0.923, gamma+jet vs rest 0.954,
H vs gamma gamma 0.910, H vs gamma+jet 0.968, CVM 0.080.

With the penalty switched on (--config.decorrelation.strength): quick size, fast simulation (dataset 1.0.0),
--config.train.epochs=4, two AMD Zen 4 cores, batch 36, groups of 6, reduction "sum"; the epoch with the best
H vs rest:

    strength    CVM                 H vs rest
    0           0.0235 +- 0.0030    0.660 +- 0.013
    0.15        0.0205 +- 0.0030    0.629 +- 0.014
    1.5         0.0031 +- 0.0010    0.535 +- 0.015

In so few steps the network learns little beyond the mass. A strength of 1.5 at batch 36 has the same balance
with the cross-entropy as 0.15 at the paper's batch of 360 (see `decorrelation.reduction` in default.py).
"""

from e2e_jax.configs import eb


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = eb.get_config(size)
    config.name = "eb_mass_aware"
    config.inputs.normalization = "none"
    # 50 / 125 GeV: an event at the H mass has inputs of the same size as in EB.
    config.inputs.scale = {"tracks": 0.4, "ecal": 0.4, "hcal": 0.4}
    config.decorrelation.strength = 0.0
    config.cvm.limit = 1.0
    return config
