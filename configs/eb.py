"""EB: ResNet-15 on the energies of the ECAL barrel alone, decorrelated from the mass.

    python -m e2e_jax.main --config=configs/eb.py:medium

Medium, fast simulation (dataset 1.0.0), 5 epochs in 25 minutes on two AMD Zen 4 cores, shared with other work
(157 to 167 events/s), beside the paper's Table 6 (51,200 events per class); H against one class
is pair-normalised:

                          medium            paper
    H vs rest             0.817 +- 0.004    0.801
    gamma gamma vs rest   0.844 +- 0.004    0.828
    gamma+jet vs rest     0.944 +- 0.003    0.942
    H vs gamma gamma      0.750 +- 0.006    0.723
    H vs gamma+jet        0.940 +- 0.003    0.937
    CVM                   0.0007 +- 0.0002  0.002

The 4-momentum classifier reaches 0.777 for H vs gamma+jet on the same sample. With 3 epochs EB reaches 0.930,
and with a batch of 96 in place of 36, 4 epochs, 0.925: steps count.
"""

from configs import default


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = default.get_config(size)
    config.name = "eb"
    config.inputs.channels = ("ecal",)
    return config
