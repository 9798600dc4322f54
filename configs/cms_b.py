"""CMS-B: ResNet-15 on tracks, ECAL and HCAL over the ECAL barrel, decorrelated from the mass.

    python -m e2e_jax.main --config=configs/cms_b.py            # quick
    python -m e2e_jax.main --config=configs/cms_b.py:paper

Paper (Table 6, 51,200 events per class): H vs rest 0.813, gamma gamma vs rest 0.838, gamma+jet vs rest 0.959,
H vs gamma gamma 0.722, H vs gamma+jet 0.956, CVM 0.002.
"""

from configs import default


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = default.get_config(size)
    config.name = "cms_b"
    return config
