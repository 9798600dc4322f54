"""Generator filters: select the events to simulate.

Both filters are much cheaper than generating the event. The *quick look* drops events that cannot contain two
selected photons. The *double EM enrichment* is the filter of the CMS gamma+jet samples.

Both read a record: a `Ragged` with one list per event and the columns `pdg`, `status` (positive for final
particles), `mother` (row of the first mother within the event, 0 for none) and `px, py, pz` in GeV, in
Pythia 8's conventions. Row 0 of an event represents the whole event.
"""

from __future__ import annotations

import numpy as np

from e2e_jax.detector import geometry
from e2e_jax.events.base import Ragged

PHOTON, ELECTRON = 22, 11

SEED_HADRONS = (111, 221, 331, 113, 223)
"""pi0, eta, eta', rho0 and omega: hadrons that can look like a photon."""
TRACKS = (211, 321, 11, 13, 15)
"""Particles that the enrichment filter counts as charged tracks (its list has no protons)."""

# Values of the CMS configuration of the filter (CMSSW, PythiaFilterGammaGamma; GeV and rad).
SEED_PT, SEED_ETA = 5.0, 2.8
ELECTRON_PT, EM_ETA = 2.0, 2.8
WINDOW_ETA, WINDOW_PHI = 0.12, 0.2
TRACK_PT, TRACK_ETA, TRACK_DR = 1.6, 2.2, 0.2
CANDIDATE_PT, CANDIDATE_ETA = 15.0, 3.0
PROMPT_PT = 15.0
MAX_TRACKS, MAX_TRACKS_PAIR = 2, 4
MIN_MASS = 80.0

# Quick look: the cluster window is wide enough for a supercluster, the seeds soft enough for split photons.
QUICK_SEED_PT = 2.0
QUICK_WINDOW_ETA, QUICK_WINDOW_PHI = 0.12, 0.35


def two_clusters(record: Ragged, min_pt: float, max_eta: float, min_mass: float = MIN_MASS) -> np.ndarray:
    """Quick look: mask of the events that may contain two photons of the selection.

    A cluster is the sum of the final photons and electrons in a window around one of them. The
    window, the thresholds and `max_eta` are looser than the reconstruction and the selection.

    Args:
      record: events, in the format described in the module.
      min_pt: smallest transverse momentum of a cluster, GeV.
      max_eta: largest abs(eta) of a cluster.
      min_mass: smallest mass of a pair of clusters, GeV.

    Returns:
      Boolean `[n]`.
    """
    pdg = np.abs(record.pdg)
    em = (record.status > 0) & ((pdg == PHOTON) | (pdg == ELECTRON))
    em = directions(record.filter(em))
    near = np.abs(em.eta) < max_eta + QUICK_WINDOW_ETA
    em = em.filter(near)
    possible = np.bincount(em.event_index, em.pt, len(em)) > 2 * min_pt
    passed = np.zeros(len(record), bool)
    if possible.any():
        em = em[possible]
        clusters = window_sums(em.filter(em.pt > QUICK_SEED_PT), em, QUICK_WINDOW_ETA, QUICK_WINDOW_PHI)
        good = (clusters["pt"] > min_pt) & (np.abs(clusters["eta"]) < max_eta)
        passed[possible] = has_pair(clusters, good, min_mass)
    return passed


def double_em_enriched(record: Ragged) -> np.ndarray:
    """The CMS "double EM enriched" filter of the gamma+jet samples.

    Seeds are final photons and electrons and light neutral mesons above 5 GeV whose mother, grandmother and
    great-grandmother are not seeds. A candidate is the sum of the final photons and electrons in a window
    around a seed. Two candidates with few nearby charged tracks and a mass above 80 GeV accept the event.
    Prompt photons need no isolation.
    Source: CMSSW, GeneratorInterface/GenFilters, PythiaFilterGammaGamma and its configuration.

    Args:
      record: events, in the format described in the module.

    Returns:
      Boolean `[n]`.
    """
    record = directions(record)
    pdg, final = np.abs(record.pdg), record.status > 0
    seeds = directions(mark_prompt(record).filter(find_seeds(record)))
    em = final & (np.abs(record.eta) < EM_ETA)
    em &= (record.pdg == PHOTON) | ((pdg == ELECTRON) & (record.pt > ELECTRON_PT))
    tracks = final & np.isin(pdg, TRACKS) & (record.pt > TRACK_PT) & (np.abs(record.eta) < TRACK_ETA)

    candidates = window_sums(seeds, record.filter(em), WINDOW_ETA, WINDOW_PHI)
    count = tracks_around(candidates, record.filter(tracks))
    count[seeds.padded()["prompt"]] = 0
    good = (candidates["pt"] >= CANDIDATE_PT) & (np.abs(candidates["eta"]) <= CANDIDATE_ETA)
    good &= count <= MAX_TRACKS
    isolated = count[:, :, None] + count[:, None, :] <= MAX_TRACKS_PAIR
    return has_pair(candidates, good, MIN_MASS, isolated)


