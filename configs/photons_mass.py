"""Merged photons: regression of the mass of a -> gamma gamma with the ResNet-15 on 32 x 32 crystals.

    python -m e2e_jax.main --config=configs/photons_mass.py

m_a is flat from 0 to 1.2 GeV and pT from 30 to 90 GeV (fast simulation of a gun, `studies.showers`).

Quick (40,000 decays): mean absolute error 0.191 +- 0.002 GeV, resolution 0.229 +- 0.004 GeV, in 2 min 17 s on
two AMD Zen 4 cores with nothing else running, dataset and report included. The best constant prediction has
an error of 0.300 GeV. In bins of the true mass:

    m_a [GeV]    0-0.13  -0.25  -0.37  -0.50  -0.62  -0.74  -0.85  -0.97  -1.08  -1.20
    MAE          0.261   0.164  0.135  0.136  0.154  0.180  0.176  0.195  0.220  0.291
    bias         0.261   0.162  0.105  0.043  0.013  -0.033 -0.083 -0.146 -0.211 -0.290

Limits: the opening angle is about 2 m / pT. 16 % of the pairs are closer than half a crystal; their median
error is twice the mass. From 2 to 5 crystals the median error is 16 % of the mass. In 18 % of the decays the
softer photon has less than 5 GeV; their error is 0.249 GeV. With more than 10 GeV the error is 0.176 GeV. The
loss was still falling at the last epoch. The first layers of the ResNet-15 merge 4 x 4 crystals; the effect
on the error was not measured.

CMS (arXiv:2204.12313) predicts the mass of the same decay at boosts of 60 to 600, from full simulation. Only
its abstract was available, so its error is not quoted here.
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
