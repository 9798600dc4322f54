"""Networks by name: a `Network` holds the name and sizes; `build` makes the Flax module for a platform."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import flax.linen as nn
import numpy as np

from e2e_jax.events.base import Record, column_type
from e2e_jax.models import backend, preprocessing
from e2e_jax.models.concatenated import ConcatenatedResNet15
from e2e_jax.models.event_transformer import EventTransformer
from e2e_jax.models.fcn import FourMomentum, HighLevel
from e2e_jax.models.patch_transformer import PatchTransformer
from e2e_jax.models.preprocessing import Inputs
from e2e_jax.models.resnet import ResNet15
from e2e_jax.models.showers import ShowerConvLSTM, ShowerFCN, ShowerVGG


@dataclasses.dataclass(frozen=True)
class Network:
    """A network before it is built for a platform. The attributes are fields of `config.model`.

    Attributes:
      name: one of `BUILDERS`.
      classes: number of outputs; for a classifier, of logits. See `models.heads`.
      widths: sizes of the layers; their meaning depends on the network. Default: those of the paper.
      head: neurons of the hidden layers after the maps.
      dropout: fraction of those neurons that is dropped in training.
      patches: side of a patch in pixels, and maximum number of patches kept per image.
      padding: padding of the barrel image in phi, "zeros" or "wrap" (the opposite edge of the image).
      precision: precision of the computation, one of `resnet.PRECISIONS`.
    """

    name: str
    classes: int
    widths: tuple[int, ...] = ()
    head: tuple[int, ...] = (128, 128, 128)
    dropout: float = 0.2
    patches: tuple[int, int] = (4, 32)
    padding: str = "zeros"
    precision: str = "float32"


def build(network: Network, inputs: Inputs, platform: str | None = None) -> nn.Module:
    """Makes the Flax module of a network.

    Args:
      network: name and sizes.
      inputs: inputs of the network.
      platform: platform to run on, see `backend.features`; by default that of this process's devices.

    Returns:
      A module. `module.apply(variables, inputs)` takes a dict: the images of the geometry ({"barrel": [n,
      170, 360, c]}), {"kinematics": [n, 5]}, {"high_level": [n, i]}, those of `token_inputs`, or showers
      ({"crop": [n, 32, 32, c]}, {"digis": [n, 10, 32, 32]}), and returns logits [n, classes]. In training,
      `module.apply(variables, inputs, keys)` takes a random key per event, [n].

    Raises:
      ValueError: the network or the geometry does not exist.
    """
    if network.name not in BUILDERS:
        known = ", ".join(sorted(BUILDERS))
        raise ValueError(f"config.model.name is {network.name!r}, but the networks are: {known}.")
    return BUILDERS[network.name](network, inputs, platform)


def initial_params(network: Network, inputs: Inputs, record: type[Record], observables: Sequence[str], key):
    """The initial parameters of a network, drawn from a key.

    Args:
      network, inputs: as for `build`.
      record: type of the events.
      observables: the names of their observables.
      key: a JAX random key.
    """
    module = build(network, inputs, backend.ANY)
    return module.init(key, preprocessing.model_inputs(_probe(record, observables), inputs))["params"]


def _probe(record: type[Record], observables: Sequence[str]) -> dict:
    """A batch of one event. The parameter shapes do not depend on the number of events or hits."""
    probe = {name: np.ones((1, *shape), dtype) for name, (shape, dtype) in record.BATCHED.items()}
    probe |= {name: np.ones(1, np.float32) for name in observables}
    for name, columns in record.COLLECTIONS.items():
        types = {column: column_type(declared) for column, declared in columns.items()}
        probe[name] = {c: np.zeros((1, 1, *shape), dtype) for c, (dtype, shape) in types.items()}
    return probe


def _resnet15(network: Network, inputs: Inputs, platform):
    """One ResNet-15 per image of the inputs; a fully connected head joins several of them."""
    names = tuple(preprocessing.dense_shapes(inputs))
    if inputs.kind == "tokens" or not names or preprocessing.DIGIS in names:
        raise ValueError(
            f"config.model.name is 'resnet15', which takes images, but config.inputs.kind {inputs.kind!r} "
            f"with the channels {inputs.channels} gives none."
        )
    shapes = preprocessing.dense_shapes(inputs).values()
    # Images with an odd number of rows or columns cannot be divided into blocks.
    odd = any(rows % 2 or columns % 2 for rows, columns, _ in shapes)
    sizes = {
        "classes": network.classes,
        "channels": len(inputs.channels),
        "precision": network.precision,
        "features": backend.features(platform, blocks=not odd),
        "closed": network.padding == "wrap",
        **({"widths": network.widths} if network.widths else {}),
    }
    if len(names) == 1:
        return ResNet15(image=names[0], **sizes)
    return ConcatenatedResNet15(images=names, head=network.head, dropout=network.dropout, **sizes)


def _fully_connected(module, network: Network, inputs: Inputs, platform):
    widths = {"widths": network.widths} if network.widths else {}
    return module(classes=network.classes, **widths)


def _event_transformer(network: Network, inputs: Inputs, platform):
    if inputs.kind != "tokens":
        raise ValueError(
            "config.model.name is 'event_transformer', which takes tokens, but config.inputs.kind is "
            f"{inputs.kind!r}."
        )
    widths = {"widths": network.widths} if network.widths else {}
    return EventTransformer(network.classes, head=network.head, dropout=network.dropout, **widths)


def _patch_transformer(network: Network, inputs: Inputs, platform):
    names = tuple(preprocessing.dense_shapes(inputs))
    if inputs.kind == "tokens" or len(names) != 1 or preprocessing.DIGIS in names:
        raise ValueError(
            f"config.model.name is 'patch_transformer', which takes one image, but config.inputs.kind "
            f"{inputs.kind!r} with the geometry {inputs.geometry!r} gives {', '.join(names) or 'none'}."
        )
    widths = {"widths": network.widths} if network.widths else {}
    sizes = {"patches": network.patches, "head": network.head, "dropout": network.dropout}
    return PatchTransformer(classes=network.classes, image=names[0], **sizes, **widths)


def _of_showers(module, network: Network, inputs: Inputs, platform):
    """A network on shower crops, built with the sizes that it supports."""
    sizes = {
        "classes": network.classes,
        "head": network.head,
        "dropout": network.dropout,
        "image": preprocessing.DIGIS if preprocessing.DIGIS in inputs.channels else inputs.geometry,
        "pool": backend.pooling(platform),
        **({"widths": network.widths} if network.widths else {}),
    }
    fields = {field.name for field in dataclasses.fields(module)}
    return module(**{name: value for name, value in sizes.items() if name in fields})


BUILDERS: dict[str, Callable[[Network, Inputs, str | None], nn.Module]] = {
    "resnet15": _resnet15,
    "event_transformer": _event_transformer,
    "patch_transformer": _patch_transformer,
    "four_momentum": functools.partial(_fully_connected, FourMomentum),
    "high_level": functools.partial(_fully_connected, HighLevel),
    "shower_vgg": functools.partial(_of_showers, ShowerVGG),
    "shower_conv_lstm": functools.partial(_of_showers, ShowerConvLSTM),
    "shower_fcn": functools.partial(_of_showers, ShowerFCN),
}
"""`config.model.name` -> function (network, inputs, platform) that makes the module."""
