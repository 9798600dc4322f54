"""Whole-event: a transformer on the strongest crystals, tracks and towers of an event and on their pairs.

    python -m e2e_jax.main --config=configs/whole_event.py                   # quick
    python -m e2e_jax.main --config=configs/whole_event.py:paper
    python -m e2e_jax.main --config=configs/whole_event.py:forward_quick     # central+forward, with endcaps

Quick, fast simulation, 15 epochs in 107 s (1,300 to 1,400 events/s) on two AMD Zen 4 cores (AVX-512). The
tenth epoch is the best. CMS-B and the 4-momenta have the same size. H against one class is pair-normalized:

                          whole_event       cms_b             four_momentum     2.0.0: whole_event
    H vs rest             0.830 +- 0.009    0.776 +- 0.010    0.728 +- 0.014    0.842 +- 0.008
    gamma gamma vs rest   0.834 +- 0.008    0.787 +- 0.010    0.798 +- 0.010    0.859 +- 0.008
    gamma+jet vs rest     0.948 +- 0.006    0.930 +- 0.008    0.799 +- 0.012    0.960 +- 0.005
    H vs gamma gamma      0.745 +- 0.015    0.676 +- 0.015    0.768 +- 0.013    0.766 +- 0.013
    H vs gamma+jet        0.951 +- 0.006    0.931 +- 0.008    0.785 +- 0.013    0.957 +- 0.006
    CVM                   0.0005 +- 0.0003  0.0003 +- 0.0003  0.0003 +- 0.0003  0.0006 +- 0.0003

AdamW (weight decay 0.01), clip_norm 1, warm-up 0.1 and augment ("mirror",) with the same seed bring no
significant gain at the quick size: 0.826 0.839 0.948 0.740 0.952 in the order of the rows, CVM 0.0002. The
eighth epoch is the best.

Medium (15,000 events per class, dataset 3.0.0, one seed), the fourth of 10 epochs, in the order of the rows:
0.856 +- 0.004, 0.867 +- 0.003, 0.960 +- 0.002, 0.782 +- 0.006, 0.963 +- 0.002, CVM 0.0014 +- 0.0003 (0.0008
for an independent score). Later epochs learn the mass although the inputs are divided by it: at the tenth
epoch H vs gamma gamma is 0.877 with a CVM of 0.043. The limit of the CVM excludes these epochs.

2.0.0 is the dataset before the HCAL collection of AODSIM, the vertex by the sum of pT^2 and pile-up profiles.

Without decorrelation: --config.inputs.normalization=none --config.decorrelation.strength=0
--config.cvm.limit=1.
"""

from e2e_jax.configs import default

FORWARD = "forward_"


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"; "forward_quick" etc. for central+forward."""
    forward = size.startswith(FORWARD)
    config = default.get_config(size.removeprefix(FORWARD), "central_forward" if forward else "central")
    # The full size, so that each category has its own run folder.
    config.size = size
    config.name = "whole_event"
    config.inputs.kind = "tokens"
    config.inputs.geometry = "ecal_centric" if forward else "barrel"
    config.model.name = "event_transformer"
    config.model.widths, config.model.head = (48, 16), (64,)
    if config.train.schedule == "cosine":
        # A step costs a fourth of a ResNet-15 step, and is stable at twice the learning rate.
        config.train.epochs *= 2
        config.train.learning_rate = 2e-3
    return config
