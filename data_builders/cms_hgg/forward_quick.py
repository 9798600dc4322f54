"""Lets `tfds build cms_hgg/forward_quick` find its config: the command takes the path for a file's."""

from typing import ClassVar

from .cms_hgg_dataset_builder import CONFIGS
from .cms_hgg_dataset_builder import Builder as _Builder


class Builder(_Builder, skip_registration=True):
    """The builder of `cms_hgg` for the config of this file's name alone."""

    name = "cms_hgg"
    BUILDER_CONFIGS: ClassVar = [config for config in CONFIGS if config.name == "forward_quick"]
