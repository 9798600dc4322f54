"""EB: ResNet-15 on the energies of the ECAL barrel alone, decorrelated from the mass.

    python -m e2e_jax.main --config=configs/eb.py:medium

Medium, fast simulation, 4 epochs in 44 minutes on two AMD Zen 4 cores, partly shared with other work (62 to
76 events/s), beside the paper's Table 6 (51,200 events per class); H against one class is pair-normalised:

                          medium            paper
    H vs rest             0.804 +- 0.004    0.801
    gamma gamma vs rest   0.835 +- 0.004    0.828
    gamma+jet vs rest     0.931 +- 0.003    0.942
    H vs gamma gamma      0.742 +- 0.006    0.723
    H vs gamma+jet        0.925 +- 0.004    0.937
    CVM                   0.0005 +- 0.0002  0.002

The 4-momentum classifier reaches 0.775 for H vs gamma+jet on the same sample. Training and validation losses
still fell together at the end: the number of steps holds it, not the sample.
"""

from configs import default


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = default.get_config(size)
    config.name = "eb"
    config.inputs.channels = ("ecal",)
    return config
