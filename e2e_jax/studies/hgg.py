"""H -> gamma gamma against Born diphotons and photon+jet: the paper's collisions."""

from e2e_jax.events.diphotons import CLASSES
from e2e_jax.study import Observable, Task

MASS = Observable("mass", "GeV", "Diphoton mass", least=1.0)
"""Two photons above 20 GeV with a mass below 1 GeV are closer than 0.05 rad, about three crystals of the
barrel: they are one cluster."""

TASK = Task(
    signal="h",
    decorrelate="mass",
    of="gamma_gamma",
    titles={"gamma_gamma": "γγ", "h": "H", "gamma_jet": "γ+jet"},
    labels=CLASSES,
    observables=(MASS,),
)
