"""Read-out of the endcap crystals, and the choice of hits for the analysis format.

The scheme is that of the barrel (see `readout`). Supercrystals of 5x5 crystals replace the trigger towers,
which have irregular shapes in the endcaps.
"""

from __future__ import annotations

import functools

import numpy as np

from e2e_jax.detector import geometry
from e2e_jax.events.base import Ragged
from e2e_jax.sources.simulation.readout import (
    MEDIUM_SHARE,
    TOWER_ET,
    check_shape,
    keeps_all,
    near_directions,
    read_out,
)

EE_NOISE = 0.150
"""GeV, electronics noise of an endcap crystal."""
EE_THRESHOLD = 2.5
"""Zero suppression, in units of the noise."""
ISOLATION_ET = 0.110
"""Hits with this transverse energy (GeV) are kept around a photon (CMSSW, `interestingGamIsoDetIdEE`)."""
SOFT_ET = 0.6
"""GeV, transverse energy of a cluster whose crystals are kept."""
_SUPERCRYSTALS = geometry.EE_SIDE // 5


def ecal_endcap_readout(
    deposits: np.ndarray,
    rng: np.random.Generator,
    *,
    noise: float | np.ndarray = EE_NOISE,
    threshold: float = EE_THRESHOLD,
    tower_et: float = TOWER_ET,
) -> Ragged:
    """Read out the ECAL endcaps: crystals above threshold, and all crystals of interesting regions.

    Args:
      deposits: `[events, EE_CELLS]`, the crystals' energies in GeV before noise, by `geometry.ee_cell`.
      rng: source of the noise.
      noise: standard deviation of the noise, for all crystals or per crystal `[EE_CELLS]`, GeV.
      threshold: zero suppression, in units of the noise.
      tower_et: transverse energy, in GeV, above which all of a supercrystal and its eight neighbors is read.

    Returns:
      Hits with `cell` (uint16) and `energy` (float32, GeV), in the order of the cells.

    Raises:
      ValueError: `deposits` has another shape.
    """
    check_shape(deposits, geometry.EE_CELLS, "endcap", "geometry.ee_cell")
    crystals = geometry.ee_crystals().cell
    full = _full_readout(deposits, tower_et)
    noise = np.broadcast_to(np.float32(noise), geometry.EE_CELLS)[crystals]
    hits = read_out(deposits[:, crystals], full[:, crystals], rng, noise, threshold)
    return Ragged(hits.offsets, {"cell": crystals[hits.cell], "energy": hits.energy})


def reduce_endcap_hits(hits: Ragged, clusters: Ragged, photons: Ragged, rule: str = "aodsim") -> Ragged:
    """The ECAL endcap hits that reach the analysis format.

    Args:
      hits: all hits that were read (`ecal_endcap_readout`).
      clusters: `endcap_photons.clusters`.
      photons: photons anywhere in the detector, `detector_eta` and `phi`.
      rule: one of `readout.REDUCTIONS`. "aodsim" and "reduced" keep the 5x5 crystals around each cluster of a
        supercluster or above `SOFT_ET` (see `readout.reduce_hits`), and hits with a transverse energy above
        110 MeV within 0.6 in (eta, phi) of a photon (CMSSW, `reducedEcalRecHits`). "selective_readout" keeps
        all hits.

    Raises:
      ValueError: the rule is unknown.
    """
    if keeps_all(rule):
        return hits
    strong = clusters.energy * directions()[2][clusters.seed_cell] > SOFT_ET
    members = clusters.filter(strong | (clusters.supercluster >= 0))
    side, row, column = place(members.seed_cell)
    wanted = np.zeros((len(hits), 2, geometry.EE_SIDE + 4, geometry.EE_SIDE + 4), bool)
    window = np.arange(5)
    rows, columns = row[:, None, None] + window[:, None], column[:, None, None] + window
    wanted[members.event_index[:, None, None], side[:, None, None], rows, columns] = True
    wanted = wanted[:, :, 2:-2, 2:-2].reshape(len(hits), -1)
    eta, phi, sine = directions()
    event, cell = hits.event_index, hits.cell
    strong = hits.energy * sine[cell] > ISOLATION_ET
    keep = wanted[event, cell]
    keep |= strong & near_directions(event, eta[cell], phi[cell], photons)
    return hits.filter(keep)


def place(cell: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Side (0 or 1), row and column, from 0, of endcap cells."""
    side, crystal = np.divmod(np.asarray(cell, np.int64), geometry.EE_SIDE**2)
    return (side, *np.divmod(crystal, geometry.EE_SIDE))


@functools.cache
def directions() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eta, phi and sin(theta) by cell, float64 `[EE_CELLS]`; zeros for cells without a crystal."""
    crystals = geometry.ee_crystals()
    table = np.zeros((3, geometry.EE_CELLS))
    table[:, crystals.cell] = crystals.eta, crystals.phi, 1 / np.cosh(crystals.eta)
    return tuple(table)


def _full_readout(deposits: np.ndarray, tower_et: float) -> np.ndarray:
    """Mask `[events, EE_CELLS]` of the crystals in the 3x3 supercrystals around those with high E_T."""
    shape = (len(deposits), 2, _SUPERCRYSTALS, 5, _SUPERCRYSTALS, 5)
    transverse = (deposits * directions()[2]).reshape(shape).sum(axis=(3, 5))
    high = transverse > tower_et
    around = np.zeros((len(deposits), 2, _SUPERCRYSTALS + 2, _SUPERCRYSTALS + 2), bool)
    for i in range(3):
        for j in range(3):
            around[:, :, i : i + _SUPERCRYSTALS, j : j + _SUPERCRYSTALS] |= high
    around = around[:, :, 1:-1, 1:-1] | (transverse > tower_et * MEDIUM_SHARE)
    return np.broadcast_to(around[:, :, :, None, :, None], shape).reshape(len(deposits), geometry.EE_CELLS)
