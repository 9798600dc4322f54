"""CMS-I: three ResNet-15 on tracks, ECAL and HCAL over the crystals of the ECAL barrel and of its endcaps.

    python -m e2e_jax.main --config=configs/cms_i.py:medium

Decorrelated from the mass; the events are those of the category central+forward. Each image has its own
network, and a fully connected head joins their features (`models.concatenated`).

Paper (Table 7, central+forward, 120,000 events per class): H vs rest 0.833, gamma gamma vs rest 0.849,
gamma+jet vs rest 0.954, H vs gamma gamma 0.767, H vs gamma+jet 0.954, CVM 0.004.
"""

from configs import default


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = default.get_config(size, "central_forward")
    config.name = "cms_i"
    config.inputs.geometry = "ecal_centric"
    return config
