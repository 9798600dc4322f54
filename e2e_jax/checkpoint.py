"""The documented way to load a trained classifier: `load_classifier`."""

from e2e_jax.inference.loading import load_classifier

__all__ = ["load_classifier"]
