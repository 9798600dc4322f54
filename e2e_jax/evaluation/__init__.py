"""Evaluation: metrics with uncertainties, results.json, and the published numbers."""
