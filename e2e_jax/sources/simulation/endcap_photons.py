"""Photons from the hits of the ECAL endcaps: 5x5 clusters, superclusters, energy and direction.

The algorithm follows CMS (CMSSW, `multi5x5BasicClusters` and `multi5x5SuperClusters`). A cluster has the 5x5
crystals around a local maximum; each crystal is in one cluster. A supercluster collects the clusters in a
window along phi, where bremsstrahlung and conversions spread the energy. CMS adds the energy measured by the
preshower, which is not simulated; the energy correction compensates for it on average.
"""

from __future__ import annotations

import functools

import numpy as np

from e2e_jax.detector import geometry
from e2e_jax.events.base import Ragged
from e2e_jax.sources.simulation.endcap import FOCUS
from e2e_jax.sources.simulation.endcap_readout import directions, place
from e2e_jax.sources.simulation.photons import (
    POSITION_WEIGHT,
    RADIATION_LENGTH,
    by_rank,
    chosen_photons,
    turns,
)
from e2e_jax.sources.simulation.shapes import endcap_shapes, endcap_windows, log_weights
from e2e_jax.sources.simulation.showers import PRESHOWER_ETA

CLUSTER_ET = 0.25
"""GeV, minimum transverse energy of the seed crystal of a cluster."""
SUPERCLUSTER_ET = 1.0
"""GeV, minimum transverse energy of the leading cluster of a supercluster."""
ROAD_ETA, ROAD_PHI = 0.05, 0.2
"""Half-widths of the window in which a supercluster collects clusters. CMS uses a wider one, which collects
more pile-up, and corrects for it."""
DEPTH_OFFSET, DEPTH_OFFSET_PRESHOWER = 7.4, 5.4
"""The shower's depth in the crystals is RADIATION_LENGTH (offset + ln E/GeV).

The offset is that of the barrel; behind the preshower it is two radiation lengths less. With these values the
median direction of the simulated photons is right to 0.001 in eta.
"""
HCAL_CONE = 0.15
"""Distance in (eta, phi) up to which HCAL energy counts as behind a photon."""

CORRECTION_ETA = (1.51, 1.56, 1.61, 1.66, 2.5)
UNCONVERTED_CORRECTION = (1.100, 1.049, 1.032, 1.039, 1.036)
CONVERTED_CORRECTION = (1.150, 1.047, 1.027, 1.041, 1.036)
"""Factors on the energy at these abs(eta), interpolated linearly, that put the peak at the true energy.

Medians over this simulation's own photons from Higgs bosons (tracker material, 20 pile-up collisions). They
show the edge of the endcap and the preshower.
"""


def clusters(hits: Ragged) -> Ragged:
    """Group the hits of each event into clusters, and these into superclusters.

    Args:
      hits: `cell` and `energy` in GeV, ECAL endcaps, in the order of the cells.

    Returns:
      Clusters in falling order of their seed's transverse energy: `seed_cell` (uint16), `energy` (GeV,
      float32, of the 5x5 crystals that are in no earlier cluster) and `supercluster` (int64, index in the
      event of the leading cluster of its supercluster, its own index for a leader; -1 without supercluster).
    """
    side, row, column = place(hits.cell)
    image = np.zeros((len(hits), 2, geometry.EE_SIDE + 4, geometry.EE_SIDE + 4), np.float32)
    image[hits.event_index, side, row + 2, column + 2] = hits.energy
    seed, rank = _ranked_seeds(image, hits)
    event = hits.event_index[seed]
    corner = np.ravel_multi_index((event, side[seed], row[seed], column[seed]), image.shape)
    step = np.arange(5)
    window = corner[:, None] + (step[:, None] * image.shape[3] + step).ravel()
    energy = np.zeros(len(seed), np.float32)
    flat = image.reshape(-1)
    for turn in turns(rank):
        turn = turn[flat[window[turn, 12]] > 0]
        energy[turn] = np.maximum(flat[window[turn]], 0).sum(axis=1)
        flat[window[turn]] = 0
    found = energy > 0
    columns = {"seed_cell": hits.cell[seed[found]], "energy": energy[found]}
    out = Ragged.from_counts(np.bincount(event[found], minlength=len(hits)), columns)
    return Ragged(out.offsets, {**columns, "supercluster": _superclusters(out)})


