"""Conversion of a padded batch of hits to the network's inputs; pure, and part of the jitted step.

Images: hits -> GeV on the pixels -> zero below the channel's threshold -> times the channel's scale ->
divided by the event's normalization. Tokens: the strongest pixels of these images, in GeV, in units of the
normalization (`token_inputs`). Kinematics: five numbers of the two photons that do not scale with the mass.
High-level: kinematics, and the shower shapes and isolation of both photons. Showers: energies, times or digis
of crystals, multiplied by the channel's scale.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from e2e_jax.detector import crops, images, shower_images, shower_shapes, tokens
from e2e_jax.detector.drawing import PLAIN, Drawing, in_blocks
from e2e_jax.models.token_inputs import UNIT, token_inputs

NONE, SUM_PT = "none", "sum_pt"
"""Image normalizations that are not observables: none, and the sum of the photons' pT."""
DIGIS = "digis"
"""The shower channel with the ten samples of each crystal."""


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The inputs of a network. The attributes are the fields of `config.inputs`.

    Attributes:
      kind: "images", "tokens", "kinematics", "high_level" or "showers".
      geometry: image geometry.
      channels: channels of the images, in order.
      matches_authors: whether images reproduce the paper's authors' arithmetic (`detector.projections`).
      threshold: channel -> GeV below which its pixels are set to zero, or one number for all channels.
      scale: channel -> factor, or one number for all channels.
      normalization: divisor of an event's images: "none", "sum_pt", or the name of an observable.
      tokens: channel -> number of tokens; the strongest are taken.
      shapes: names from `detector.shower_shapes.NAMES`.
      standard: shape -> (center, width).
    """

    kind: str = "images"
    geometry: str = "barrel"
    channels: tuple[str, ...] = ("tracks", "ecal", "hcal")
    matches_authors: bool = False
    threshold: Mapping[str, float] | float = 1e-3
    scale: Mapping[str, float] | float = 50.0
    normalization: str = NONE
    tokens: Mapping[str, int] = dataclasses.field(default_factory=dict)
    shapes: tuple[str, ...] = ()
    standard: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)

    @property
    def observable(self) -> str:
        """The observable by which images are divided; "" for none."""
        divided = self.kind in ("images", "tokens") and self.normalization not in (NONE, SUM_PT)
        return self.normalization if divided else ""

    @property
    def needed(self) -> tuple[str, ...]:
        """The observables that the network uses."""
        if self.kind in ("kinematics", "high_level"):
            return ("mass",)
        return (self.observable,) if self.observable else ()

    @property
    def endcaps(self) -> bool:
        """Whether images contain hits of the ECAL endcaps.

        Raises:
          ValueError: the geometry does not exist.
        """
        if self.kind not in ("images", "tokens"):
            return False
        shown = [
            canvas.collections.get(name, ())
            for canvas in images.canvases(self.geometry)
            for name in self.channels
        ]
        return any("ee" in collections for collections in shown)

    @property
    def photons(self) -> int:
        """Number of leading photons that the network uses."""
        if self.kind in ("kinematics", "high_level"):
            return 2
        return int(self.kind == "images" and self.normalization == SUM_PT)


def model_inputs(batch: Mapping, inputs: Inputs, drawing: Drawing = PLAIN) -> dict[str, jax.Array]:
    """Makes the network's inputs.

    Args:
      batch: padded batch as from `Events.to_batch`. Images in GeV, [n, rows, columns, channels], under their
        names ("barrel") may replace the hits, and "shower_shapes", [n, 2, shapes], as from
        `detector.shower_shapes`. Unused scalars may be missing. For showers: the batch of
        `Showers.to_batch`, or the image of `dense_shapes` in GeV (and ns).
      inputs: inputs of the network.
      drawing: how images are drawn; with `drawing.blocks` the images below have the layout of
        `detector.drawing.in_blocks`.

    Returns:
      {image: f4[n, rows, columns, channels]}, the images of `detector.images.shapes(inputs.geometry)`, or
        the inputs of `token_inputs.token_inputs`, or {"kinematics": f4[n, 5]}, or
        {"high_level": f4[n, 5 + 2 * len(inputs.shapes)]}; for showers
        {"crop": f4[n, 32, 32, channels]}, {"barrel": ...}, or {"digis": f4[n, 10, 32, 32]}.

    Raises:
      ValueError: a name in `inputs` does not exist, or the batch lacks a required field.
    """
    if inputs.kind not in _INPUTS:
        raise ValueError(f"config.inputs.kind is {inputs.kind!r}; it is one of {', '.join(_INPUTS)}.")
    return _INPUTS[inputs.kind](batch, inputs, drawing)


def _image_inputs(batch, inputs, drawing):
    scale = _by_channel(inputs, "scale")
    threshold = _by_channel(inputs, "threshold")
    # One factor [n, channels], so that the large images are multiplied only once.
    factor = scale[None, :] / normalizers(batch, inputs.normalization)[:, None]
    if drawing.blocks:
        # A block holds the channels of its four pixels consecutively.
        threshold, factor = jnp.tile(threshold, 4), jnp.tile(factor, (1, 4))
    return {
        name: jnp.where(pixels >= threshold[None, None, None, :], pixels, 0.0) * factor[:, None, None, :]
        for name, pixels in _pixels(batch, inputs, drawing).items()
    }


def _token_inputs(batch, inputs, drawing):
    channels, threshold = tuple(inputs.channels), _by_channel(inputs, "threshold")
    planes = {
        channel: {
            name: jnp.where(pixels >= threshold[number], pixels, 0.0)
            for name, pixels in _planes(batch, inputs, channel, drawing).items()
        }
        for number, channel in enumerate(channels)
    }
    found = tokens.find_tokens(planes, inputs.geometry, channels, dict(inputs.tokens))
    absolute = inputs.normalization == NONE
    unit = jnp.full(1, UNIT) if absolute else normalizers(batch, inputs.normalization)
    return token_inputs(found, unit, channels, resolves_mass=not inputs.observable)


def _planes(batch, inputs, channel, drawing):
    """One channel of the raw images in GeV, {image: [n, rows, columns]}."""
    if any(name in batch for name in images.shapes(inputs.geometry)):
        number = tuple(inputs.channels).index(channel)
        return {name: image[..., number] for name, image in _pixels(batch, inputs, PLAIN).items()}
    plain = Drawing(deterministic=drawing.deterministic)
    made = images.make_images(batch, inputs.geometry, (channel,), inputs.matches_authors, plain)
    return {name: image[..., 0] for name, image in made.items()}


def _kinematic_inputs(batch, inputs, drawing):
    _require(batch, ("photons", "mass"), "config.inputs.kind = 'kinematics'")
    return {"kinematics": kinematics(batch["photons"], batch["mass"])}


def _high_level_inputs(batch, inputs, drawing):
    _require(batch, ("photons", "mass"), "config.inputs.kind = 'high_level'")
    shapes = batch["shower_shapes"] if "shower_shapes" in batch else shower_shapes.shower_shapes(batch)
    shapes = standardized_shapes(shapes, inputs)
    columns = kinematics(batch["photons"], batch["mass"]), shapes.reshape(shapes.shape[0], -1)
    return {"high_level": jnp.concatenate(columns, axis=1)}


def _shower_inputs(batch, inputs, drawing):
    ((name, shape),) = dense_shapes(inputs).items()
    given = batch.get(name)
    if given is None or isinstance(given, Mapping):
        draw = shower_images.digi_images if name == DIGIS else shower_images.shower_images
        how = () if name == DIGIS else (inputs.geometry, tuple(inputs.channels))
        given = draw(batch, *how)
    if given.ndim != len(shape) + 1 or given.shape[1:] != shape:
        raise ValueError(
            f"The image {name!r} has the shape {tuple(given.shape)}, but this classifier sees [n, "
            f"{', '.join(map(str, shape))}] of {', '.join(inputs.channels)}."
        )
    scale = _by_channel(inputs, "scale")
    if name == DIGIS:
        return {name: given * scale[0]}
    scaled = given * scale[None, None, None, :]
    return {name: in_blocks(scaled) if drawing.blocks else scaled}


_INPUTS = {
    "images": _image_inputs,
    "tokens": _token_inputs,
    "kinematics": _kinematic_inputs,
    "high_level": _high_level_inputs,
    "showers": _shower_inputs,
}
"""`config.inputs.kind` -> function of (batch, inputs) that makes the inputs."""


def dense_shapes(inputs: Inputs) -> dict[str, tuple[int, ...]]:
    """The images of a classifier, {name: shape}: {"barrel": (170, 360, channels)}; {} without images.

    Raises:
      ValueError: the geometry or a channel does not exist, or they do not match.
    """
    channels = tuple(inputs.channels)
    if inputs.kind in ("images", "tokens"):
        images.canvases(inputs.geometry)
        return {name: (*shape, len(channels)) for name, shape in images.shapes(inputs.geometry).items()}
    if inputs.kind != "showers":
        return {}
    if channels == (DIGIS,) and inputs.geometry == "crop":
        return {DIGIS: (crops.SAMPLES, crops.SIDE, crops.SIDE)}
    if DIGIS in channels:
        raise ValueError(
            f"config.inputs.channels is {channels} with config.inputs.geometry {inputs.geometry!r}: digis "
            "stand alone, ('digis',), and in crops."
        )
    crops.check_view(inputs.geometry, channels)
    return {inputs.geometry: (*crops.SHAPES[inputs.geometry], len(channels))}


def kinematics(photons, mass):
    """The inputs of the paper's 4-momentum classifier (Section 5.2).

    Args:
      photons: f4[n, 2, 3], (pt in GeV, eta, phi), leading photon first.
      mass: f4[n], diphoton mass in GeV.

    Returns:
      f4[n, 5]: pT1/m, pT2/m, eta1, eta2, cos(phi1 - phi2).
    """
    pt, eta, phi = photons[..., 0], photons[..., 1], photons[..., 2]
    cosine = jnp.cos(phi[:, 0] - phi[:, 1])
    return jnp.concatenate([pt / _positive(mass)[:, None], eta, cosine[:, None]], axis=1).astype(jnp.float32)


def standardized_shapes(shapes, inputs: Inputs):
    """Shower shapes scaled to order one: asinh((value - center) / width).

    The function is linear within about one width of the center and logarithmic beyond, because shapes and
    isolation have long tails. Centers and widths come from the config, so they are the same for all samples.

    Args:
      shapes: f4[n, 2, len(shower_shapes.NAMES)].
      inputs: defines the names of the shapes, and the center and width of each.

    Returns:
      f4[n, 2, len(inputs.shapes)].

    Raises:
      ValueError: a name is not a shape, a shape has no center or no width above 0, or `shapes` is incomplete.
    """
    if shapes.ndim != 3 or shapes.shape[1:] != (2, len(shower_shapes.NAMES)):
        raise ValueError(
            f"'shower_shapes' has the shape {tuple(shapes.shape)}, but of each event it takes those of two "
            f"photons, [n, 2, {len(shower_shapes.NAMES)}]: {', '.join(shower_shapes.NAMES)}."
        )
    for name in inputs.shapes:
        if name not in shower_shapes.NAMES:
            known = ", ".join(shower_shapes.NAMES)
            raise ValueError(f"config.inputs.shapes names {name!r}, but the shapes are: {known}.")
        if name not in inputs.standard or not inputs.standard[name][1] > 0:
            raise ValueError(
                f"config.inputs.shapes names {name!r}, but config.inputs.standard has no (center, width) "
                "with a width above 0 for it."
            )
    wanted = jnp.stack([shapes[..., shower_shapes.NAMES.index(name)] for name in inputs.shapes], axis=-1)
    center, width = jnp.array([inputs.standard[name] for name in inputs.shapes], jnp.float32).T
    return jnp.arcsinh((wanted - center[None, None, :]) / width[None, None, :])


def normalizers(batch: Mapping, normalization: str) -> jax.Array:
    """The divisor of each event's image, [n]; [1] without normalization.

    Args:
      batch: the events.
      normalization: "none", "sum_pt", or the name of an observable of the batch.
    """
    if normalization == NONE:
        return jnp.ones(1, jnp.float32)
    needed = "photons" if normalization == SUM_PT else normalization
    _require(batch, (needed,), f"config.inputs.normalization = {normalization!r}")
    return _positive(jnp.sum(batch[needed][:, :, 0], axis=1) if needed == "photons" else batch[needed])


def _positive(scale):
    """Replaces zeros by ones: padding events in the last batch would otherwise produce NaN."""
    return jnp.where(scale > 0, scale, 1.0)


def _pixels(batch, inputs, drawing):
    """The raw images in GeV, {image: [n, rows, columns, channels]}."""
    images.canvases(inputs.geometry)
    names = tuple(images.shapes(inputs.geometry))
    if not any(name in batch for name in names):
        how = inputs.geometry, tuple(inputs.channels), inputs.matches_authors, drawing
        return images.make_images(batch, *how)
    _require(batch, names, f"config.inputs.geometry = {inputs.geometry!r}")
    pixels = {name: jnp.asarray(batch[name], jnp.float32) for name in names}
    for name, image in pixels.items():
        if image.shape[-1] != len(inputs.channels):
            raise ValueError(
                f"The {name!r} image has {image.shape[-1]} channels, but this classifier sees "
                f"{len(inputs.channels)}: {', '.join(inputs.channels)}. Pass those channels, in that order."
            )
    return {name: in_blocks(image) for name, image in pixels.items()} if drawing.blocks else pixels


def _by_channel(inputs, field):
    """A field's value for each channel, f4[channels]; a single number applies to all channels."""
    values = getattr(inputs, field)
    if isinstance(values, int | float):
        return jnp.full(len(inputs.channels), values, jnp.float32)
    for channel in inputs.channels:
        if channel not in values:
            raise ValueError(
                f"config.inputs.channels names {channel!r}, but config.inputs.{field} has no number for it, "
                f"only for {', '.join(values)}."
            )
    return jnp.array([values[channel] for channel in inputs.channels], jnp.float32)


def _require(batch, names, why):
    for name in names:
        if name not in batch:
            raise ValueError(f"The batch has no {name!r}, which {why} needs; it has: {', '.join(batch)}.")
