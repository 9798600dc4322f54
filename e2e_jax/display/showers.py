"""Which crystals the photons of an event lit: where a picture marks them."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from e2e_jax.detector import geometry
from e2e_jax.events.diphotons import Events, leading

ETA_WINDOW = 0.15
"""A photon's eta is seen from its vertex, a crystal's from the origin. A vertex 18 cm off along the beam,
three widths of the beam spot, shifts the shower by 18 / 129 = 0.14 at the barrel's radius of 129 cm."""
PHI_WINDOW = 0.1
"""Conversions spread the energy in phi; the seed of the shower stays within this, in rad."""


class Shower(NamedTuple):
    """A photon and the crystal at the heart of its shower.

    Attributes:
      pt, eta, phi: the photon as reconstructed, from its vertex; GeV, rad.
      collection: "eb" or "ee", where the crystal is; "" where the photon hit neither.
      cell: the crystal, as in `detector.geometry`: the most energetic one near the photon's direction, or
        the one it points to where none has energy; -1 where there is none.
    """

    pt: float
    eta: float
    phi: float
    collection: str
    cell: int


def find_showers(events: Events, index: int) -> list[Shower]:
    """The showers of an event's photons, in their order.

    Photons with pT = 0, which stand for those that the source did not have, are left out.

    Args:
      events: any events.
      index: which of them.
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
    """How far directions lie from one, in windows: below 1 is inside."""
    across = geometry.delta_phi(phi, phi0)
    return np.maximum(abs(eta - eta0) / ETA_WINDOW, abs(across) / PHI_WINDOW)


@functools.cache
def crystal_directions(collection: str) -> tuple[np.ndarray, np.ndarray]:
    """(eta, phi) of each cell of "eb" or "ee"; eta is infinite where a cell has no crystal."""
    if collection == "eb":
        row, column = np.divmod(np.arange(geometry.EB_CELLS), geometry.EB_COLUMNS)
        return geometry.eb_eta_centres()[row], geometry.eb_phi_centres()[column]
    crystals = geometry.ee_crystals()
    eta, phi = np.full(geometry.EE_CELLS, np.inf), np.zeros(geometry.EE_CELLS)
    eta[crystals.cell], phi[crystals.cell] = crystals.eta, crystals.phi
    return eta, phi
