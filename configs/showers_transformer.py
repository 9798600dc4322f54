"""Showers, vision transformer: electrons against photons, on the brightest 4 x 4 patches of 32 x 32 crystals.

    python -m e2e_jax.main --config=configs/showers_transformer.py

Quick (2,000 showers per class, fast simulation): AUC 0.696 +- 0.017 after 20 epochs in 47 s on two AMD Zen 4
cores with nothing else running (about 2,300 events/s), report included. The ResNet-15 reaches 0.728 +- 0.015
on the same events. The transformer overfits: its cross-entropy is 0.51 in training and 0.66 in validation.
"""

from e2e_jax.configs import default


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = default.get_config(size, "showers")
    config.name = "showers_transformer"
    config.model.name = "patch_transformer"
    config.model.widths, config.model.head, config.model.dropout = (64,), (64,), 0.3
    config.train.update(batch_size=50, epochs=20, learning_rate=1e-3, schedule="cosine", warmup=0.05)
    config.train.update(optimizer="adamw", weight_decay=0.2)
    return config
