"""H -> gamma gamma against Born diphotons and photon+jet: the paper's collisions."""

from e2e_jax.events.diphotons import CLASSES
from e2e_jax.study import Observable, Task

MASS = Observable("mass", "GeV", "Diphoton mass")

TASK = Task(signal="h", decorrelate="mass", of="gamma_gamma", labels=CLASSES, observables=(MASS,))
