"""The hits of an event as cells, with position in (eta, phi) and in space, and size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from e2e_jax.detector import geometry
from e2e_jax.events.diphotons import Events

EB_RADIUS = 129.0
"""Front face of the ECAL barrel in cm (CMS, JINST 3 (2008) S08004, section 4)."""
HB_RADIUS, HE_Z = 177.0, 388.0
"""Front faces of the HCAL barrel and endcap in cm (ibid., section 5, and the CMS HCAL TDR)."""
EE_Z, EE_RADIUS = 322.0, 153.0
"""Start of the ECAL endcap crystals along the beam, and their outer radius; in cm, rounded."""
HB_RINGS = 16
"""Rings of towers on each side of eta = 0 that are drawn on the HCAL barrel."""
Gradients = Mapping[str, np.ndarray]
"""Gradients of a probability with respect to the hits of one event, in 1/GeV, from `inference.saliency`."""


class Cells(NamedTuple):
    """The hits of one event in one detector, or its tracks.

    Attributes:
      layer: a key of `LAYERS`.
      eta, phi: centers `[n]`.
      width: `[n, 2]`, extent in eta and phi; 0 for tracks.
      start: `[n, 3]`, start point in space, in cm.
      strength: energy or transverse momentum in GeV, `[n]`.
      gradient: `[n]`, in 1/GeV, or None.
    """

    layer: str
    eta: np.ndarray
    phi: np.ndarray
    width: np.ndarray
    start: np.ndarray
    strength: np.ndarray
    gradient: np.ndarray | None


def cells(events: Events, index: int, gradients: Gradients | None = None) -> list[Cells]:
    """The cells of an event: HCAL towers, ECAL crystals of barrel and endcaps, tracks.

    Args:
      events: the events.
      index: index of the event.
      gradients: gradients of this event's hits.
    """
    known = gradients or {}
    hits = {name: getattr(events, name).event(index) for name in ("hcal", "eb", "ee", "tracks")}
    # The depths of a tower become one cell with their summed energy and the mean of their equal gradients.
    towers, of = np.unique(hits["hcal"]["cell"] % geometry.HCAL_TOWERS, return_inverse=True)
    energy = {"hcal": np.bincount(of, hits["hcal"]["energy"], len(towers))}
    energy |= {name: hits[name]["energy"] for name in ("eb", "ee")}
    gradient = {name: known.get(name) for name in hits}
    if gradient["hcal"] is not None:
        gradient["hcal"] = np.bincount(of, gradient["hcal"], len(towers)) / np.bincount(
            of, minlength=len(towers)
        )
    made = []
    for name, where in (("hcal", towers), ("eb", hits["eb"]["cell"]), ("ee", hits["ee"]["cell"])):
        layer = "hcal" if name == "hcal" else "ecal"
        made.append(Cells(layer, *PLACES[name](where.astype(np.int64)), energy[name], gradient[name]))
    tracks = hits["tracks"]
    nothing = np.zeros((len(tracks["pt"]), 3))
    place = tracks["eta"], geometry.delta_phi(tracks["phi"], 0), nothing[:, :2], nothing
    return [*made, Cells("tracks", *place, tracks["pt"], gradient["tracks"])]


def _barrel(cell):
    row, column = np.divmod(cell, geometry.EB_COLUMNS)
    eta, phi = geometry.eb_eta_centres()[row], geometry.eb_phi_centres()[column]
    height = np.diff(geometry.eb_eta_edges())[row]
    width = np.stack([height, np.full(len(row), 2 * np.pi / geometry.EB_COLUMNS)], axis=1)
    return eta, phi, width, on_cylinder(eta, phi, EB_RADIUS)


def _endcap(cell):
    crystals = geometry.ee_crystals()
    place = np.searchsorted(crystals.cell, cell)
    start = np.stack([crystals.x, crystals.y, crystals.z], axis=1)[place]
    radius = np.hypot(start[:, 0], start[:, 1])
    distance = np.linalg.norm(start, axis=1)
    pitch = np.ptp(crystals.x) / (geometry.EE_SIDE - 1)
    width = pitch / radius[:, None] * np.stack([abs(start[:, 2]) / distance, np.ones(len(cell))], axis=1)
    return crystals.eta[place], crystals.phi[place], width, start


def _towers(tower):
    ieta, iphi, _ = geometry.hcal_coordinates(tower)
    edges, ring = np.array(geometry.HCAL_ETA_EDGES), abs(ieta)
    eta = np.sign(ieta) * (edges[ring] + edges[ring - 1]) / 2
    columns = np.where(ring > geometry.HCAL_LAST_NARROW, 2, 1)
    step = 2 * np.pi / geometry.HCAL_COLUMNS
    phi = geometry.delta_phi(step * (iphi - 1 + columns / 2), 0)
    width = np.stack([edges[ring] - edges[ring - 1], columns * step], axis=1)
    on_disc = directions(eta, phi) * (HE_Z / abs(np.tanh(eta)))[:, None]
    return eta, phi, width, np.where(ring[:, None] > HB_RINGS, on_disc, on_cylinder(eta, phi, HB_RADIUS))


PLACES = {"hcal": _towers, "eb": _barrel, "ee": _endcap}
"""Cells -> eta, phi, width and start, as in `Cells`."""


def directions(eta: np.ndarray, phi: np.ndarray) -> np.ndarray:
    """Unit vectors `[n, 3]`."""
    return np.stack([np.cos(phi), np.sin(phi), np.sinh(eta)], axis=1) / np.cosh(eta)[:, None]


def on_cylinder(eta: np.ndarray, phi: np.ndarray, radius: float) -> np.ndarray:
    """Intersections of directions from the origin with a cylinder around the beam, `[n, 3]`."""
    return directions(eta, phi) * (radius * np.cosh(eta))[:, None]
