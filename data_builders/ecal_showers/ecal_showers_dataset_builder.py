"""The TFDS dataset of showers of particle guns, simulated or read from the public crops.

    cd data_builders && tfds build ecal_showers                       # crops, the quick size
    cd data_builders && tfds build ecal_showers --config=barrel_medium
    cd data_builders && tfds build ecal_showers --config='{"name": "mine", "train": 500, "validation": 100}'
    cd data_builders && tfds build ecal_showers --config=crops_hdf5 --manual_dir=DIR

An interrupted build leaves no dataset, and the next build resumes it. The study is `e2e_jax.studies.showers`.
"""

from e2e_jax.datasets.naming import BUILT_IN


class Builder(BUILT_IN["ecal_showers"]):
    """Showers with their crystals."""
