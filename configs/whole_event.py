"""Whole-event: a transformer of the strongest crystals, tracks and towers of an event and of their pairs.

    python -m e2e_jax.main --config=configs/whole_event.py                   # quick
    python -m e2e_jax.main --config=configs/whole_event.py:paper
    python -m e2e_jax.main --config=configs/whole_event.py:forward_quick     # central+forward, with endcaps

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
