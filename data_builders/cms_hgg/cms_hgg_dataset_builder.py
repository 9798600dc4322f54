"""The TFDS dataset of diphoton events, simulated or read from the CMS Open Data.

    cd data_builders && tfds build cms_hgg                    # the quick size
    cd data_builders && tfds build cms_hgg --config=medium
    cd data_builders && tfds build cms_hgg --config='{"name": "mine", "train": 500, "validation": 100}'
    cd data_builders && tfds build cms_hgg --config=opendata_central

An interrupted build leaves no dataset, and the next build resumes it. The study is `e2e_jax.studies.hgg`.
"""

from e2e_jax.datasets.naming import BUILT_IN


class Builder(BUILT_IN["cms_hgg"]):
    """Diphoton events with their hits."""
