"""High-level: three hidden layers on kinematics, shower shapes and isolation, the traditional road.

    python -m e2e_jax.main --config=configs/high_level.py:medium
    python -m e2e_jax.main --config=configs/high_level.py:forward_medium    # the category central+forward

Medium, central, fast simulation (dataset 1.0.0), 11 epochs in under 5 minutes on two AMD Zen 4 cores shared
with other work (about 2,100 events/s, the shapes computed from the hits in every step), the sixth epoch the
best; beside the other two roads on the same events, the 4-momenta and the image of the ECAL barrel
(configs/four_momentum.py and eb.py). H against one class is pair-normalised. The paper has no such
classifier.

                          high-level        4-momenta         EB
    H vs rest             0.852 +- 0.004    0.726 +- 0.006    0.817 +- 0.004
    gamma gamma vs rest   0.868 +- 0.004    0.824 +- 0.004    0.844 +- 0.004
    gamma+jet vs rest     0.957 +- 0.002    0.808 +- 0.005    0.944 +- 0.003
    H vs gamma gamma      0.782 +- 0.006    0.794 +- 0.005    0.750 +- 0.006
    H vs gamma+jet        0.957 +- 0.003    0.777 +- 0.006    0.940 +- 0.003
    CVM                   0.0014 +- 0.0003  0.0014 +- 0.0003  0.0007 +- 0.0002

Unlike EB it sees the HCAL and tracks around the photons, and it is told what to look for.
"""

from configs import four_momentum


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"; "forward_quick" and so on of central+forward."""
    config = four_momentum.get_config(size)
    config.name = "high_level"
    config.inputs.kind = "high_level"
    config.model.name = "high_level"
    return config