def reconstruct_endcap_photons(
    hits: Ragged, hcal_hits: Ragged, found: Ragged, vertex_z: np.ndarray, *, minimum_pt: float = 10.0
) -> Ragged:
    """Make photons from the superclusters with little HCAL energy behind them.

    Args:
      hits: all ECAL endcap hits that were read, in the order of the cells.
      hcal_hits: HCAL hits (`hcal.Channels.hits`).
      found: `clusters(hits)`.
      vertex_z: `[n]`, z in cm of the assumed vertex of the photons.
      minimum_pt: minimum transverse momentum of a photon, GeV.

    Returns:
      Photons in falling order of pt with the columns of `photons.reconstruct_photons`; `seed_cell` is an
      endcap cell.
    """
    leader = found.offsets[found.event_index] + found.supercluster
    leader[found.supercluster < 0] = -1
    raw = np.bincount(leader[leader >= 0], found.energy[leader >= 0], len(found.energy))
    sine = directions()[2][found.seed_cell]
    chosen = np.flatnonzero(raw * sine > 0.7 * minimum_pt)
    event, seed, raw = found.event_index[chosen], found.seed_cell[chosen], raw[chosen]
    window = endcap_windows(hits, event, seed)
    shapes = endcap_shapes(window, seed)
    position = _positions(hits, found, leader, chosen)
    eta, phi = _direction(position)
    from_vertex = position - np.stack([0 * raw, 0 * raw, vertex_z[event]], axis=1)
    return chosen_photons(
        event,
        seed,
        raw,
        {"eta": _direction(from_vertex)[0], "phi": phi, "detector_eta": eta},
        [np.interp(np.abs(eta), CORRECTION_ETA, f) for f in (UNCONVERTED_CORRECTION, CONVERTED_CORRECTION)],
        _hcal_behind(hcal_hits, event, eta, phi),
        shapes,
        minimum_pt,
        len(hits),
    )


def _ranked_seeds(image: np.ndarray, hits: Ragged) -> tuple[np.ndarray, np.ndarray]:
    """Hits that are local maxima above `CLUSTER_ET` by event and falling E_T, and their rank in the event."""
    transverse = hits.energy * directions()[2][hits.cell]
    high = np.flatnonzero(transverse > CLUSTER_ET)
    side, row, column = place(hits.cell[high])
    event = hits.event_index[high]
    rows, columns = row[:, None, None] + np.arange(1, 4)[:, None], column[:, None, None] + np.arange(1, 4)
    highest = image[event[:, None, None], side[:, None, None], rows, columns].max(axis=(1, 2))
    return by_rank(high[hits.energy[high] >= highest], hits.event_index, transverse)


def _superclusters(found: Ragged) -> np.ndarray:
    """Index in the event of the leader of each cluster's supercluster; -1 without supercluster."""
    eta, phi, sine = (column[found.seed_cell] for column in directions())
    strong = found.energy * sine > SUPERCLUSTER_ET
    columns = {"eta": eta, "phi": phi, "strong": strong, "there": np.ones(len(eta), bool)}
    padded = Ragged(found.offsets, columns).padded()
    leader = np.full(padded["there"].shape, -1)
    for rank in range(leader.shape[1]):
        leads = padded["strong"][:, rank] & (leader[:, rank] < 0)
        if not leads.any():
            continue
        near = np.abs(padded["eta"] - padded["eta"][:, rank, None]) < ROAD_ETA
        near &= np.abs(geometry.delta_phi(padded["phi"], padded["phi"][:, rank, None])) < ROAD_PHI
        leader[near & leads[:, None] & (leader < 0) & padded["there"]] = rank
    return leader[padded["there"]]


