"""TFDS dataset builders; each folder is one that `tfds build` takes by name."""
