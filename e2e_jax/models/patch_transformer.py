"""A small vision transformer on the brightest patches of an image, for crops and jets.

pixels of a patch -> signed logarithm -> linear -> width, plus a position vector
2 x (attention between the patches; two linear layers), each added to the patches
mean and maximum over the patches -> hidden layers -> classes

Most pixels of a detector image are empty, so the patches with the largest sums represent the image. Their
number limits the time of a step, independent of the image size.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from e2e_jax.models.event_transformer import kept, summary
from e2e_jax.models.fcn import Linear, hidden_layers

LAYERS, HEADS = 2, 4
PLACE_SCALE = 0.02
"""Standard deviation of the initial position vectors."""


class PatchTransformer(nn.Module):
    """Classifies an image by its brightest patches.

    With crops of 1 channel and 2 classes: 80,642 parameters.

    Attributes:
      classes: number of logits.
      image: name of the image among the inputs.
      widths: features per patch, a multiple of `HEADS`.
      patches: side of a patch in pixels, and maximum number of patches.
      head: neurons of the hidden layers before the logits.
      dropout: fraction of those neurons and of the patches that is dropped in training; the two brightest
        patches are kept.
    """

    classes: int = 2
    image: str = "crop"
    widths: tuple[int, ...] = (64,)
    patches: tuple[int, int] = (4, 32)
    head: tuple[int, ...] = (64,)
    dropout: float = 0.2

    @nn.compact
    def __call__(self, inputs, keys=None):
        """Maps {image: f4[n, rows, columns, channels]} to logits f4[n, classes].

        Args:
          inputs: the images.
          keys: in training, one random key per event for dropout, [n]; None disables dropout.

        Raises:
          ValueError: the images have a wrong number of axes, or the heads do not divide the width.
        """
        width = self.widths[0]
        if width % HEADS:
            raise ValueError(f"config.model.widths is {self.widths}; the first is a multiple of {HEADS}.")
        side, most = self.patches
        pixels = cut(inputs[self.image], side)
        places = self.param("places", nn.initializers.normal(PLACE_SCALE), (pixels.shape[1], width))
        strength = jnp.sum(jnp.abs(pixels), axis=2)
        strongest, index = jax.lax.top_k(strength, min(most, pixels.shape[1]))
        filled = strongest > 0
        if keys is not None and self.dropout:
            filled = filled & kept(keys, filled.shape[1], self.dropout)
        pixels = jnp.take_along_axis(pixels, index[:, :, None], axis=1)
        x = nn.Dense(width, name="pixels")(jnp.sign(pixels) * jnp.log1p(jnp.abs(pixels))) + places[index]
        for layer in range(LAYERS):
            y = nn.LayerNorm(name=f"norm{layer}a")(x)
            attention = nn.MultiHeadDotProductAttention(HEADS, name=f"attention{layer}")
            x = x + attention(y, mask=filled[:, None, None, :])
            y = nn.LayerNorm(name=f"norm{layer}b")(x)
            y = nn.relu(nn.Dense(2 * width, name=f"wide{layer}")(y))
            x = x + nn.Dense(width, name=f"narrow{layer}")(y)
        x = summary(nn.LayerNorm(name="norm")(x), filled)
        return Linear(self.classes, name="head")(hidden_layers(x, self.head, self.dropout, keys))


def cut(image, side):
    """The patches of images: f4[n, rows, columns, c] -> f4[n, patches, side * side * c], row by row.

    If the rows or columns are not a multiple of the side, the image is padded with zeros at the end.
    """
    if image.ndim != 4:
        raise ValueError(
            f"The images have shape {tuple(image.shape)}, but the patch transformer takes [events, rows, "
            "columns, channels]."
        )
    n, rows, columns, channels = image.shape
    down, across = -(-rows // side), -(-columns // side)
    image = jnp.pad(image, ((0, 0), (0, down * side - rows), (0, across * side - columns), (0, 0)))
    patches = image.reshape(n, down, side, across, side, channels).transpose(0, 1, 3, 2, 4, 5)
    return patches.reshape(n, down * across, side * side * channels)
