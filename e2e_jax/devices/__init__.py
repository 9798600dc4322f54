"""Devices: parallel steps, in one process or several, and placement of the sample."""
