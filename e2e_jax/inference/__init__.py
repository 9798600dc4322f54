"""Inference: what a trained classifier is used for."""
