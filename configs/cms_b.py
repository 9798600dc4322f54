"""CMS-B: ResNet-15 on tracks, ECAL and HCAL over the ECAL barrel, decorrelated from the mass.

    python -m e2e_jax.main --config=configs/cms_b.py            # quick
    python -m e2e_jax.main --config=configs/cms_b.py:paper

Fast simulation on two AMD Zen 4 cores (AVX-512) next to the paper's Table 6 (51,200 events per class);
H against one class is pair-normalized. Quick: 8 epochs in 118 s (436 to 463 events/s). Medium, the run of
release/cms_b: 5 epochs in 15 minutes (217 to 267 events/s, earlier kernels, on a machine with other work).

                          quick             quick, 2.0.0      medium, 2.0.0     paper
    H vs rest             0.782 +- 0.011    0.780 +- 0.010    0.829 +- 0.004    0.813
    gamma gamma vs rest   0.796 +- 0.010    0.821 +- 0.009    0.850 +- 0.004    0.838
    gamma+jet vs rest     0.926 +- 0.008    0.934 +- 0.008    0.960 +- 0.003    0.959
    H vs gamma gamma      0.691 +- 0.017    0.699 +- 0.014    0.746 +- 0.006    0.722
    H vs gamma+jet        0.926 +- 0.007    0.923 +- 0.008    0.957 +- 0.003    0.956
    CVM                   0.0005 +- 0.0003  0.0003 +- 0.0003  0.0009 +- 0.0003  0.002

Medium on dataset 3.0.0, in the order of the rows: 0.831 +- 0.004, 0.845 +- 0.003, 0.953 +- 0.003,
0.747 +- 0.005, 0.952 +- 0.003, CVM 0.0013 +- 0.0003 (0.0008 for an independent score).

2.0.0 is the dataset before the HCAL collection of AODSIM, the vertex by the sum of pT^2 and pile-up profiles.
"""

from e2e_jax.configs import default


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = default.get_config(size)
    config.name = "cms_b"
    return config
