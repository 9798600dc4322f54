"""Public files of other authors."""
