"""CMS-I: three ResNet-15 on tracks, ECAL and HCAL over the crystals of the ECAL barrel and of its endcaps.

    python -m e2e_jax.main --config=configs/cms_i.py:medium

Decorrelated from the mass; uses the events of the category central+forward. Each image has its own network,
and a fully connected head joins their features (`models.concatenated`).

Quick, fast simulation (dataset 1.0.0), 8 epochs in 11 minutes, including the dataset, on two AMD Zen 4 cores
shared with other work. The paper's column is Table 7 (120,000 events per class). H against one class is
pair-normalized:

                          quick             paper
    H vs rest             0.791 +- 0.010    0.833
    gamma gamma vs rest   0.802 +- 0.009    0.849
    gamma+jet vs rest     0.917 +- 0.007    0.954
    H vs gamma gamma      0.704 +- 0.014    0.767
    H vs gamma+jet        0.920 +- 0.008    0.954
    CVM                   0.0014 +- 0.0007  0.004
"""

from e2e_jax.configs import default


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = default.get_config(size, "central_forward")
    config.name = "cms_i"
    config.inputs.geometry = "ecal_centric"
    return config
