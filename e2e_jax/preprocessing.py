"""From a padded batch of hits to what the network sees; pure, and part of the jitted step.

Images: hits -> GeV on the pixels -> zero below a threshold -> times the channel's scale -> divided by the
event's mass scale. Kinematics: five numbers of the two photons that do not grow with the mass.
"""

import jax.numpy as jnp

from e2e_jax.detector import images

NORMALISATIONS = ("mass", "sum_pt", "none")
KINDS = ("images", "kinematics")


def model_inputs(batch, inputs):
    """Makes the network's inputs.

    Args:
      batch: padded batch as from `Events.to_batch`; or with a ready image in GeV, [n, rows, columns,
        channels], under the geometry's name in place of the hits. Of the scalars, those that are used.
      inputs: `config.inputs`.

    Returns:
      {geometry: f4[n, rows, columns, channels]} for images, {"kinematics": f4[n, 5]} for kinematics.

    Raises:
      ValueError: `inputs` names what does not exist, or the batch lacks what is needed.
    """
    if inputs.kind == "kinematics":
        _require(batch, ("photons", "mass"), "config.inputs.kind = 'kinematics'")
        return {"kinematics": kinematics(batch["photons"], batch["mass"])}
    if inputs.kind != "images":
        raise ValueError(f"config.inputs.kind is {inputs.kind!r}; it is one of {', '.join(KINDS)}.")
    pixels = _pixels(batch, inputs)
    pixels = jnp.where(pixels >= inputs.threshold, pixels, 0.0)
    scale = jnp.array([_channel_scale(inputs, channel) for channel in inputs.channels], jnp.float32)
    # One factor [n, channels]: the large image is multiplied once.
    factor = scale[None, :] / mass_scale(batch, inputs.normalisation)[:, None]
    return {inputs.geometry: pixels * factor[:, None, None, :]}


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
    """The raw images in GeV, [n, rows, columns, channels]."""
    if inputs.geometry in batch:
        pixels = jnp.asarray(batch[inputs.geometry])
        if pixels.shape[-1] != len(inputs.channels):
            raise ValueError(
                f"The {inputs.geometry!r} image has {pixels.shape[-1]} channels, but this classifier sees "
                f"{len(inputs.channels)}: {', '.join(inputs.channels)}. Pass those channels, in that order."
            )
        return pixels.astype(jnp.float32)
    return images.make_images(batch, geometry=inputs.geometry, channels=tuple(inputs.channels))[
        inputs.geometry
    ]


def _channel_scale(inputs, channel):
    if channel not in inputs.scale:
        raise ValueError(
            f"config.inputs.channels names {channel!r}, but config.inputs.scale has no factor for it, only "
            f"for {', '.join(inputs.scale)}."
        )
    return inputs.scale[channel]


def _require(batch, names, why):
    for name in names:
        if name not in batch:
            raise ValueError(f"The batch has no {name!r}, which {why} needs; it has: {', '.join(batch)}.")
