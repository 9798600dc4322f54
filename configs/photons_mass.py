"""Merged photons: the mass of a -> gamma gamma from one cluster, by the ResNet-15 on 32 x 32 crystals.

    python -m e2e_jax.main --config=configs/photons_mass.py

m_a is flat from 0 to 1.2 GeV and pT from 30 to 90 GeV (fast simulation of a gun, `studies.showers`).
"""

from e2e_jax.configs import default


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = default.get_config(size, "showers")
    config.name = "photons_mass"
    config.dataset.name = f"ecal_showers/decays_{size}"
    config.published = ""
    config.train.update(batch_size=50, epochs=8, learning_rate=2e-3, schedule="cosine")
    return config
