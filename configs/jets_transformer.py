"""Jets, vision transformer: quarks against gluons, on the brightest 5 x 5 patches of 125 x 125 crystals.

python -m e2e_jax.main --config=configs/jets_transformer.py

Not trained yet.
"""

from e2e_jax.configs import default


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = default.get_config(size, "jets")
    config.name = "jets_transformer"
    config.model.name = "patch_transformer"
    # A patch is an HCAL tower.
    config.model.patches = (5, 48)
    config.model.widths, config.model.head, config.model.dropout = (64,), (64,), 0.3
    config.train.update(batch_size=50, epochs=20, learning_rate=1e-3, schedule="cosine", warmup=0.05)
    config.train.update(optimizer="adamw", weight_decay=0.2)
    return config
