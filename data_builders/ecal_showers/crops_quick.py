"""Lets `tfds build ecal_showers/crops_quick` find its config: the command takes the path for a file's."""

from typing import ClassVar

from .ecal_showers_dataset_builder import CONFIGS
from .ecal_showers_dataset_builder import Builder as _Builder


class Builder(_Builder, skip_registration=True):
    """The builder of `ecal_showers` for the config of this file's name alone."""

    name = "ecal_showers"
    BUILDER_CONFIGS: ClassVar = [config for config in CONFIGS if config.name == "crops_quick"]
