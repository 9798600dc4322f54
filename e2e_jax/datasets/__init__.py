"""Datasets: how events are stored, read and put into batches."""
