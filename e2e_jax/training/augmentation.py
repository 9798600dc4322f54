"""Random symmetries of the training events, drawn inside the compiled step; see `detector.symmetries`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from e2e_jax.detector.symmetries import TURNS, Symmetry, step_of_turn, transform

AUGMENTATIONS = ("rotation", "reflection", "mirror")
"""Rotation in phi; eta -> -eta; phi -> -phi, which in the magnetic field also exchanges all charges."""


def check_augmentations(names: Sequence[str]) -> None:
    """Raises a ValueError where there is no augmentation of a name."""
    for name in names:
        if name not in AUGMENTATIONS:
            raise ValueError(f"There is no augmentation {name!r}; there are {', '.join(AUGMENTATIONS)}.")


def augment(batch: Mapping, keys: jax.Array, names: Sequence[str], geometry_name: str) -> dict:
    """The batch with a symmetry drawn for each event.

    Args:
      batch: padded or flat batch of hits, see `layout.Layout`.
      keys: one random key an event, `[n]`.
      names: some of `AUGMENTATIONS`; with none the batch stays as it is.
      geometry_name: of the images; all but "barrel" are rotated by quarter turns only.

    Raises:
      ValueError: there is no such augmentation, or the batch holds no hits of `transform`.
    """
    check_augmentations(names)
    if not names:
        return dict(batch)
    step = step_of_turn(geometry_name)

    def draw(key):
        turn, reflected, mirrored = jax.random.split(key, 3)
        return Symmetry(
            jax.random.randint(turn, (), 0, TURNS // step) * step,
            jax.random.bernoulli(reflected),
            jax.random.bernoulli(mirrored),
        )

    drawn = jax.vmap(draw)(keys)
    kept = [jnp.where(name in names, values, 0) for name, values in zip(AUGMENTATIONS, drawn)]
    return transform(batch, Symmetry(kept[0], kept[1].astype(bool), kept[2].astype(bool)))
