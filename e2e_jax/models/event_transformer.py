"""A transformer on the tokens of an event (crystals, tracks and towers) and on features of each pair of them.

shape of a token -> linear, ReLU -> 16 numbers, joined with its other inputs
tokens -> linear, ReLU, linear -> widths[0]
pairs  -> linear, ReLU, linear, ReLU -> widths[1]
2 x (attention with the pairs as bias and as values; two linear layers), each added to the tokens
mean and maximum over the tokens -> hidden layers -> classes
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

SHAPE_WIDTH = 16
LAYERS, HEADS = 2, 4
NEVER_DROPPED = 2
"""The first tokens, which belong to the two photons in most events."""


class PairAttention(nn.Module):
    """Attention between tokens that also uses their pairs: [n, t, w], [n, t, t, p] -> [n, t, w]."""

    @nn.compact
    def __call__(self, x, pairs, filled):
        n, tokens, width = x.shape
        split = (n, tokens, HEADS, width // HEADS)
        query, key, value = (
            nn.Dense(width, name=part)(x).reshape(split) for part in ("query", "key", "value")
        )
        match = jnp.einsum("nthd,nuhd->nhtu", query, key) / jnp.sqrt(jnp.float32(split[3]))
        match = match + nn.Dense(HEADS, name="bias")(pairs).transpose(0, 3, 1, 2)
        weight = nn.softmax(jnp.where(filled[:, None, None, :], match, -1e9), axis=-1)
        of_tokens = jnp.einsum("nhtu,nuhd->nthd", weight, value).reshape(n, tokens, width)
        of_pairs = jnp.einsum("nhtu,ntup->nthp", weight, pairs).reshape(n, tokens, -1)
        return nn.Dense(width, name="out")(of_tokens) + nn.Dense(width, name="out_pairs")(of_pairs)


class EventTransformer(nn.Module):
    """Classifies an event by its tokens and their pairs, independent of the order of the tokens.

    Attributes:
      classes: number of logits.
      widths: features per token (a multiple of `HEADS`) and per pair.
      head: neurons of the hidden layers before the logits.
      dropout: fraction of the tokens that is dropped in training; the first two of each event are kept.
    """

    classes: int = 3
    widths: tuple[int, int] = (48, 16)
    head: tuple[int, ...] = (64,)
    dropout: float = 0.2

    @nn.compact
    def __call__(self, inputs, keys=None):
        """Maps tokens to logits f4[n, classes].

        Args:
          inputs: as `token_inputs.token_inputs` makes them.
          keys: in training, one random key per event, [n]; None drops no tokens.

        Raises:
          ValueError: the heads do not divide the width, or `dropout` is out of range.
        """
        width, pair_width = self.widths
        if width % HEADS:
            raise ValueError(f"config.model.widths is {self.widths}; the first is a multiple of {HEADS}.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"config.model.dropout is {self.dropout}; it is from 0 to below 1.")
        filled = inputs["filled"]
        if keys is not None and self.dropout:
            filled = filled & kept(keys, filled.shape[1], self.dropout)
        shapes = nn.relu(nn.Dense(SHAPE_WIDTH, name="shapes")(inputs["shapes"]))
        x = jnp.concatenate([inputs["tokens"], shapes], axis=-1)
        x = nn.Dense(width, name="tokens1")(nn.relu(nn.Dense(width, name="tokens0")(x)))
        pairs = nn.relu(nn.Dense(pair_width, name="pairs0")(inputs["pairs"]))
        pairs = nn.relu(nn.Dense(pair_width, name="pairs1")(pairs))
        for layer in range(LAYERS):
            y = nn.LayerNorm(name=f"norm{layer}a")(x)
            x = x + PairAttention(name=f"attention{layer}")(y, pairs, filled)
            y = nn.LayerNorm(name=f"norm{layer}b")(x)
            y = nn.relu(nn.Dense(2 * width, name=f"wide{layer}")(y))
            x = x + nn.Dense(width, name=f"narrow{layer}")(y)
        y = summary(nn.LayerNorm(name="norm")(x), filled)
        for layer, neurons in enumerate(self.head):
            y = nn.relu(nn.Dense(neurons, name=f"hidden{layer}")(y))
        return nn.Dense(self.classes, name="head")(y)


def summary(x, filled):
    """Mean and maximum over the filled tokens, [n, t, w] -> [n, 2 w]; zeros for an event without tokens."""
    some = filled[..., None]
    mean = jnp.sum(jnp.where(some, x, 0), axis=1) / jnp.maximum(jnp.sum(some.astype(x.dtype), axis=1), 1)
    largest = jnp.max(jnp.where(some, x, -1e9), axis=1)
    return jnp.concatenate([mean, jnp.where(jnp.any(some, axis=1), largest, 0)], axis=1)


def kept(keys, tokens, dropout):
    """The tokens that are kept in training, bool[n, t]; the first `NEVER_DROPPED` are always kept."""
    drawn = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - dropout, (tokens,)))(keys)
    return drawn | (jnp.arange(tokens) < NEVER_DROPPED)[None, :]
