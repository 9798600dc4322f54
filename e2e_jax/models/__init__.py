"""The classifiers of the paper as Flax modules: `build(config)` makes the one that a config names."""

import functools

from e2e_jax.detector import images
from e2e_jax.models import backend
from e2e_jax.models.concatenated import ConcatenatedResNet15
from e2e_jax.models.event_transformer import EventTransformer
from e2e_jax.models.fcn import FourMomentum, HighLevel
from e2e_jax.models.resnet import ResNet15
from e2e_jax.models.showers import ShowerConvLSTM, ShowerFCN, ShowerVGG

__all__ = [
    "ConcatenatedResNet15",
    "EventTransformer",
    "FourMomentum",
    "HighLevel",
    "ResNet15",
    "ShowerConvLSTM",
    "ShowerFCN",
    "ShowerVGG",
    "build",
]


def _resnet15(config, platform):
    """One ResNet-15 for each image of the geometry; with several, a fully connected head joins them."""
    inputs, model = config.get("inputs", {}), config.model
    geometry = inputs.get("geometry", "barrel")
    images.canvases(geometry)
    names = tuple(images.shapes(geometry))
    sizes = {
        "classes": model.classes,
        "widths": tuple(model.get("widths", (16, 32))),
        "channels": len(inputs["channels"]) if "channels" in inputs else None,
        "precision": config.get("precision", "float32"),
        "features": backend.features(platform),
        "closed": model.get("padding", "zeros") == "wrap",
    }
    if len(names) == 1:
        return ResNet15(image=names[0], **sizes)
    head, dropout = tuple(model.get("head", (128, 128, 128))), model.get("dropout", 0.2)
    return ConcatenatedResNet15(images=names, head=head, dropout=dropout, **sizes)


def _fully_connected(module, config, platform):
    return module(classes=config.model.classes, widths=tuple(config.model.get("widths", (256, 256, 256))))


def _event_transformer(config, platform):
    model = config.model
    return EventTransformer(model.classes, tuple(model.widths), tuple(model.head), model.dropout)


def _of_showers(module, config, platform):
    """A network on the crops of showers, with those of its sizes that the config gives."""
    model, fields = config.model, module.__dataclass_fields__
    sizes = {name: model[name] for name in ("classes", "widths", "head", "dropout") if name in model}
    sizes = {name: tuple(v) if isinstance(v, list | tuple) else v for name, v in sizes.items()}
    image = "digis" if "digis" in config.inputs.channels else config.inputs.geometry
    fitting = {**sizes, "image": image, "pool": backend.pooling(platform)}
    return module(**{name: v for name, v in fitting.items() if name in fields})


_BUILDERS = {
    "resnet15": _resnet15,
    "event_transformer": _event_transformer,
    "four_momentum": functools.partial(_fully_connected, FourMomentum),
    "high_level": functools.partial(_fully_connected, HighLevel),
    "shower_vgg": functools.partial(_of_showers, ShowerVGG),
    "shower_conv_lstm": functools.partial(_of_showers, ShowerConvLSTM),
    "shower_fcn": functools.partial(_of_showers, ShowerFCN),
}


def build(config, platform=None):
    """Makes the network that a config describes.

    Args:
      config: an `ml_collections.ConfigDict`; read are `model.name` (one of those of `_BUILDERS`),
        `model.classes`, `model.widths` (optional: the paper's when absent) and, for images,
        `inputs.geometry` (one ResNet-15 for each of its images), `inputs.channels` (one name per channel),
        and `model.head` and `model.dropout` where a head joins several images, or is behind a shower's.
      platform: where it runs, see `backend.features`; on this process's devices by default.

    Returns:
      A `flax.linen.Module`. `module.apply(variables, inputs)` takes a dict, the images of the geometry
      ({"barrel": [n, 170, 360, c]}), those of `token_inputs` for the event transformer,
      {"kinematics": [n, 5]} for the 4-momentum network, {"high_level": [n, i]} for the high-level one, or
      showers, {"crop": [n, 32, 32, c]} and {"digis": [n, 10, 32, 32]}, and returns logits [n, classes]. In
      training
      `module.apply(variables, inputs, keys)` takes a random key an event, [n].

    Raises:
      ValueError: `model.name` names no network, or `inputs.geometry` no geometry.
    """
    try:
        builder = _BUILDERS[config.model.name]
    except KeyError:
        known = ", ".join(sorted(_BUILDERS))
        raise ValueError(
            f"config.model.name is {config.model.name!r}, but the networks are: {known}."
        ) from None
    return builder(config, platform)
