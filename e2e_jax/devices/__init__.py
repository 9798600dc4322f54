"""Devices: a step over all of them, in one process or several, and where the sample lies."""
