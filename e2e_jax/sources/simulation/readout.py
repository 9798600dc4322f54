"""Read-out of the ECAL barrel: noise, thresholds, and the choice of hits for the analysis format.

The ECAL follows the CMS scheme of 2012 (CMS, "The ECAL selective readout", and CMS-NOTE 2006/121): zero
suppression at 2.5 sigma of the noise everywhere, full read-out of the 3x3 trigger towers around every tower
with high transverse energy, and full read-out of a single tower with medium transverse energy. Noise in empty
crystals is drawn only above the threshold: 380 crystals per event instead of 61200, with the same
distribution.
"""

from __future__ import annotations

import math

import numpy as np

from e2e_jax.detector import geometry
from e2e_jax.events.base import Ragged
from e2e_jax.sources.simulation.photons import DOMINO_REACH, domino_mask, local_maxima

EB_NOISE = 0.040
"""GeV, electronics noise of a barrel crystal."""
EB_THRESHOLD = 2.5
"""Zero suppression of the barrel crystals, in units of the noise: 0.1 GeV."""
TOWER_ET = 2.0
"""GeV, transverse energy of a trigger tower (5x5 crystals) for full read-out around it."""
MEDIUM_SHARE = 0.5
"""Fraction of this energy above which the tower alone is read in full."""
NEGLIGIBLE = 0.001
"""GeV; a crystal with less counts as empty: 1/40 of the noise changes its read-out probability by 7 %."""

REDUCTIONS = ("aodsim", "reduced", "selective_readout")
"""Rules for the hits of the analysis format: all collections as in AODSIM; the ECAL as in AODSIM, with all
hits of the HCAL; every hit that was read."""

SOFT_ET = 0.45
"""GeV, minimum transverse energy of a crystal for keeping the 5x5 crystals around it."""
ISOLATION_RADIUS = 0.6
ISOLATION_ENERGY = 0.095
"""Hits above 95 MeV are kept up to this distance from a photon (CMSSW, `interestingGamIsoDetIdEB`)."""


def ecal_barrel_readout(
    deposits: np.ndarray,
    rng: np.random.Generator,
    *,
    noise: float | np.ndarray = EB_NOISE,
    threshold: float = EB_THRESHOLD,
    tower_et: float = TOWER_ET,
) -> Ragged:
    """Read out the ECAL barrel: crystals above threshold, and all crystals of interesting regions.

    Args:
      deposits: `[events, 61200]`, the crystals' energies in GeV before noise, by `geometry.eb_cell`.
      rng: source of the noise.
      noise: standard deviation of the noise, for all crystals or per crystal, GeV.
      threshold: zero suppression, in units of the noise.
      tower_et: transverse energy, in GeV, above which a tower and its eight neighbors are read in full.

    Returns:
      Hits with `cell` (uint16) and `energy` (float32, GeV), in the order of the cells. Crystals of
      the full read-out are included with any energy, also negative, as in CMS.

    Raises:
      ValueError: `deposits` has another shape.
    """
    check_shape(deposits, geometry.EB_CELLS, "barrel", "geometry.eb_cell")
    return read_out(deposits, full_readout(deposits, tower_et), rng, noise, threshold)


def check_shape(deposits: np.ndarray, cells: int, part: str, numbering: str) -> None:
    """Raise a ValueError unless `deposits` has the shape `[events, cells]`."""
    if deposits.ndim != 2 or deposits.shape[1] != cells:
        raise ValueError(
            f"ECAL {part} deposits have shape {deposits.shape}, expected [events, {cells}]: "
            f"one row an event, one column a crystal, numbered by {numbering}."
        )


