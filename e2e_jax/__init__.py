"""End-to-end classification of collision events from detector data, in JAX."""

__version__ = "0.1.0"
