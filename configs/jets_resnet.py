"""Jets, ResNet: quarks against gluons with the ResNet-15 on tracks, ECAL and HCAL of 125 x 125 crystals.

    python -m e2e_jax.main --config=configs/jets_resnet.py
    python -m e2e_jax.main --config=configs/jets_resnet.py --config.dataset.name=cms_jets/parquet --files=DIR

Quick (2,000 jets per class, fast simulation): AUC 0.816 +- 0.013 after 5 of 8 epochs, which took 90 s on two
AMD Zen 4 cores (AVX-512) shared with other work (370 to 560 jets/s). Boosted trees on standard jet shapes
reach 0.803 +- 0.015 on the same jets (benchmarks/jet_shapes.py). The published figure with full
simulation (arXiv:1902.08276) is quoted as 0.81; only the paper's abstract was at hand to check it.
"""

from e2e_jax.configs import default


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = default.get_config(size, "jets")
    config.name = "jets_resnet"
    return config
