"""ECAL: three ResNet-15 on the energies of the ECAL barrel and endcaps, joined by a head; mass-decorrelated.

    python -m e2e_jax.main --config=configs/ecal.py:medium

Quick, fast simulation (dataset 1.0.0), 8 epochs in 8 minutes on two AMD Zen 4 cores shared with other work.
6,000 events are too few for this network. The paper's column is Table 7 (120,000 events per class). H against
one class is pair-normalized:

                          quick             paper
    H vs rest             0.647 +- 0.013    0.810
    gamma gamma vs rest   0.720 +- 0.012    0.833
    gamma+jet vs rest     0.717 +- 0.012    0.939
    H vs gamma gamma      0.698 +- 0.014    0.751
    H vs gamma+jet        0.708 +- 0.015    0.936
    CVM                   0.0007 +- 0.0005  0.004
"""

from e2e_jax.configs import cms_i


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = cms_i.get_config(size)
    config.name = "ecal"
    config.inputs.channels = ("ecal",)
    return config
