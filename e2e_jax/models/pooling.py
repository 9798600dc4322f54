"""Max-pooling of 2x2 pixels."""

import flax.linen as nn


def max_pool(x):
    """Maximum of each 2x2 square, an odd last row or column dropped: [n, h, w, c] -> [n, h//2, w//2, c]."""
    return nn.max_pool(x, (2, 2), strides=(2, 2))
