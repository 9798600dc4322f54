"""CMS-B binary: H against everything else, gamma gamma and gamma+jet in one class.

    python -m e2e_jax.main --config=configs/cms_b_binary.py

The inputs are those of CMS-B; the network has two outputs. Half of each batch is H, the other half is drawn
from both backgrounds. The score is decorrelated from the mass on the gamma gamma events. The results also
compare H with each background. The paper has no such classifier.
"""

from e2e_jax.configs import cms_b


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = cms_b.get_config(size)
    config.name = "cms_b_binary"
    config.task.classes = ("background=gamma_gamma+gamma_jet", "h")
    return config
