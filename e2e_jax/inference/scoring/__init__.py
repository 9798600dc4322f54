"""Scores files of events: probabilities and observables per event, in a Parquet or ROOT file."""
