"""Penalties on the dependence of the score on an observable."""
