"""CMS-II: ResNet-15 on tracks, ECAL and HCAL over the whole detector, on the grid of the HCAL's towers.

    python -m e2e_jax.main --config=configs/cms_ii.py:medium

Decorrelated from the mass; the events are those of the category central+forward.

Paper (Table 7, central+forward, 120,000 events per class): H vs rest 0.813, gamma gamma vs rest 0.829,
gamma+jet vs rest 0.956, H vs gamma gamma 0.728, H vs gamma+jet 0.953, CVM 0.003.
"""

from configs import default


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = default.get_config(size, "central_forward")
    config.name = "cms_ii"
    config.inputs.geometry = "hcal_centric"
    return config
