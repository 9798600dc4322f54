"""Synthetic events with realistic occupancy and a weak class signal, without dataset and Pythia.

They are for speed measurements, not for physics. Images can separate the classes: the photons of H are more
central, and one photon of gamma+jet often has tracks and hadronic energy around it.
"""

import numpy as np

from e2e_jax.detector import geometry
from e2e_jax.events.base import Ragged
from e2e_jax.events.diphotons import CELLS, Events, from_leading
from e2e_jax.studies.hgg import LABELS

MEAN = {"eb": 235, "ee": 150, "hcal": 50, "tracks": 260}
"""Mean entries of an event next to those of its photons, as in the fast simulation with pile-up 20."""

ACTIVITY = 8
"""Shape of the gamma distribution of an event's activity: the busiest of 150,000 events has about three times
the mean number of hits."""

SPREAD = {"gamma_gamma": 0.9, "h": 0.65, "gamma_jet": 0.9}
"""Standard deviation of the photons' pseudorapidity."""

JET_SHARE = 0.6
"""Fraction of gamma+jet events in which something is visible around the second photon."""

MADE_TOGETHER = 20_000
"""Events made at a time: bounds the memory."""


def make_events(count: int, seed: int = 0) -> Events:
    """Makes `count` events, the labels in turn."""
    rng = np.random.default_rng(seed)
    sizes = [min(MADE_TOGETHER, count - first) for first in range(0, count, MADE_TOGETHER)]
    return Events.concatenate(_part(rng, size) for size in sizes)


def _part(rng, n):
    label = (np.arange(n) % len(LABELS)).astype(np.int32)
    mass = rng.uniform(100, 180, n).astype(np.float32)
    spread = np.array([SPREAD[name] for name in LABELS])[label]
    eta = np.clip(rng.normal(0, spread[:, None], (n, 2)), -1.4, 1.4)
    phi = rng.uniform(-np.pi, np.pi, (n, 1)) + np.array([0, np.pi])
    phi = (phi + np.pi) % (2 * np.pi) - np.pi
    pt = mass[:, None] * np.sort(rng.uniform(0.35, 0.65, (n, 2)))[:, ::-1]
    photons = np.stack([pt, eta, phi], axis=-1).astype(np.float32)
    in_jet = (label == LABELS.index("gamma_jet")) & (rng.random(n) < JET_SHARE)
    activity = rng.gamma(ACTIVITY, 1 / ACTIVITY, n)
    ee_cells = geometry.ee_crystals().cell
    hcal_cells = np.flatnonzero(geometry.hcal_exists())
    return Events(
        run=np.ones(n, np.int64),
        lumi=np.ones(n, np.int64),
        event=np.arange(n),
        observables={"mass": mass},
        photons=from_leading(photons),
        label=label,
        eb=_joined(_showers(rng, photons), _soft(rng, activity, "eb", np.arange(CELLS["eb"]))),
        ee=_soft(rng, activity, "ee", ee_cells),
        hcal=_joined(_jet_towers(rng, photons, in_jet), _soft(rng, activity, "hcal", hcal_cells)),
        tracks=_joined(_jet_tracks(rng, photons, in_jet), _soft_tracks(rng, activity)),
    )


def _soft(rng, activity, name, cells):
    counts = rng.poisson(MEAN[name] * activity)
    cell = cells[rng.integers(0, len(cells), counts.sum())].astype(np.uint16)
    return Ragged.from_counts(counts, {"cell": cell, "energy": _energies(rng, len(cell), 0.5)})


def _soft_tracks(rng, activity):
    counts = rng.poisson(MEAN["tracks"] * activity)
    total = counts.sum()
    columns = {"pt": _energies(rng, total, 0.8)}
    columns |= {name: rng.uniform(-edge, edge, total) for name, edge in (("eta", 2.5), ("phi", np.pi))}
    return Ragged.from_counts(counts, {name: np.float32(column) for name, column in columns.items()})


def _showers(rng, photons):
    """3 x 3 crystals for each photon."""
    n = len(photons)
    row, column = np.divmod(geometry.barrel_cell(photons[..., 1], photons[..., 2]), geometry.EB_COLUMNS)
    steps = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1], indexing="ij"), axis=-1).reshape(9, 2)
    rows = np.clip(row[..., None] + steps[:, 0], 0, geometry.EB_ROWS - 1)
    columns = (column[..., None] + steps[:, 1]) % geometry.EB_COLUMNS
    energy = (photons[..., 0] * np.cosh(photons[..., 1]))[..., None] * np.where(steps.any(axis=1), 0.05, 0.6)
    energy = energy * rng.uniform(0.7, 1.3, energy.shape)
    cell = (rows * geometry.EB_COLUMNS + columns).astype(np.uint16)
    flat = {"cell": cell.ravel(), "energy": energy.ravel().astype(np.float32)}
    return Ragged.from_counts(np.full(n, 18), flat)


def _jet_towers(rng, photons, in_jet):
    """A tower with energy behind the second photon of the events `in_jet`."""
    row, column = np.divmod(geometry.barrel_cell(*photons[in_jet, 1, 1:].T), geometry.EB_COLUMNS)
    first = geometry.HCAL_ROWS // 2 - geometry.EB_ROWS // 10
    cell = ((row // 5 + first) * geometry.HCAL_COLUMNS + column // 5).astype(np.uint16)
    return Ragged.from_counts(
        in_jet.astype(int), {"cell": cell, "energy": _energies(rng, len(cell), 5.0) + np.float32(1)}
    )


def _jet_tracks(rng, photons, in_jet):
    """Three tracks near the second photon of the events `in_jet`."""
    near = np.repeat(photons[in_jet, 1, 1:], 3, axis=0) + rng.normal(0, 0.08, (3 * in_jet.sum(), 2))
    columns = {"pt": _energies(rng, len(near), 4.0) + 1, "eta": near[:, 0], "phi": near[:, 1]}
    return Ragged.from_counts(3 * in_jet, {name: np.float32(column) for name, column in columns.items()})


def _energies(rng, count, mean):
    return rng.standard_exponential(count, np.float32) * np.float32(mean)


def _joined(first, second):
    """For each event the entries of both, those of `first` in front."""
    both = Ragged.concatenate([first, second])
    order = np.arange(len(both)).reshape(2, -1).T.ravel()
    both = both[order]
    counts = both.counts.reshape(-1, 2).sum(axis=1)
    return Ragged.from_counts(counts, both.columns)
