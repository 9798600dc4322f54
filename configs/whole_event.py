"""Whole-event: a transformer of the strongest crystals, tracks and towers of the barrel and of their pairs.

python -m e2e_jax.main --config=configs/whole_event.py            # quick
python -m e2e_jax.main --config=configs/whole_event.py:paper
"""

from e2e_jax.configs import default


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = default.get_config(size)
    config.name = "whole_event"
    config.inputs.kind = "tokens"
    config.model.name = "event_transformer"
    config.model.widths, config.model.head = (48, 16), (64,)
    return config
