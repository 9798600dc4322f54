"""Electron against photon showers in the ECAL barrel."""

from e2e_jax.events.showers import Showers
from e2e_jax.study import Task

TASK = Task(signal="electron", efficiencies=(50, 70, 90), labels=Showers.CLASSES, events="showers")
