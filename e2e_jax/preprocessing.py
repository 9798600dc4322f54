"""From a padded batch of hits to what the network sees; pure, and part of the jitted step.

Images: hits -> GeV on the pixels -> zero below the channel's threshold -> times the channel's scale ->
divided by the event's mass scale. Kinematics: five numbers of the two photons that do not grow with the mass.
"""

import jax.numpy as jnp

from e2e_jax.detector import images

NORMALISATIONS = ("mass", "sum_pt", "none")


def model_inputs(batch, inputs):
    """Makes the network's inputs.

    Args:
      batch: padded batch as from `Events.to_batch`; or with ready images in GeV, [n, rows, columns,
        channels], under their names ("barrel") in place of the hits. Of the scalars, those that are used.
      inputs: `config.inputs`.

    Returns:
      {image: f4[n, rows, columns, channels]}, the images of `detector.images.SHAPES[inputs.geometry]`, or
        {"kinematics": f4[n, 5]}.

    Raises:
      ValueError: `inputs` names what does not exist, or the batch lacks what is needed.
    """
    if inputs.kind not in _INPUTS:
        raise ValueError(f"config.inputs.kind is {inputs.kind!r}; it is one of {', '.join(_INPUTS)}.")
    return _INPUTS[inputs.kind](batch, inputs)


def _image_inputs(batch, inputs):
    scale = _by_channel(inputs, "scale")
    threshold = _by_channel(inputs, "threshold")
    # One factor [n, channels]: the large images are multiplied once.
    factor = scale[None, :] / mass_scale(batch, inputs.normalisation)[:, None]
    return {
        name: jnp.where(pixels >= threshold[None, None, None, :], pixels, 0.0) * factor[:, None, None, :]
        for name, pixels in _pixels(batch, inputs).items()
    }


def _kinematic_inputs(batch, inputs):
    _require(batch, ("photons", "mass"), "config.inputs.kind = 'kinematics'")
    return {"kinematics": kinematics(batch["photons"], batch["mass"])}


_INPUTS = {"images": _image_inputs, "kinematics": _kinematic_inputs}
"""What a network can see: `config.inputs.kind` -> function of (batch, inputs)."""


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


def _pixels(batch, inputs):
    """The raw images in GeV, {image: [n, rows, columns, channels]}."""
    images.check_geometry(inputs.geometry)
    names = tuple(images.SHAPES[inputs.geometry])
    if not any(name in batch for name in names):
        authors = inputs.get("matches_authors", False)
        return images.make_images(batch, inputs.geometry, tuple(inputs.channels), authors)
    _require(batch, names, f"config.inputs.geometry = {inputs.geometry!r}")
    pixels = {name: jnp.asarray(batch[name], jnp.float32) for name in names}
    for name, image in pixels.items():
        if image.shape[-1] != len(inputs.channels):
            raise ValueError(
                f"The {name!r} image has {image.shape[-1]} channels, but this classifier sees "
                f"{len(inputs.channels)}: {', '.join(inputs.channels)}. Pass those channels, in that order."
            )
    return pixels


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