def read_out(
    deposits: np.ndarray,
    full: np.ndarray,
    rng: np.random.Generator,
    noise: float | np.ndarray,
    threshold: float,
) -> Ragged:
    """Crystals above threshold after noise, and those of the full read-out.

    Args:
      deposits: `[events, crystals]`, GeV before noise.
      full: bool `[events, crystals]`, crystals to read with any energy.
      rng: source of the noise.
      noise: standard deviation of the noise, for all crystals or per crystal `[crystals]`, GeV.
      threshold: zero suppression, in units of the noise.

    Returns:
      Hits with `cell` (uint16, the crystal's column in `deposits`) and `energy` (float32, GeV), in order.
    """
    events, crystals = deposits.shape
    signal = np.ravel(deposits)
    noise = np.broadcast_to(np.float32(noise), crystals)
    state = (np.abs(deposits) > NEGLIGIBLE) | full
    drawn = np.flatnonzero(state)
    drawn_noise = noise[drawn % crystals]
    fluctuated = signal[drawn] + drawn_noise * rng.standard_normal(len(drawn), np.float32)
    keep = (fluctuated > threshold * drawn_noise) | np.ravel(full)[drawn]
    # Empty crystals above threshold are drawn from all crystals; those handled above are removed.
    lone = _bernoulli_positions(_gaussian_tail(threshold) if noise.any() else 0.0, signal.size, rng)
    lone = lone[~np.ravel(state)[lone]]
    tail = noise[lone % crystals] * _truncated_normal(threshold, len(lone), rng)

    index = np.concatenate([drawn[keep], lone])
    energy = np.concatenate([fluctuated[keep], tail]).astype(np.float32)
    order = np.argsort(index, kind="stable")
    index, energy = index[order], energy[order]
    counts = np.diff(np.searchsorted(index, np.arange(events + 1) * crystals))
    return Ragged.from_counts(counts, {"cell": (index % crystals).astype(np.uint16), "energy": energy})


def reduce_hits(
    hits: Ragged, clusters: Ragged, photons: Ragged, rule: str = "aodsim", others: Ragged | None = None
) -> Ragged:
    """The ECAL barrel hits that reach the analysis format.

    Args:
      hits: all hits that were read (`ecal_barrel_readout`).
      clusters: superclusters (`photons.superclusters`).
      photons: photons (`photons.reconstruct_photons`).
      rule: one of `REDUCTIONS`. "aodsim" and "reduced" are AODSIM's choice (CMSSW, `reducedEcalRecHits`): the
        crystals of the superclusters, 5x5 around their seeds and around local maxima above `SOFT_ET`, and
        hits above 95 MeV within 0.6 in (eta, phi) of a photon. The local maxima replace the hits kept around
        electrons, muons and particle-flow clusters, which are not simulated; without them the simulated
        events have fewer hits than those of the real AODSIM file. "selective_readout" keeps all hits.
      others: photons in the endcaps, whose neighborhood may extend into the barrel.

    Returns:
      The hits that are kept, same columns and order.

    Raises:
      ValueError: the rule is unknown.
    """
    if keeps_all(rule):
        return hits
    wanted = np.zeros((len(hits), geometry.EB_ROWS, geometry.EB_COLUMNS), bool)
    row, column = np.divmod(clusters.seed_cell.astype(np.int64), geometry.EB_COLUMNS)
    rows = np.clip(row[:, None] + np.arange(-2, 3), 0, geometry.EB_ROWS - 1)
    steps = np.arange(-DOMINO_REACH, DOMINO_REACH + 1)
    cluster, domino = np.nonzero(domino_mask(clusters.dominoes) | (abs(steps) <= 2))
    columns = (column[cluster] + steps[domino]) % geometry.EB_COLUMNS
    wanted[clusters.event_index[cluster][:, None], rows[cluster], columns[:, None]] = True
    soft = local_maxima(hits, SOFT_ET)
    row, column = np.divmod(hits.cell[soft].astype(np.int64), geometry.EB_COLUMNS)
    rows = np.clip(row[:, None] + np.arange(-2, 3), 0, geometry.EB_ROWS - 1)[:, :, None]
    columns = (column[:, None, None] + np.arange(-2, 3)) % geometry.EB_COLUMNS
    wanted[hits.event_index[soft][:, None, None], rows, columns] = True
    keep = wanted.reshape(len(hits), -1)[hits.event_index, hits.cell]
    keep |= _near_photons(hits, photons)
    if others is not None:
        row, column = np.divmod(hits.cell.astype(np.int64), geometry.EB_COLUMNS)
        eta, phi = geometry.eb_eta_centres()[row], geometry.eb_phi_centres()[column]
        keep |= (hits.energy > ISOLATION_ENERGY) & near_directions(hits.event_index, eta, phi, others)
    return hits.filter(keep)


def keeps_all(rule: str) -> bool:
    """Whether a rule keeps every hit; raises a ValueError if the rule is unknown."""
    if rule not in REDUCTIONS:
        raise ValueError(f"No reduction {rule!r}; there are {', '.join(REDUCTIONS)}.")
    return rule == "selective_readout"


