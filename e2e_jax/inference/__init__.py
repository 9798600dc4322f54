"""Inference: uses of a trained classifier."""