def directions(record: Ragged) -> Ragged:
    """The record with `pt` (GeV), `eta` and `phi` added."""
    pt = np.hypot(record.px, record.py)
    eta = np.arcsinh(record.pz / np.maximum(pt, 1e-9))
    return Ragged(
        record.offsets, {**record.columns, "pt": pt, "eta": eta, "phi": np.arctan2(record.py, record.px)}
    )


def first_mothers(record: Ragged) -> np.ndarray:
    """Flat row of each particle's first mother; the event's row 0 is its own mother."""
    return record.mother + np.repeat(record.offsets[:-1], record.counts)


def find_seeds(record: Ragged) -> np.ndarray:
    """Flat mask of the enrichment filter's seeds; the record must have directions."""
    pdg = np.abs(record.pdg)
    final = (record.status > 0) & ((record.pdg == PHOTON) | (pdg == ELECTRON))
    seed = final | np.isin(pdg, SEED_HADRONS)
    seed &= (record.pt > SEED_PT) & (np.abs(record.eta) < SEED_ETA)
    mother = first_mothers(record)
    used = seed[mother] | seed[mother[mother]] | seed[mother[mother[mother]]]
    return seed & ~used


def mark_prompt(record: Ragged) -> Ragged:
    """Add `prompt` to the record: final photons above 15 GeV from two generations of partons or leptons."""
    pdg, mother = np.abs(record.pdg), first_mothers(record)
    prompt = (record.status > 0) & (record.pdg == PHOTON) & (record.pt > PROMPT_PT)
    prompt &= (pdg[mother] <= PHOTON) & (pdg[mother[mother]] <= PHOTON)
    return Ragged(record.offsets, {**record.columns, "prompt": prompt})


def window_sums(
    seeds: Ragged, particles: Ragged, width_eta: float, width_phi: float
) -> dict[str, np.ndarray]:
    """Sum the particles within half-widths in eta and phi of each seed, as massless four-vectors.

    Returns:
      `px, py, pz, e, pt, eta, phi` of each seed's sum, `[n, longest list of seeds]`; 0 in the padding.
    """
    s, p = seeds.padded(), particles.padded()
    near = np.abs(s["eta"][:, :, None] - p["eta"][:, None, :]) < width_eta
    near &= np.abs(geometry.delta_phi(s["phi"][:, :, None], p["phi"][:, None, :])) < width_phi
    near &= (s["pt"] > 0)[:, :, None] & (p["pt"] > 0)[:, None, :]
    near = near.astype(np.float64)
    sums = {axis: np.einsum("esp,ep->es", near, p[axis]) for axis in ("px", "py", "pz")}
    momentum = np.sqrt(p["px"] ** 2 + p["py"] ** 2 + p["pz"] ** 2)
    sums["e"] = np.einsum("esp,ep->es", near, momentum)
    sums["pt"] = np.hypot(sums["px"], sums["py"])
    sums["eta"] = np.arcsinh(sums["pz"] / np.maximum(sums["pt"], 1e-9))
    sums["phi"] = np.arctan2(sums["py"], sums["px"])
    return sums


def tracks_around(candidates: dict[str, np.ndarray], tracks: Ragged) -> np.ndarray:
    """Number of tracks within dR < 0.2 of each candidate, int `[n, candidates]`."""
    t = tracks.padded()
    d_eta = candidates["eta"][:, :, None] - t["eta"][:, None, :]
    d_phi = geometry.delta_phi(candidates["phi"][:, :, None], t["phi"][:, None, :])
    near = (d_eta**2 + d_phi**2 < TRACK_DR**2) & (t["pt"] > 0)[:, None, :]
    return near.sum(-1)


def has_pair(
    clusters: dict[str, np.ndarray], good: np.ndarray, min_mass: float, allowed: np.ndarray | bool = True
) -> np.ndarray:
    """Mask of events with two different good clusters, allowed as a pair, that reach the mass; bool `[n]`."""
    e, px, py, pz = (clusters[k][:, :, None] + clusters[k][:, None, :] for k in ("e", "px", "py", "pz"))
    heavy = e**2 - px**2 - py**2 - pz**2 >= min_mass**2
    different = ~np.eye(good.shape[1], dtype=bool)
    return (heavy & allowed & different & good[:, :, None] & good[:, None, :]).any((1, 2))
