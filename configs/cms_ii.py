"""CMS-II: ResNet-15 on tracks, ECAL and HCAL over the whole detector, on the grid of the HCAL's towers.

    python -m e2e_jax.main --config=configs/cms_ii.py:medium

Decorrelated from the mass; uses the events of the category central+forward.

Quick, fast simulation (dataset 1.0.0), 8 epochs in 11 minutes on two AMD Zen 4 cores shared with other work.
The paper's column is Table 7 (120,000 events per class). H against one class is pair-normalized:

                          quick             paper
    H vs rest             0.802 +- 0.010    0.813
    gamma gamma vs rest   0.806 +- 0.009    0.829
    gamma+jet vs rest     0.934 +- 0.007    0.956
    H vs gamma gamma      0.712 +- 0.015    0.728
    H vs gamma+jet        0.936 +- 0.007    0.953
    CVM                   0.0013 +- 0.0008  0.003
"""

from e2e_jax.configs import default


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = default.get_config(size, "central_forward")
    config.name = "cms_ii"
    config.inputs.geometry = "hcal_centric"
    return config
