"""From a padded batch of hits to what the network sees; pure, and part of the jitted step.

Images: hits -> GeV on the pixels -> zero below the channel's threshold -> times the channel's scale ->
divided by the event's mass scale. Tokens: the strongest pixels of these images, in GeV, in units of the mass
scale (`token_inputs`). Kinematics: five numbers of the two photons that do not grow with the mass.
High-level: these, and the shower shapes and isolation of both photons. Showers: energies, times or digis of
crystals, times the channel's scale.
"""

from collections.abc import Mapping

import jax.numpy as jnp

from e2e_jax.detector import crops, images, shower_images, shower_shapes, tokens
from e2e_jax.detector.drawing import PLAIN, Drawing, in_blocks
from e2e_jax.models.token_inputs import UNIT, token_inputs

NORMALISATIONS = ("mass", "sum_pt", "none")
DIGIS = "digis"
"""The channel of showers that is the ten samples of each crystal."""


def model_inputs(batch, inputs, drawing=PLAIN):
    """Makes the network's inputs.

    Args:
      batch: padded batch as from `Events.to_batch`; or with ready images in GeV, [n, rows, columns,
        channels], under their names ("barrel") in place of the hits; or with "shower_shapes", [n, 2, shapes],
        as `detector.shower_shapes` makes them. Of the scalars, those that are used. Of showers the batch of
        `Showers.to_batch`, or the image of `dense_shapes` in GeV (and ns).
      inputs: `config.inputs`.
      drawing: how images are drawn; with `drawing.blocks` those below are as `detector.drawing.in_blocks`
        makes them.

    Returns:
      {image: f4[n, rows, columns, channels]}, the images of `detector.images.shapes(inputs.geometry)`, or
        those of `token_inputs.token_inputs`, or {"kinematics": f4[n, 5]}, or
        {"high_level": f4[n, 5 + 2 * len(inputs.shapes)]}; of showers
        {"crop": f4[n, 32, 32, channels]}, {"barrel": ...}, or {"digis": f4[n, 10, 32, 32]}.

    Raises:
      ValueError: `inputs` names what does not exist, or the batch lacks what is needed.
    """
    if inputs.kind not in _INPUTS:
        raise ValueError(f"config.inputs.kind is {inputs.kind!r}; it is one of {', '.join(_INPUTS)}.")
    return _INPUTS[inputs.kind](batch, inputs, drawing)


def _image_inputs(batch, inputs, drawing):
    scale = _by_channel(inputs, "scale")
    threshold = _by_channel(inputs, "threshold")
    # One factor [n, channels]: the large images are multiplied once.
    factor = scale[None, :] / mass_scale(batch, inputs.normalisation)[:, None]
    if drawing.blocks:
        # A block has the channels of its four pixels one after another.
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
    absolute = inputs.normalisation == "none"
    unit = jnp.full(1, UNIT) if absolute else mass_scale(batch, inputs.normalisation)
    return token_inputs(found, unit, channels, resolves_mass=inputs.normalisation != "mass")


def _planes(batch, inputs, channel, drawing):
    """One channel of the raw images in GeV, {image: [n, rows, columns]}."""
    if any(name in batch for name in images.shapes(inputs.geometry)):
        number = tuple(inputs.channels).index(channel)
        return {name: image[..., number] for name, image in _pixels(batch, inputs, PLAIN).items()}
    plain = Drawing(deterministic=drawing.deterministic)
    authors = inputs.get("matches_authors", False)
    made = images.make_images(batch, inputs.geometry, (channel,), authors, plain)
    return {name: image[..., 0] for name, image in made.items()}


def _kinematic_inputs(batch, inputs, drawing):
    _require(batch, ("photons", "mass"), "config.inputs.kind = 'kinematics'")
    return {"kinematics": kinematics(batch["photons"], batch["mass"])}


def _high_level_inputs(batch, inputs, drawing):
    _require(batch, ("photons", "mass"), "config.inputs.kind = 'high_level'")
    shapes = batch["shower_shapes"] if "shower_shapes" in batch else shower_shapes.shower_shapes(batch)
    shapes = standardised_shapes(shapes, inputs)
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
"""What a network can see: `config.inputs.kind` -> function of (batch, inputs)."""


def dense_shapes(inputs):
    """The images that a classifier sees, {name: shape}: {"barrel": (170, 360, channels)}; {} if it sees none.

    Args:
      inputs: `config.inputs`.

    Raises:
      ValueError: its geometry or channels do not exist, or there are none such together.
    """
    channels = tuple(inputs.get("channels", ()))
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


def standardised_shapes(shapes, inputs):
    """Shower shapes as numbers of order one: asinh((value - centre) / width).

    It is linear within a width or so of the centre and logarithmic beyond, as shapes and isolation have long
    tails. The centres and widths are the config's, not the sample's, so that all samples are seen alike.

    Args:
      shapes: f4[n, 2, len(shower_shapes.NAMES)].
      inputs: `config.inputs`; read are `shapes`, the names of those that are wanted, and `standard`,
        {name: (centre, width)}.

    Returns:
      f4[n, 2, len(inputs.shapes)].

    Raises:
      ValueError: a name is no shape, one has no centre and width above 0, or `shapes` are not all there.
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
                f"config.inputs.shapes names {name!r}, but config.inputs.standard has no (centre, width) "
                "with a width above 0 for it."
            )
    wanted = jnp.stack([shapes[..., shower_shapes.NAMES.index(name)] for name in inputs.shapes], axis=-1)
    centre, width = jnp.array([inputs.standard[name] for name in inputs.shapes], jnp.float32).T
    return jnp.arcsinh((wanted - centre[None, None, :]) / width[None, None, :])


def mass_scale(batch, normalisation):
    """What each event's image is divided by, [n] (or [1] where that is nothing), in GeV."""
    if normalisation == "none":
        return jnp.ones(1, jnp.float32)
    if normalisation not in NORMALISATIONS:
        raise ValueError(
            f"config.inputs.normalisation is {normalisation!r}; it is one of {', '.join(NORMALISATIONS)}."
        )
    needed = "mass" if normalisation == "mass" else "photons"
    _require(batch, (needed,), f"config.inputs.normalisation = {normalisation!r}")
    return _positive(batch["mass"] if normalisation == "mass" else jnp.sum(batch["photons"][:, :, 0], axis=1))


def _positive(scale):
    """Ones for zeros: events that only fill up a last batch would spread NaN."""
    return jnp.where(scale > 0, scale, 1.0)


def _pixels(batch, inputs, drawing):
    """The raw images in GeV, {image: [n, rows, columns, channels]}."""
    images.canvases(inputs.geometry)
    names = tuple(images.shapes(inputs.geometry))
    if not any(name in batch for name in names):
        authors = inputs.get("matches_authors", False)
        return images.make_images(batch, inputs.geometry, tuple(inputs.channels), authors, drawing)
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
    """A field's number of each channel, f4[channels]; one number for all stands for each of them."""
    values = inputs[field]
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
