"""An event with two showers at given crystals, and noise."""

import dataclasses

import numpy as np

from e2e_jax.detector import geometry
from e2e_jax.events.base import Ragged
from e2e_jax.events.diphotons import from_leading
from tests.aodsim_file import random_events

NOISE = {"eb": 200, "ee": 100, "hcal": 30, "tracks": 100}
SEED_ENERGY = 40.0


def shower_event(*seeds, vertex=(0.0, 0.0), label=1, noise=NOISE):
    """One event whose photons have showers of 3 x 3 crystals around the seeds.

    Args:
      seeds: ("eb", ieta, iphi) or ("ee", ix, iy, zside) of each photon, the leading one first.
      vertex: (eta, phi) by which the photons' directions differ from those of their crystals.
      noise: mean numbers of other hits, all softer than a seed.
    """
    events = random_events(1, hits=noise, label=label)
    photons = np.zeros((1, 2, 3), np.float32)
    cells = {"eb": [], "ee": []}
    for number, (collection, *place) in enumerate(seeds):
        seed = crystal(collection, *place)
        eta, phi = direction(collection, seed)
        photons[0, number] = 60 - number, eta + vertex[0], phi + vertex[1]
        cells[collection] += [(seed, SEED_ENERGY)]
        cells[collection] += [(cell, SEED_ENERGY / 10) for cell in neighbours(collection, *place)]
    lists = {name: _with(getattr(events, name), added) for name, added in cells.items()}
    return dataclasses.replace(
        events, photons=from_leading(photons), observables={"mass": np.array([125], np.float32)}, **lists
    )


def crystal(collection, *place):
    """The cell of a crystal by its coordinates."""
    return int((geometry.eb_cell if collection == "eb" else geometry.ee_cell)(*place))


def direction(collection, cell):
    """(eta, phi) of a crystal from the nominal interaction point."""
    if collection == "eb":
        row, column = divmod(cell, geometry.EB_COLUMNS)
        return geometry.eb_eta_centres()[row], geometry.eb_phi_centres()[column]
    crystals = geometry.ee_crystals()
    place = np.flatnonzero(crystals.cell == cell)[0]
    return crystals.eta[place], crystals.phi[place]


def neighbours(collection, x, y, *side):
    """Cells of the eight crystals around one in the inside of EB or EE, around the end of iphi too."""
    steps = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b]
    if collection == "ee":
        return [crystal("ee", x + a, y + b, *side) for a, b in steps]
    row = np.where(x > 0, x + 84, x + 85)
    return [(row + a) * 360 + (y - 1 + b) % 360 for a, b in steps if 0 <= row + a < 170]


def _with(hits, added):
    old = dict(zip(hits.cell.tolist(), hits.energy.tolist()))
    new = old | {int(cell): energy for cell, energy in added}
    cells = sorted(new)
    columns = {"cell": np.array(cells, np.uint16), "energy": np.array([new[c] for c in cells], np.float32)}
    return Ragged.from_counts(np.array([len(cells)]), columns)
