"""Photons from the hits of the ECAL barrel: superclusters, shower shapes, energy and direction.

Superclusters follow the hybrid algorithm of CMS (CMS-NOTE 2001/034; parameters of CMSSW's
`hybridSuperClusters`): a seed crystal, dominoes of five crystals in eta, and a search along phi, where
bremsstrahlung and conversions spread the energy. All functions work on a batch of events. The only loop is
over the rank of a seed in its event, because later clusters cannot use the crystals of earlier ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from e2e_jax.detector import geometry
from e2e_jax.events.base import Ragged
from e2e_jax.sources.simulation.barrel import CRYSTAL_PITCH, OFF_POINTING
from e2e_jax.sources.simulation.propagation import ECAL_RADIUS
from e2e_jax.sources.simulation.shapes import log_weights, seed_windows, shower_shapes

SEED_ET = 1.0
"""GeV, minimum transverse energy of a seed crystal (`HybridBarrelSeedThr`)."""
DOMINO_REACH = 17
"""Dominoes on each side of the seed (`step`)."""
DOMINO_ENERGY = 0.1
"""GeV, a domino below this separates two subclusters (`ethresh`)."""
DOMINO_SEED = 0.35
"""GeV, a subcluster must have a domino above this (`eseed`)."""

H_OVER_E = 0.5
"""Largest ratio of HCAL energy (3x3 towers behind the seed) to supercluster energy."""
CONVERTED_R9 = 0.94
"""A photon with R9 above this looks unconverted: its energy is that of 5x5 crystals."""
UNCONVERTED_CORRECTION = (1.035, 0.0, 0.0)
CONVERTED_CORRECTION = (1.024, 0.0, 0.0)
"""Factors on the energy, polynomials in |eta| (constant first), that put the peak at the true energy.

Medians over this simulation's own photons from Higgs bosons (tracker, gaps, pile-up of 2012C). Without
pile-up the response is flat in |eta| and energy to 0.2 %.
"""

RADIATION_LENGTH = 0.89
"""Radiation length of lead tungstate, cm."""
DEPTH_OFFSET = 7.4
"""The shower's depth is RADIATION_LENGTH (DEPTH_OFFSET + ln E/GeV) (`posCalc_t0`)."""
POSITION_WEIGHT = 4.2
"""Crystals below exp(-4.2) of the 5x5 energy do not contribute to the position (`posCalc_w0`)."""

_ETA = 2
_DOMINOES = 2 * DOMINO_REACH + 1


def superclusters(hits: Ragged, *, seed_et: float = SEED_ET) -> Ragged:
    """Group the hits of each event into superclusters.

    Args:
      hits: `cell` and `energy` in GeV, ECAL barrel.
      seed_et: minimum transverse energy of a seed, GeV.

    Returns:
      Superclusters in falling order of their seed's transverse energy: `seed_cell` (uint16), `energy` (GeV,
      float32, no correction), `outer_energy` (the part more than two crystals in phi from the seed),
      `outer_step` (its mean distance from the seed in phi, in crystals), and `dominoes` (uint64: bit k is set
      if the domino k - 17 crystals from the seed in phi belongs to the supercluster; see `domino_mask`).
    """
    image, hit_row, hit_column = _image(hits)
    seed, rank = _ranked_seeds(image, hits, hit_row, hit_column, seed_et)
    event, row, column = hits.event_index[seed], hit_row[seed], hit_column[seed]

    steps = np.arange(-DOMINO_REACH, DOMINO_REACH + 1)
    dominoes = np.zeros((len(seed), _DOMINOES), bool)
    energy = np.zeros((len(seed), _DOMINOES), np.float32)
    flat = image.reshape(-1)
    for turn in turns(rank):
        turn = turn[image[event[turn], row[turn] + _ETA, column[turn]] > 0]
        rows = event[turn, None] * image.shape[1] + row[turn, None] + np.arange(2 * _ETA + 1)
        columns = (column[turn, None] + steps) % geometry.EB_COLUMNS
        window = rows[:, :, None] * geometry.EB_COLUMNS + columns[:, None, :]
        crystals = flat[window]
        sums = crystals.sum(axis=1)
        dominoes[turn] = member = _subclusters(sums)
        energy[turn] = sums * member
        flat[window] = np.where(member[:, None, :], 0, crystals)

    found = dominoes[:, DOMINO_REACH]
    dominoes, energy = dominoes[found], energy[found]
    outer = energy * (abs(steps) > 2)
    outer_energy = outer.sum(axis=1)
    step = (outer @ steps.astype(np.float32)) / np.maximum(outer_energy, 1e-6)
    columns = {
        "seed_cell": hits.cell[seed[found]],
        "energy": energy.sum(axis=1),
        "outer_energy": outer_energy,
        "outer_step": step,
        "dominoes": dominoes @ (np.uint64(1) << np.arange(_DOMINOES, dtype=np.uint64)),
    }
    return Ragged.from_counts(np.bincount(event[found], minlength=len(hits)), columns)


