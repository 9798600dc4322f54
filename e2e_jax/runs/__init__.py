"""Runs: the folder of a training, its checkpoints and its provenance."""
