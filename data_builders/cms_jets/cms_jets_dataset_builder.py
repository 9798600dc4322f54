"""The TFDS dataset of jets, simulated or read from the public images.

    cd data_builders && tfds build cms_jets                   # the quick size
    cd data_builders && tfds build cms_jets --config=medium
    cd data_builders && tfds build cms_jets --config=parquet --manual_dir=DIR

An interrupted build leaves no dataset, and the next build resumes it. The study is `e2e_jax.studies.jets`.
"""

from e2e_jax.datasets.naming import BUILT_IN


class Builder(BUILT_IN["cms_jets"]):
    """Jets with the hits around them."""
