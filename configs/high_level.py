"""High-level: three hidden layers on kinematics, shower shapes and isolation, the traditional approach.

    python -m e2e_jax.main --config=configs/high_level.py:medium
    python -m e2e_jax.main --config=configs/high_level.py:forward_medium    # the category central+forward

Medium, central, fast simulation, 11 epochs in 3 minutes on two AMD Zen 4 cores shared with other work (3,300
to 6,200 events/s; every step computes the shapes from the hits). The sixth epoch is the best. The other
columns are 4-momenta and images of the ECAL barrel on the same events (configs/four_momentum.py and eb.py).
H against one class is pair-normalized. The paper has no such classifier.

                          high-level        4-momenta         EB
    H vs rest             0.850 +- 0.004    0.729 +- 0.006    0.806 +- 0.005
    gamma gamma vs rest   0.866 +- 0.004    0.819 +- 0.005    0.839 +- 0.004
    gamma+jet vs rest     0.961 +- 0.003    0.811 +- 0.005    0.939 +- 0.003
    H vs gamma gamma      0.776 +- 0.006    0.787 +- 0.006    0.738 +- 0.006
    H vs gamma+jet        0.960 +- 0.003    0.783 +- 0.006    0.932 +- 0.004
    CVM                   0.0018 +- 0.0004  0.0010 +- 0.0003  0.0008 +- 0.0003

Unlike EB, it also uses the HCAL and the tracks around the photons, and its features are designed by hand.
"""

from e2e_jax.configs import four_momentum


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"; "forward_quick" etc. for central+forward."""
    config = four_momentum.get_config(size)
    config.name = "high_level"
    config.inputs.kind = "high_level"
    config.model.name = "high_level"
    return config
