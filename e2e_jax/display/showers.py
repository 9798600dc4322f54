"""The crystals hit by the photons of an event, which pictures mark."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from e2e_jax.detector import geometry
from e2e_jax.events.diphotons import Events, leading

ETA_WINDOW = 0.15
"""A photon's eta is measured from its vertex, a crystal's from the origin. A vertex shifted by 18 cm along
the beam (three widths of the beam spot) shifts the shower by 18 / 129 = 0.14 at the barrel radius, 129 cm."""
PHI_WINDOW = 0.1
"""Window in phi for the seed of a shower, in rad; conversions spread the energy in phi."""


class Shower(NamedTuple):
    """A photon and the central crystal of its shower.

    Attributes:
      pt, eta, phi: the reconstructed photon, from its vertex; GeV, rad.
      collection: "eb" or "ee", the collection of the crystal; "" if the photon hit neither.
      cell: the crystal, as in `detector.geometry`: the most energetic one near the photon's direction, or the
        one in this direction if none has energy; -1 if there is no crystal.
    """

    pt: float
    eta: float
    phi: float
    collection: str
    cell: int


def find_showers(events: Events, index: int) -> list[Shower]:
    """The showers of an event's photons, in the order of the photons.

    Photons with pT = 0 mark photons missing in the source and are left out.

    Args:
      events: the events.
      index: index of the event.
    """
    showers = []
    for pt, eta, phi in leading(events.photons[[index]])[0].astype(np.float64):
        if pt <= 0:
            continue
        lit, pointed = [], []
        for collection in ("eb", "ee"):
            distance = _distance(*crystal_directions(collection), eta, phi)
            hits = getattr(events, collection).event(index)
            energy = np.where(distance[hits["cell"]] < 1, hits["energy"], 0)
            if energy.max(initial=0) > 0:
                lit.append((energy.max(), collection, hits["cell"][energy.argmax()]))
            if distance.min() < 1:
                pointed.append((-distance.min(), collection, distance.argmin()))
        _, collection, cell = max(lit or pointed or [(0, "", -1)])
        showers.append(Shower(float(pt), float(eta), float(phi), collection, int(cell)))
    return showers


def _distance(eta: np.ndarray, phi: np.ndarray, eta0: float, phi0: float) -> np.ndarray:
    """Distance of directions from a given one, in units of the window; below 1 is inside."""
    across = geometry.delta_phi(phi, phi0)
    return np.maximum(abs(eta - eta0) / ETA_WINDOW, abs(across) / PHI_WINDOW)


@functools.cache
def crystal_directions(collection: str) -> tuple[np.ndarray, np.ndarray]:
    """(eta, phi) of each cell of "eb" or "ee"; eta is infinite for cells without crystal."""
    if collection == "eb":
        row, column = np.divmod(np.arange(geometry.EB_CELLS), geometry.EB_COLUMNS)
        return geometry.eb_eta_centres()[row], geometry.eb_phi_centres()[column]
    crystals = geometry.ee_crystals()
    eta, phi = np.full(geometry.EE_CELLS, np.inf), np.zeros(geometry.EE_CELLS)
    eta[crystals.cell], phi[crystals.cell] = crystals.eta, crystals.phi
    return eta, phi
