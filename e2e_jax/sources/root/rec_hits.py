"""Converts the rec hits and tracks of CMS files to the collections of `Events`, and checks them."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from e2e_jax.detector import geometry, ids
from e2e_jax.events.base import Ragged
from e2e_jax.sources.root.faults import Faults

MAX_ENERGY = 1e5
"""Upper bound in GeV, above any beam energy."""

HIGH_PURITY = 1 << 2
"""Bit of `reco::TrackBase::quality_` (CMSSW, DataFormats/TrackReco)."""

NO_CELL = np.uint16(0xFFFF)
"""Cell of an id that names no cell."""


def hits(collection: str, raw: Ragged, entries: np.ndarray, faults: Faults) -> Ragged:
    """Converts rec hits with `id` and `energy` to rec hits with `cell` and `energy`.

    Args:
      collection: "eb", "ee" or "hcal".
      raw: DetIds (uint32) and energies in GeV of each event.
      entries: entry numbers of the events.
      faults: collects ids that name no cell ("bad_id"), cells that appear twice in an event
        ("duplicate_hit"), ids that do not ascend ("unsorted"), and invalid energies ("not_finite",
        "out_of_range").
    """
    name = collection.upper()
    cell, energy = _cells(collection, raw.id), raw.energy
    faults.mark_values("bad_id", cell == NO_CELL, raw, entries, f"a hit is in no cell of {name}")
    _mark_order(cell, raw, entries, faults, name)
    mark_unlikely(energy, raw, entries, faults, f"a hit of {name}")
    return Ragged(raw.offsets, {"cell": cell, "energy": energy})


def tracks(raw: Ragged, entries: np.ndarray, faults: Faults) -> Ragged:
    """Selects highPurity tracks and converts `px`, `py`, `pz` to `pt` (GeV), `eta` and `phi`.

    Args:
      raw: momenta at the perigee in GeV, and quality bits.
      entries: entry numbers of the events.
      faults: collects invalid momenta ("not_finite", "out_of_range").
    """
    pure = _kept(raw, (raw.quality & HIGH_PURITY) != 0, ("px", "py", "pz"))
    px, py, pz = pure.px, pure.py, pure.pz
    for momentum in (px, py, pz):
        mark_unlikely(momentum, pure, entries, faults, "a track")
    pt = np.sqrt(px * px + py * py)
    faults.mark_values("out_of_range", pt == 0, pure, entries, "a track along the beam")
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = {"pt": pt, "eta": np.arcsinh(pz / pt), "phi": np.arctan2(py, px)}
    return Ragged(pure.offsets, columns)


def _kept(raw: Ragged, keep: np.ndarray, names: Sequence[str]) -> Ragged:
    """Some columns of `raw.filter(keep)`, computed faster."""
    kept = np.flatnonzero(keep)
    return Ragged(np.searchsorted(kept, raw.offsets), {name: raw.columns[name].take(kept) for name in names})


def mark_unlikely(values: np.ndarray, lists: Ragged, entries: np.ndarray, faults: Faults, what: str):
    """Mark values `[lists.offsets[-1]]` whose magnitude exceeds `MAX_ENERGY`."""
    if values.max(initial=0.0) <= MAX_ENERGY and values.min(initial=0.0) >= -MAX_ENERGY:  # false for NaN too
        return
    finite = np.isfinite(values)
    faults.mark_values("not_finite", ~finite, lists, entries, f"{what} is not finite")
    beyond = finite & (abs(values) > MAX_ENERGY)
    faults.mark_values("out_of_range", beyond, lists, entries, f"{what} is beyond {MAX_ENERGY:g} GeV")


def _mark_order(cell: np.ndarray, raw: Ragged, entries: np.ndarray, faults: Faults, name: str):
    """Mark the events in which a cell has two hits, or whose hits do not ascend by id.

    CMSSW sorts these collections (`edm::SortedCollection`), so a damaged id usually breaks the order.
    """
    if len(cell) < 2:
        return
    ascending = raw.id[1:] > raw.id[:-1]
    inner = raw.offsets[1:-1]
    ascending[inner[(inner > 0) & (inner < len(cell))] - 1] = True
    if ascending.all():
        return
    key = raw.event_index << 16 | cell
    order = np.argsort(key, kind="stable")
    again = np.zeros(len(key), bool)
    again[order[1:]] = (key[order[1:]] == key[order[:-1]]) & (cell[order[1:]] != NO_CELL)
    faults.mark_values("duplicate_hit", again, raw, entries, f"two hits are in one cell of {name}")
    misplaced = np.append(False, ~ascending)
    faults.mark_values(
        "unsorted", misplaced, raw, entries, f"the hits of {name} are not in order of their ids"
    )


def _cells(collection: str, hit_ids: np.ndarray) -> np.ndarray:
    """Cells of the ids; `NO_CELL` for an id without a cell."""
    if collection != "hcal":
        first, table = _ecal_table(collection)
        return table.take(hit_ids ^ first, mode="clip")
    if (hit_ids & ~_HCAL_PLACE == _HCAL).all():
        return _hcal_table().take(_hcal_place(hit_ids))
    return _each(ids.hcal_cell, hit_ids)


# Looking up a cell takes a tenth of the time of decoding its id.


@functools.cache
def _ecal_table(collection: str) -> tuple[np.uint32, np.ndarray]:
    """Detector bits of the ids, and table from the other bits to cells; its last entry is for other ids."""
    if collection == "eb":
        cells = np.arange(geometry.EB_CELLS)
        names, bits = ids.encode_eb(*geometry.eb_coordinates(cells)), 17
    else:
        cells = geometry.ee_crystals().cell
        names, bits = ids.encode_ee(*geometry.ee_coordinates(cells)), 15
    first = names[0] >> bits << bits
    table = np.full(2**bits + 1, NO_CELL)
    table[names ^ first] = cells
    return first, table


_HCAL = np.uint32(0x40000000)
_HCAL_PLACE = np.uint32(0x0601FFFF)
"""Bits of an HCAL id of 2012 that differ between cells: HB or HE (25, 26), depth and place (0 to 16)."""


def _hcal_place(hit_ids: np.ndarray) -> np.ndarray:
    return hit_ids & 0x1FFFF | hit_ids >> 8 & 0x60000


@functools.cache
def _hcal_table() -> np.ndarray:
    """Table from `_hcal_place` of an id of 2012 to its cell."""
    grid = np.meshgrid([ids.HB, ids.HE], np.arange(-29, 30), np.arange(1, 73), np.arange(1, 8), indexing="ij")
    subdetector, ieta, iphi, depth = (axis.ravel() for axis in grid)
    ring = abs(ieta)
    there = np.where(subdetector == ids.HB, (ring >= 1) & (ring <= 16), ring >= 16)
    there &= (ring <= geometry.HCAL_LAST_NARROW) | (iphi % 2 == 1)
    names = ids.encode_hcal(ieta[there], iphi[there], depth[there], subdetector[there])
    table = np.full(2**19, NO_CELL)
    table[_hcal_place(names)] = ids.hcal_cell(names)
    return table


def _each(cells_of, hit_ids: np.ndarray) -> np.ndarray:
    """Cells from a function that raises for all ids if one of them is bad."""
    try:
        return cells_of(hit_ids)
    except ValueError:
        known, place = np.unique(hit_ids, return_inverse=True)
    cells = np.full(len(known), NO_CELL)
    for i, one in enumerate(known):
        try:
            cells[i] = cells_of(one)
        except ValueError:
            continue
    return cells[place]
