"""CMS-B binary: H against everything else, gamma gamma and gamma+jet in one class.

    python -m e2e_jax.main --config=configs/cms_b_binary.py

What CMS-B sees, with two outputs. Half of a batch is H, the other half drawn from both backgrounds; the score
is decorrelated from the mass on the gamma gamma events, and the results tell H from each background as well.
The paper has no such classifier.
"""

from e2e_jax.configs import cms_b


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = cms_b.get_config(size)
    config.name = "cms_b_binary"
    config.task.classes = ("background=gamma_gamma+gamma_jet", "h")
    return config
