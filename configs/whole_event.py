"""Whole-event: a transformer of the strongest crystals, tracks and towers of an event and of their pairs.

    python -m e2e_jax.main --config=configs/whole_event.py                   # quick
    python -m e2e_jax.main --config=configs/whole_event.py:paper
    python -m e2e_jax.main --config=configs/whole_event.py:forward_quick     # central+forward, with endcaps

Quick, fast simulation (dataset 2.0.0), on one AMD Zen 4 core: 16 epochs at 900 to 1,100 events/s; next to it
CMS-B of the same size. H against one class is pair-normalized:

                          whole_event       cms_b
    H vs rest             0.842 +- 0.008    0.780
    gamma gamma vs rest   0.859 +- 0.008    0.821
    gamma+jet vs rest     0.960 +- 0.005    0.934
    H vs gamma gamma      0.766 +- 0.013    0.699
    H vs gamma+jet        0.957 +- 0.006    0.923
    CVM                   0.0006 +- 0.0003  0.0003

Left to see the mass: --config.inputs.normalization=none --config.cvm.strength=0 --config.cvm.limit=1.
"""

from e2e_jax.configs import default

FORWARD = "forward_"


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"; "forward_quick" and so on of central+forward."""
    forward = size.startswith(FORWARD)
    config = default.get_config(size.removeprefix(FORWARD), "central_forward" if forward else "central")
    # The whole word, so that the categories' runs have folders of their own.
    config.size = size
    config.name = "whole_event"
    config.inputs.kind = "tokens"
    config.inputs.geometry = "ecal_centric" if forward else "barrel"
    config.model.name = "event_transformer"
    config.model.widths, config.model.head = (48, 16), (64,)
    if config.train.schedule == "cosine":
        # Its steps cost a fourth of ResNet-15's, and stay stable at twice the rate.
        config.train.epochs *= 2
        config.train.learning_rate = 2e-3
    return config
