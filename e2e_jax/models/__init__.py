"""The classifiers of the paper as Flax modules: `build(config)` makes the one that a config names."""

from e2e_jax.models.fcn import FourMomentum
from e2e_jax.models.resnet import ResNet15

__all__ = ["FourMomentum", "ResNet15", "build"]


def _resnet15(config):
    return ResNet15(
        classes=config.model.classes,
        widths=tuple(config.model.get("widths", (16, 32))),
        channels=len(config.inputs.channels) if "inputs" in config else None,
    )


def _four_momentum(config):
    return FourMomentum(
        classes=config.model.classes, widths=tuple(config.model.get("widths", (256, 256, 256)))
    )


_BUILDERS = {"resnet15": _resnet15, "four_momentum": _four_momentum}


def build(config):
    """Makes the network that a config describes.

    Args:
      config: an `ml_collections.ConfigDict`; read are `model.name` ("resnet15" or "four_momentum"),
        `model.classes`, `model.widths` (optional: the paper's when absent) and, for images, `inputs.channels`
        (one name per channel).

    Returns:
      A `flax.linen.Module`. `module.apply(variables, inputs)` takes a dict, {"barrel": [n, 170, 360, c]} for
      images or {"kinematics": [n, 5]} for the 4-momentum network, and returns logits [n, classes].

    Raises:
      ValueError: `model.name` names no network.
    """
    try:
        builder = _BUILDERS[config.model.name]
    except KeyError:
        known = ", ".join(sorted(_BUILDERS))
        raise ValueError(
            f"config.model.name is {config.model.name!r}, but the networks are: {known}."
        ) from None
    return builder(config)
