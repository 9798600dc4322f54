"""The jets of simulated collisions: clustering, selection and labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from e2e_jax.errors import StudyError
from e2e_jax.events.diphotons import Events
from e2e_jax.study.observables import Observable
from e2e_jax.study.selection import Selected, Selection, keep_all

PT = Observable("pt", "GeV", "Jet pT")
MASS = Observable("m0", "GeV", "Jet mass")

OBSERVABLES = (
    PT,
    MASS,
    Observable("eta", "", "Jet pseudorapidity"),
    Observable("multiplicity", "", "Constituents"),
    Observable("width", "", "Jet width"),
    Observable("ptd", "", "pT dispersion"),
)
"""Observables of simulated jets. Width: sum of pT times distance from the axis, over the sum of pT.
Dispersion: root of the sum of pT squared, over the sum of pT."""


@dataclasses.dataclass(frozen=True)
class Jets:
    """The function of `jets`; attributes as there."""

    pt: float
    abs_eta: float
    radius: float
    partons: Mapping[str, tuple[int, ...]]
    distance: float

    def check(self, labels: Sequence[str]) -> None:
        """Raise a StudyError if a label has no partons."""
        for label in labels:
            if not self.partons.get(label):
                raise StudyError(
                    f"jets(partons=...) names no partons for the label {label!r}: give PDG numbers, such as "
                    f"partons={{{label!r}: (21,)}}."
                )

    def accepted(self, pt: np.ndarray, eta: np.ndarray) -> np.ndarray:
        """Whether each jet passes the cuts, bool `[n]`."""
        return (pt > self.pt) & (abs(eta) < self.abs_eta)

    def __call__(self, events: Events) -> Selected:
        """Keep every collision: the cuts apply to its jets, see `sources.simulation.jets`."""
        nothing = np.zeros(len(events), np.float32)
        return Selected(np.ones(len(events), bool), {o.name: nothing for o in OBSERVABLES})


def jets(
    partons: Mapping[str, Sequence[int]],
    pt: float = 70.0,
    abs_eta: float = 1.8,
    radius: float = 0.5,
    distance: float = 0.4,
) -> Selection:
    """The selection of jets. The study then has one event per selected jet.

    Jets are anti-kT jets of tracks and towers. A jet is kept if the nearest of the two outgoing partons of
    the hard process is within `distance` and belongs to `partons` of the label of the sample.

    Args:
      partons: label -> absolute PDG numbers of its partons, such as {"gluon": (21,)}.
      pt: minimum transverse momentum of a jet in GeV.
      abs_eta: maximum abs(eta) of a jet.
      radius: radius of the anti-kT algorithm.
      distance: maximum distance in (eta, phi) between jet and parton.

    Raises:
      StudyError: an argument is invalid.
    """
    if not (pt > 0 and abs_eta > 0 and radius > 0 and distance > 0):
        raise StudyError(
            f"jets(pt={pt}, abs_eta={abs_eta}, radius={radius}, distance={distance}) selects no jet."
        )
    named = {label: tuple(abs(int(code)) for code in codes) for label, codes in partons.items()}
    function = Jets(float(pt), float(abs_eta), float(radius), named, float(distance))
    return Selection(function, OBSERVABLES, settings={"jets": dataclasses.asdict(function)}, events="jets")


def every_jet(observables: Sequence[Observable] = (PT, MASS)) -> Selection:
    """The selection of jets in public files: all are kept, with the given observables."""
    return Selection(keep_all, observables, settings={"jets": "every"}, events="jets")
