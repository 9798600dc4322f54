"""The documented way to load a trained classifier: `load_classifier`."""

from e2e_jax.runs.checkpoints import load_classifier

__all__ = ["load_classifier"]
