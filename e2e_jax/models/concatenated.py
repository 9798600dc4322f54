"""Several ResNet-15 in parallel, one per image: the paper's classifiers of barrel and endcaps.

Each image has its own network, up to the maximum of its last 32 maps. A fully connected head takes the
concatenated maxima (arXiv:1807.11916, Section 5.1: ECAL and CMS-I use the barrel and both endcaps). The paper
does not describe the head; this one is from its authors' public code: 96 -> 128 -> 128 -> 128 -> classes with
ReLU and dropout 0.2 after each hidden layer.
"""

import flax.linen as nn
import jax.numpy as jnp

from e2e_jax.models.fcn import Linear, hidden_layers
from e2e_jax.models.resnet import ResNetFeatures


class ConcatenatedResNet15(nn.Module):
    """A ResNet-15 per image, each with its own weights, and a head on all features.

    With the barrel, both endcaps and 3 classes: 299,747 parameters for 1 channel, 304,451 for 3 channels.

    Attributes:
      images: names of the images among the inputs, in the order in which their features are concatenated.
      classes: number of logits.
      widths: maps of each ResNet before and after its downsampling block.
      head: neurons of the head's hidden layers.
      dropout: fraction of them that is dropped in training.
      channels: required number of input channels; None accepts that of the first image.
      precision: precision of the ResNets' activations and convolutions, one of `resnet.PRECISIONS`.
      features: the module that computes a ResNet's features, see `resnet.ResNet15`.
      closed: whether the barrel image is periodic in phi; endcap images never are.
    """

    images: tuple[str, ...] = ("barrel", "endcap_minus", "endcap_plus")
    classes: int = 3
    widths: tuple[int, int] = (16, 32)
    head: tuple[int, ...] = (128, 128, 128)
    dropout: float = 0.2
    channels: int | None = None
    precision: str = "float32"
    features: type[ResNetFeatures] = ResNetFeatures
    closed: bool = False

    @nn.compact
    def __call__(self, inputs, keys=None):
        """Maps the images to logits.

        Args:
          inputs: {image: f4[n, rows, columns, channels]} for all `images`.
          keys: in training, one random key per event for dropout, [n]; None disables dropout.

        Returns:
          f4[n, classes].

        Raises:
          ValueError: an image is missing or has a shape that a ResNet-15 does not accept.
        """
        if missing := [name for name in self.images if name not in inputs]:
            raise ValueError(
                f"The network takes the images {', '.join(self.images)}, but its inputs lack "
                f"{', '.join(missing)}: take both from one config.inputs.geometry."
            )
        sizes = self.widths, self.channels, self.precision
        features = [
            self.features(*sizes, closed=self.closed and name == "barrel", name=f"features_{name}")(
                inputs[name]
            )
            for name in self.images
        ]
        x = hidden_layers(jnp.concatenate(features, axis=1), self.head, self.dropout, keys)
        return Linear(self.classes, name="head")(x)