def local_maxima(hits: Ragged, least_et: float) -> np.ndarray:
    """Flat rows of the hits above a transverse energy, GeV, that none of the eight neighbors exceeds."""
    image, row, column = _image(hits)
    return _ranked_seeds(image, hits, row, column, least_et)[0]


def domino_mask(dominoes: np.ndarray) -> np.ndarray:
    """Unpack the bits of `dominoes` `[m]` to booleans `[m, 35]`: 17 crystals below the seed to 17 above."""
    return (dominoes[:, None] >> np.arange(_DOMINOES, dtype=np.uint64)) & np.uint64(1) > 0


def reconstruct_photons(
    hits: Ragged,
    hcal_hits: Ragged,
    clusters: Ragged,
    vertex_z: np.ndarray,
    *,
    minimum_pt: float = 10.0,
) -> Ragged:
    """Make photons from the superclusters with little HCAL energy behind them.

    Args:
      hits: all ECAL barrel hits that were read, in the order of the cells.
      hcal_hits: HCAL hits (`hcal.Channels.hits`).
      clusters: `superclusters(hits)`.
      vertex_z: `[n]`, z in cm of the assumed vertex of the photons.
      minimum_pt: minimum transverse momentum of a photon, GeV.

    Returns:
      Photons in falling order of pt: `pt`, `energy`, `raw_energy` (GeV), `eta`, `phi` seen from the vertex,
      `detector_eta` as seen from the origin, `r9` (E3x3/raw energy), `hovere`, and of `shower_shapes`
      `sigma_ieta_ieta`, `sigma_iphi_iphi`, `seed_fraction`, all float32; `seed_cell`, uint16.
    """
    transverse = clusters.energy / np.cosh(
        geometry.eb_eta_centres()[clusters.seed_cell // geometry.EB_COLUMNS]
    )
    clusters = clusters.filter(transverse > 0.7 * minimum_pt)
    event, seed = clusters.event_index, clusters.seed_cell.astype(np.int64)
    window = seed_windows(hits, event, seed)
    shapes = shower_shapes(window)
    eta, phi, depth = _position(window, clusters)
    of_eta = np.polynomial.polynomial.polyval
    radius = ECAL_RADIUS + depth / np.cosh(eta)
    return chosen_photons(
        event,
        clusters.seed_cell,
        clusters.energy,
        {"eta": np.arcsinh(np.sinh(eta) - vertex_z[event] / radius), "phi": phi, "detector_eta": eta},
        [of_eta(abs(eta), factors) for factors in (UNCONVERTED_CORRECTION, CONVERTED_CORRECTION)],
        _hcal_behind(hcal_hits, event, seed),
        shapes,
        minimum_pt,
        len(hits),
    )


def chosen_photons(
    event: np.ndarray,
    seed_cell: np.ndarray,
    raw: np.ndarray,
    direction: dict[str, np.ndarray],
    corrections: Sequence[np.ndarray],
    behind: np.ndarray,
    shapes: dict[str, np.ndarray],
    minimum_pt: float,
    events: int,
) -> Ragged:
    """Photons of either part of the detector above a pt, GeV, and below `H_OVER_E`, in falling order of pt.

    Args:
      event, seed_cell: `[m]`.
      raw: `[m]`, energy of the supercluster, GeV.
      direction: `eta` and `phi` seen from the vertex and `detector_eta`, `[m]` each.
      corrections: factors on the energy `[m]` of unconverted and of converted photons.
      behind: `[m]`, HCAL energy behind the photon, GeV.
      shapes: result of `shapes.shower_shapes` or `shapes.endcap_shapes`.
      minimum_pt: minimum transverse momentum, GeV.
      events: number of events.
    """
    r9 = shapes["e3x3"] / raw
    unconverted, converted = corrections
    energy = np.where(r9 > CONVERTED_R9, unconverted * shapes["e5x5"], converted * raw)
    columns = {"pt": energy / np.cosh(direction["eta"]), **direction, "energy": energy, "raw_energy": raw}
    columns |= {"r9": r9, "hovere": behind / raw}
    columns |= {name: shapes[name] for name in ("sigma_ieta_ieta", "sigma_iphi_iphi", "seed_fraction")}
    chosen = np.lexsort((-columns["pt"], event))
    chosen = chosen[((columns["pt"] > minimum_pt) & (columns["hovere"] < H_OVER_E))[chosen]]
    columns = {name: column[chosen].astype(np.float32) for name, column in columns.items()}
    columns["seed_cell"] = seed_cell[chosen]
    return Ragged.from_counts(np.bincount(event[chosen], minlength=events), columns)


def turns(rank: np.ndarray) -> list[np.ndarray]:
    """Indices in `rank` `[m]` of the first seed of each event, then of the second, and so on."""
    order = np.argsort(rank, kind="stable")
    return np.split(order, np.searchsorted(rank[order], np.arange(1, rank.max(initial=0) + 1)))


def _image(hits: Ragged) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Energies `[events, EB_ROWS + 4, EB_COLUMNS]`, empty at both ends, and row and column of the hits."""
    image = np.zeros((len(hits), geometry.EB_ROWS + 2 * _ETA, geometry.EB_COLUMNS), np.float32)
    row, column = np.divmod(hits.cell.astype(np.int64), geometry.EB_COLUMNS)
    image[hits.event_index, row + _ETA, column] = hits.energy
    return image, row, column


def _ranked_seeds(image, hits, row, column, seed_et) -> tuple[np.ndarray, np.ndarray]:
    """Hits that are local maxima above `seed_et`, by event and falling E_T, and their rank in the event."""
    transverse = hits.energy / np.cosh(geometry.eb_eta_centres()[row])
    high = np.flatnonzero(transverse > seed_et)
    event = hits.event_index[high]
    rows = row[high, None, None] + _ETA + np.arange(-1, 2)[:, None]
    columns = (column[high, None, None] + np.arange(-1, 2)) % geometry.EB_COLUMNS
    highest = image[event[:, None, None], rows, columns].max(axis=(1, 2))
    return by_rank(high[hits.energy[high] >= highest], hits.event_index, transverse)


def by_rank(seed: np.ndarray, event: np.ndarray, transverse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flat rows of hits by event and falling transverse energy, and their rank in the event.

    Args:
      seed: `[m]`, the rows.
      event, transverse: of all hits.
    """
    seed = seed[np.lexsort((-transverse[seed], event[seed]))]
    event = event[seed]
    return seed, np.arange(len(seed)) - np.searchsorted(event, event)


def _subclusters(sums: np.ndarray) -> np.ndarray:
    """Mask of dominoes `[k, 35]` in a run above `DOMINO_ENERGY` with the seed or one above `DOMINO_SEED`."""
    active = sums > DOMINO_ENERGY
    active[:, DOMINO_REACH] = True
    strong = sums > DOMINO_SEED
    strong[:, DOMINO_REACH] = True
    run = np.cumsum(~active, axis=1)
    line = np.arange(len(sums))[:, None]
    holds = np.zeros((len(sums), _DOMINOES + 1), bool)
    holds[np.broadcast_to(line, sums.shape)[strong], run[strong]] = True
    return active & holds[line, run]


def _position(window: np.ndarray, clusters: Ragged) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Position of the shower: eta, phi as seen from the origin, and its depth along that direction in cm.

    The log-weighted center of the 5x5 crystals; in phi, its energy-weighted mean with the outer dominoes. The
    positions of crystals are those of their front faces; the tilt of their axes adds a shift with the depth.
    """
    weight = log_weights(window, window.sum(axis=(1, 2)), POSITION_WEIGHT)
    total = weight.sum(axis=(1, 2))
    row, column = np.divmod(clusters.seed_cell.astype(np.int64), geometry.EB_COLUMNS)
    rows = np.clip(row[:, None] + np.arange(-2, 3), 0, geometry.EB_ROWS - 1)
    eta = (weight.sum(axis=2) * geometry.eb_eta_centres()[rows]).sum(axis=1) / total
    step = weight.sum(axis=1) @ np.arange(-2, 3) / total
    outer = np.clip(clusters.outer_energy / clusters.energy, 0, 1)
    step = (1 - outer) * step + outer * clusters.outer_step

    depth = RADIATION_LENGTH * (DEPTH_OFFSET + np.log(clusters.energy))
    aside = OFF_POINTING * depth / CRYSTAL_PITCH
    # Column c is iphi = c + 1, centered at (iphi - 10.5) degrees.
    phi = np.radians((column + step + aside - 9.5 + 180) % 360 - 180)
    return eta + np.sign(eta) * geometry.EB_CRYSTAL_SIZE * aside, phi, depth


def _hcal_behind(hits: Ragged, event: np.ndarray, seed_cell: np.ndarray) -> np.ndarray:
    """HCAL energy in GeV in the 3x3 towers behind each seed.

    HCAL row t + 12 is behind tower row t of the ECAL barrel (0 to 33). The HCAL column is two below the tower
    column, because HCAL iphi 1 is behind crystals 11 to 15.
    """
    index = hits.event_index * geometry.HCAL_TOWERS + hits.cell % geometry.HCAL_TOWERS
    size = len(hits) * geometry.HCAL_TOWERS
    towers = np.bincount(index, hits.energy, size).reshape(
        len(hits), geometry.HCAL_ROWS, geometry.HCAL_COLUMNS
    )
    row, column = np.divmod(seed_cell, geometry.EB_COLUMNS)
    rows = (row // 5 + 12)[:, None, None] + np.arange(-1, 2)[:, None]
    columns = ((column // 5 - 2)[:, None, None] + np.arange(-1, 2)) % geometry.HCAL_COLUMNS
    return towers[event[:, None, None], rows, columns].sum(axis=(1, 2))