def near_directions(event: np.ndarray, eta: np.ndarray, phi: np.ndarray, photons: Ragged) -> np.ndarray:
    """Mask of hits `[n]` within `ISOLATION_RADIUS` of a photon of their event, as seen from the origin.

    Args:
      event, eta, phi: `[n]`, the event and the direction of each hit.
      photons: `detector_eta` and `phi`.
    """
    near = np.zeros(len(event), bool)
    padded = photons.padded()
    for rank, (photon_eta, photon_phi) in enumerate(zip(padded["detector_eta"].T, padded["phi"].T)):
        d_phi = geometry.delta_phi(phi, photon_phi[event])
        within = (eta - photon_eta[event]) ** 2 + d_phi**2 < ISOLATION_RADIUS**2
        near |= within & (rank < photons.counts[event])
    return near


def full_readout(deposits: np.ndarray, tower_et: float) -> np.ndarray:
    """Mask of the crystals `[events, 61200]` that are read with any energy.

    Args:
      deposits: `[events, 61200]`, GeV.
      tower_et: transverse energy of a tower, in GeV, above which its eight neighbors are also read.
    """
    events = len(deposits)
    rows = deposits.reshape(events, geometry.EB_ROWS // 5, 5, geometry.EB_COLUMNS).sum(axis=2)
    towers = sum(rows[:, :, step::5] for step in range(5))
    sin_theta = 1 / np.cosh(geometry.eb_eta_centres()[2::5])
    transverse = towers * sin_theta[:, None]
    high = transverse > tower_et
    high = high | np.roll(high, 1, axis=2) | np.roll(high, -1, axis=2)
    around = high | (transverse > tower_et * MEDIUM_SHARE)
    around[:, 1:] |= high[:, :-1]
    around[:, :-1] |= high[:, 1:]
    full = np.zeros((events, geometry.EB_ROWS // 5, 5, geometry.EB_COLUMNS // 5, 5), bool)
    event, tower_row, tower_column = np.nonzero(around)
    full[event, tower_row, :, tower_column, :] = True
    return full.reshape(events, geometry.EB_CELLS)


def _near_photons(hits: Ragged, photons: Ragged) -> np.ndarray:
    """Mask of the hits above `ISOLATION_ENERGY` within `ISOLATION_RADIUS` of a photon's seed crystal."""
    keep = np.zeros(len(hits.energy), bool)
    eta = geometry.eb_eta_centres()
    candidates = np.flatnonzero(hits.energy > ISOLATION_ENERGY)
    row, column = np.divmod(hits.cell[candidates].astype(np.int64), geometry.EB_COLUMNS)
    event, hit_eta = hits.event_index[candidates], eta[row]
    seeds = photons.padded()["seed_cell"].astype(np.int64)
    for rank in range(seeds.shape[1]):
        seed_row, seed_column = np.divmod(seeds[event, rank], geometry.EB_COLUMNS)
        half = geometry.EB_COLUMNS // 2
        phi = np.radians((column - seed_column + half) % geometry.EB_COLUMNS - half)
        near = (hit_eta - eta[seed_row]) ** 2 + phi**2 < ISOLATION_RADIUS**2
        keep[candidates[near & (rank < photons.counts[event])]] = True
    return keep


def _gaussian_tail(threshold: float) -> float:
    """Probability that a standard normal number exceeds `threshold`."""
    return 0.5 * math.erfc(threshold / math.sqrt(2))


def _bernoulli_positions(chance: float, size: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of the successes among `size` independent trials, drawn by their geometric gaps."""
    positions = np.zeros(0, np.int64)
    last = -1 if chance else size
    while last < size:
        expected = (size - last) * chance
        gaps = rng.geometric(chance, int(expected + 6 * math.sqrt(expected)) + 10)
        positions = np.concatenate([positions, last + np.cumsum(np.minimum(gaps, size + 1))])
        last = int(positions[-1])
    return positions[positions < size]


def _truncated_normal(threshold: float, size: int, rng: np.random.Generator) -> np.ndarray:
    """Standard normal numbers above `threshold` > 0 (Marsaglia's tail method)."""
    drawn = np.zeros(0)
    while len(drawn) < size:
        trials = int(1.3 * (size - len(drawn))) + 10
        value = np.sqrt(threshold**2 + 2 * rng.exponential(size=trials))
        drawn = np.concatenate([drawn, value[rng.random(trials) * value < threshold]])
    return drawn[:size]
