"""Random symmetry transformations of training events, inside the compiled step; see `detector.symmetries`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from e2e_jax.detector.symmetries import TURNS, Symmetry, step_of_turn, transform

AUGMENTATIONS = ("rotation", "reflection", "mirror")
"""Rotation in phi; eta -> -eta; phi -> -phi, which in the magnetic field also exchanges all charges."""


def check_augmentations(names: Sequence[str]) -> None:
    """Raises a ValueError for an unknown augmentation."""
    for name in names:
        if name not in AUGMENTATIONS:
            raise ValueError(f"There is no augmentation {name!r}; there are {', '.join(AUGMENTATIONS)}.")


def augment(batch: Mapping, keys: jax.Array, names: Sequence[str], geometry_name: str) -> dict:
    """The batch with a random symmetry transformation of each event.

    Args:
      batch: padded or flat batch of hits, see `layout.Layout`.
      keys: one random key per event, `[n]`.
      names: names from `AUGMENTATIONS`; without names the batch is unchanged.
      geometry_name: geometry of the images; all except "barrel" are rotated by quarter turns only.

    Raises:
      ValueError: an augmentation is unknown, or the batch has no hits for `transform`.
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
