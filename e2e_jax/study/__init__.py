"""The parts of a user's study. The file of a study can import everything that it needs from here.

A `Study` defines a dataset: samples, selection, sizes and the default task. A `Task` defines the classes that
a classifier separates, the signal class, and the observable of which its score must be independent.
"""

from e2e_jax.events.energy import sum_et
from e2e_jax.study.definition import Size, Study
from e2e_jax.study.jet_selection import jets
from e2e_jax.study.observables import Observable
from e2e_jax.study.samples import Era, QuickLook, Sample, decay, files, gun, images, pythia
from e2e_jax.study.selection import Selected, Selection, photons
from e2e_jax.study.task import Task

__all__ = [
    "Era",
    "Observable",
    "QuickLook",
    "Sample",
    "Selected",
    "Selection",
    "Size",
    "Study",
    "Task",
    "decay",
    "files",
    "gun",
    "images",
    "jets",
    "photons",
    "pythia",
    "sum_et",
]
