"""Jets, ResNet: quarks from gluons by the ResNet-15 on tracks, ECAL and HCAL of 125 x 125 crystals.

python -m e2e_jax.main --config=configs/jets_resnet.py
python -m e2e_jax.main --config=configs/jets_resnet.py --config.dataset.name=cms_jets/parquet --files=DIR
"""

from e2e_jax.configs import default


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"."""
    config = default.get_config(size, "jets")
    config.name = "jets_resnet"
    return config
