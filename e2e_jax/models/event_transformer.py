"""A transformer of the tokens of an event: its crystals, tracks and towers, and what each pair of them makes.

tokens -> linear -> ReLU -> linear -> width
pairs  -> linear -> ReLU -> linear -> pair width
layers x (attention with the pairs as bias and as values; two linear layers), each added to the tokens
mean and maximum over the tokens -> hidden layer -> classes
"""

import flax.linen as nn
import jax.numpy as jnp


class PairAttention(nn.Module):
    """Attention between tokens that also sees their pairs: [n, t, w], [n, t, t, p] -> [n, t, w].

    Attributes:
      heads: of the attention; they divide w.
    """

    heads: int

    @nn.compact
    def __call__(self, x, pairs, filled):
        n, tokens, width = x.shape
        split = (n, tokens, self.heads, width // self.heads)
        query, key, value = (
            nn.Dense(width, name=name)(x).reshape(split) for name in ("query", "key", "value")
        )
        logits = jnp.einsum("nthd,nuhd->nhtu", query, key) / jnp.sqrt(jnp.float32(split[3]))
        logits = logits + nn.Dense(self.heads, name="bias")(pairs).transpose(0, 3, 1, 2)
        weight = nn.softmax(jnp.where(filled[:, None, None, :], logits, -1e9), axis=-1)
        of_tokens = jnp.einsum("nhtu,nuhd->nthd", weight, value).reshape(n, tokens, width)
        of_pairs = jnp.einsum("nhtu,ntup->nthp", weight, pairs).reshape(n, tokens, -1)
        return nn.Dense(width, name="out")(of_tokens) + nn.Dense(width, name="out_pairs")(of_pairs)


class EventTransformer(nn.Module):
    """Classifies an event by its tokens and their pairs.

    Attributes:
      classes: number of logits.
      width: numbers of a token between the layers.
      layers: of attention.
      heads: of each.
      pair_width: numbers of a pair.
      head: neurons of the hidden layers before the logits.
    """

    classes: int = 3
    width: int = 48
    layers: int = 2
    heads: int = 4
    pair_width: int = 16
    head: tuple[int, ...] = (64,)

    @nn.compact
    def __call__(self, inputs, keys=None):
        """Maps {"tokens": f4[n, t, i], "pairs": f4[n, t, t, p], "filled": bool[n, t]} to logits [n, classes]."""
        filled = inputs["filled"]
        x = nn.Dense(self.width, name="tokens1")(
            nn.relu(nn.Dense(self.width, name="tokens0")(inputs["tokens"]))
        )
        pairs = nn.relu(nn.Dense(self.pair_width, name="pairs0")(inputs["pairs"]))
        pairs = nn.relu(nn.Dense(self.pair_width, name="pairs1")(pairs))
        for layer in range(self.layers):
            attention = PairAttention(self.heads, name=f"attention{layer}")
            x = x + attention(nn.LayerNorm(name=f"norm{layer}a")(x), pairs, filled)
            y = nn.relu(nn.Dense(2 * self.width, name=f"wide{layer}")(nn.LayerNorm(name=f"norm{layer}b")(x)))
            x = x + nn.Dense(self.width, name=f"narrow{layer}")(y)
        x = nn.LayerNorm(name="norm")(x)
        some = filled[..., None]
        mean = jnp.sum(jnp.where(some, x, 0), axis=1) / jnp.maximum(jnp.sum(some, axis=1), 1)
        largest = jnp.max(jnp.where(some, x, -1e9), axis=1)
        # An event without tokens has no maximum.
        y = jnp.concatenate([mean, jnp.where(jnp.any(some, axis=1), largest, 0)], axis=1)
        for number, width in enumerate(self.head):
            y = nn.relu(nn.Dense(width, name=f"hidden{number}")(y))
        return nn.Dense(self.classes, name="head")(y)