def _positions(hits: Ragged, found: Ragged, leader: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Positions of superclusters, cm `[m, 3]`: the energy-weighted mean of their clusters' positions.

    A cluster's position is the log-weighted mean of its crystals' positions at the depth of the shower.

    Args:
      hits, found: as in `reconstruct_endcap_photons`.
      leader: flat row of the leader of each cluster.
      chosen: `[m]`, flat rows of the wanted leaders.
    """
    members = np.flatnonzero(np.isin(leader, chosen))
    owner = np.searchsorted(chosen, leader[members])
    seed, energy = found.seed_cell[members], found.energy[members]
    window = endcap_windows(hits, found.event_index[members], seed)
    weight = log_weights(window, window.sum(axis=(1, 2)), POSITION_WEIGHT)
    eta = np.abs(directions()[0][seed])
    covered = (eta > PRESHOWER_ETA[0]) & (eta < PRESHOWER_ETA[1])
    offset = np.where(covered, DEPTH_OFFSET_PRESHOWER, DEPTH_OFFSET)
    depth = RADIATION_LENGTH * (offset + np.log(np.maximum(energy, 1e-3)))
    front, axis = _crystal_axes()
    side, row, column = place(seed)
    step = np.arange(-2, 3)
    rows = np.clip(row[:, None, None] + step[:, None], 0, geometry.EE_SIDE - 1)
    columns = np.clip(column[:, None, None] + step, 0, geometry.EE_SIDE - 1)
    cell = (side[:, None, None] * geometry.EE_SIDE + rows) * geometry.EE_SIDE + columns
    places = front[cell] + depth[:, None, None, None] * axis[cell]
    mean = (weight[..., None] * places).sum(axis=(1, 2)) / weight.sum(axis=(1, 2))[:, None]
    total = np.bincount(owner, energy, len(chosen))
    return np.stack([np.bincount(owner, energy * x, len(chosen)) / total for x in mean.T], axis=1)


@functools.cache
def _crystal_axes() -> tuple[np.ndarray, np.ndarray]:
    """Front-face centers (cm) and unit vectors along the axes by cell, each float64 `[EE_CELLS, 3]`."""
    crystals = geometry.ee_crystals()
    centre = np.stack([crystals.x, crystals.y, crystals.z], axis=1)
    along = centre + np.sign(crystals.z)[:, None] * np.array([0, 0, FOCUS])
    front, axis = np.zeros((2, geometry.EE_CELLS, 3))
    front[crystals.cell] = centre
    axis[crystals.cell] = along / np.linalg.norm(along, axis=1, keepdims=True)
    return front, axis


def _direction(position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y, z = position.T
    return np.arcsinh(z / np.maximum(np.hypot(x, y), 1e-6)), np.arctan2(y, x)


def _hcal_behind(hits: Ragged, event: np.ndarray, eta: np.ndarray, phi: np.ndarray) -> np.ndarray:
    """HCAL energy in GeV in the towers whose centers are within `HCAL_CONE` of each direction, `[m]`."""
    tower_eta, tower_phi = _tower_centres()
    tower = hits.cell.astype(np.int64) % geometry.HCAL_TOWERS
    padded = Ragged(hits.offsets, {"energy": hits.energy, "eta": tower_eta[tower], "phi": tower_phi[tower]})
    padded = {name: column[event] for name, column in padded.padded().items()}
    d_phi = geometry.delta_phi(padded["phi"], phi[:, None])
    near = (padded["eta"] - eta[:, None]) ** 2 + d_phi**2 < HCAL_CONE**2
    return (padded["energy"] * near).sum(axis=1)


@functools.cache
def _tower_centres() -> tuple[np.ndarray, np.ndarray]:
    """Eta and phi of the center of each HCAL tower, `[HCAL_TOWERS]`; wide towers have odd iphi."""
    edges = np.array(geometry.HCAL_ETA_EDGES)
    ring = (edges[1:] + edges[:-1]) / 2
    eta = np.repeat(np.concatenate([-ring[::-1], ring]), geometry.HCAL_COLUMNS)
    wide = np.abs(eta) > edges[geometry.HCAL_LAST_NARROW]
    column = np.tile(np.arange(geometry.HCAL_COLUMNS), geometry.HCAL_ROWS)
    return eta, np.radians(5 * column + np.where(wide, 5.0, 2.5))
