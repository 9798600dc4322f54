"""4-mom: three hidden layers on the photons' kinematics, the reference without detector inputs.

    python -m e2e_jax.main --config=configs/four_momentum.py:medium
    python -m e2e_jax.main --config=configs/four_momentum.py:forward_medium    # the category central+forward

Medium, fast simulation, 15 epochs in 2 to 3 minutes on two AMD Zen 4 cores shared with other work. The
paper's columns are Tables 6 and 7 (51,200 and 120,000 events per class). H against one class is
pair-normalized:

                          medium            paper    forward_medium    paper
    H vs rest             0.729 +- 0.006    0.708    0.739 +- 0.006    0.727
    gamma gamma vs rest   0.819 +- 0.005    0.807    0.827 +- 0.004    0.812
    gamma+jet vs rest     0.811 +- 0.005    0.803    0.823 +- 0.005    0.810
    H vs gamma gamma      0.787 +- 0.006    0.767    0.795 +- 0.006    0.779
    H vs gamma+jet        0.783 +- 0.006    0.773    0.799 +- 0.006    0.788
    CVM                   0.0010 +- 0.0003  0.002    0.0032 +- 0.0006  0.004

With Pythia's Monash tune (dataset 1.0.0) H vs gamma gamma was 0.794 and 0.811; on 15,600 additional
central+forward events of each class it was 0.809 +- 0.002.
"""

from e2e_jax.configs import default

FORWARD = "forward_"


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"; "forward_quick" etc. for central+forward."""
    forward = size.startswith(FORWARD)
    config = default.get_config(size.removeprefix(FORWARD), "central_forward" if forward else "central")
    # The full size, so that each category has its own run folder.
    config.size = size
    config.name = "four_momentum"
    config.inputs.kind = "kinematics"
    config.model.name = "four_momentum"
    config.model.widths = (256, 256, 256)
    # A step of this network is cheap.
    config.train.epochs *= 3
    return config
