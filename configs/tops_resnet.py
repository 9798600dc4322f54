"""Top pairs from multijets by the ResNet-15 on tracks, ECAL and HCAL of the whole detector.

    python -m e2e_jax.main --config=configs/tops_resnet.py

The study is examples/tops.py, so this runs from the folder of a clone. Its one size is "quick": 600 events
per label, AUC 0.828 +- 0.021 in 2 min 40 s on two AMD Zen 4 cores. The figure is that of docs/howto/study.md,
whose command has the same config.
"""

from e2e_jax.configs import cms_ii


def get_config(size="quick"):
    """The config at a size: "quick", "medium" or "paper"; the last two need a study with these sizes."""
    config = cms_ii.get_config(size)
    config.name = "tops_resnet"
    config.dataset.name = f"examples/tops.py:{size}"
    config.published = ""
    config.inputs.normalization = "sum_et"
    return config
