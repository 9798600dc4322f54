"""Reads collision events from the flat ntuples of the paper's authors and of later works.

Their tree has one dense image per sub-detector, mostly zeros. It is converted to sparse `Events`. An ntuple
contains less than AODSIM:

- It has no photons: `photons` is empty, and the observable `mass` is the ntuple's `m0`.
- The HCAL depths are summed, and ring 29 is in ring 28: all hits get depth 1. With only
  `HBHE_energy_EB`, |ieta| > 17 is missing.
- The momenta of the tracks at one crystal are summed, and count as one track at its center.
- The selection was applied when the ntuple was written.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from e2e_jax.detector import geometry
from e2e_jax.errors import SourceError
from e2e_jax.events.base import Ragged
from e2e_jax.events.diphotons import Events, from_leading
from e2e_jax.sources.root import aodsim, rec_hits, root_files
from e2e_jax.sources.root.faults import Faults
from e2e_jax.sources.root.reading import AS_IS, Reading
from e2e_jax.sources.root.root_files import Column, Tree
from e2e_jax.study.selection import Selection

TREE = "fevt/RHTree"
_FLOAT = ("float32", "float64")
_NUMBER = (*_FLOAT, "int32", "uint32", "int64", "uint64")
_ENDCAP = geometry.EE_CELLS // 2
_ECAL = {"EB_energy": geometry.EB_CELLS, "EEm_energy": _ENDCAP, "EEp_energy": _ENDCAP}
_TRACKS = {"TracksPt_EB": geometry.EB_CELLS, "TracksPt_EEm": _ENDCAP, "TracksPt_EEp": _ENDCAP}

BRANCHES = {
    "m0": _FLOAT,
    **dict.fromkeys(("runId", "lumiId", "eventId"), _NUMBER),
    **dict.fromkeys((*_ECAL, *_TRACKS), _FLOAT),
}
"""Branches that are read besides the HCAL: branch -> allowed types of its numbers."""

HCAL_BRANCHES = {"HBHE_energy": 28, "HBHE_energy_EB": 17}
"""HCAL images of 72 columns and their rings per side; the first one found in the tree is read."""

_TABLES = [BRANCHES | {hcal: _FLOAT} for hcal in HCAL_BRANCHES]

HCAL_PHI_SHIFT = 2
"""Columns by which the authors rotate the HCAL image: column = iphi - 1 + 2."""


def iterate_events(
    path, select: Selection | None = None, *, label: int = -1, reading: Reading = AS_IS
) -> Iterator[Events]:
    """Read ntuples piece by piece, with bounded memory; arguments and errors as `aodsim.iterate_events`.

    Args:
      select: must be None, because an ntuple has no photons.
    """
    if select is not None:
        raise ValueError(
            "An ntuple has no photons to apply a selection to: it was selected when it was written. Read it "
            "with select=None."
        )
    yield from root_files.each_tree(
        path,
        TREE,
        _TABLES,
        lambda tree, faults: (found for _, found in _events(tree, np.arange(tree.entries), label, faults)),
        reading,
    )


def read_events(path, select: Selection | None = None, **options) -> Events:
    """Read whole ntuples into one `Events`; arguments and errors as `iterate_events`."""
    return Events.concatenate([Events.empty(["mass"]), *iterate_events(path, select, **options)])


def count_entries(path) -> int:
    """Number of entries of an ntuple; verifies its branches. Errors as `root_files.open_tree`."""
    with root_files.open_tree(path, TREE, *_TABLES) as tree:
        return tree.entries


def read_sound(path, entries, reading: Reading = AS_IS) -> tuple[np.ndarray, Events]:
    """Read ascending entries of one ntuple; returns the numbers and events of those without a fault.

    Raises:
      SourceError: as `iterate_events`.
    """
    parts = [(np.zeros(0, np.int64), Events.empty(["mass"]))]
    with root_files.open_tree(path, TREE, *_TABLES, reading=reading) as tree:
        parts += _events(tree, np.asarray(entries, np.int64), -1, reading.faults(tree.path))
    numbers, events = zip(*parts)
    return np.concatenate(numbers), Events.concatenate(events)


def _events(
    tree: Tree, entries: np.ndarray, label: int, faults: Faults
) -> Iterator[tuple[np.ndarray, Events]]:
    """Yield the entries without a fault and their events, in groups."""
    hcal = [*HCAL_BRANCHES][tree.table]
    names, seen = [*BRANCHES, hcal], np.zeros((0, 3), np.int64)
    for group in tree.groups(names, entries):
        columns = tree.read(names, group)
        address, mass = _scalars(tree, columns, seen, group, faults)
        seen = np.concatenate([seen, address])
        ecal, momenta = (
            [_image(tree, columns, name, size) for name, size in images.items()]
            for images in (_ECAL, _TRACKS)
        )
        towers = _towers(_image(tree, columns, hcal, 2 * HCAL_BRANCHES[hcal] * geometry.HCAL_COLUMNS))
        events = Events(
            *address.T,
            photons=from_leading(np.zeros((len(group), 2, 3))),
            observables={"mass": mass},
            label=np.full(len(group), label, np.int32),
            eb=_hits("eb", ecal[0], group, faults),
            ee=_hits("ee", np.concatenate(ecal[1:], axis=1), group, faults),
            hcal=_hits("hcal", towers, group, faults),
            tracks=_tracks(np.concatenate(momenta, axis=1), group, faults),
        )
        sound = faults.sound(group)
        if sound.any():
            yield group[sound], events if sound.all() else events[sound]


def _scalars(tree: Tree, columns: dict[str, Column], seen: np.ndarray, entries: np.ndarray, faults: Faults):
    """Addresses int64 `[n, 3]` and masses float32 `[n]`, checked."""
    names = ("runId", "lumiId", "eventId")
    numbers = np.concatenate([_image(tree, columns, name, 1) for name in names], axis=1)
    with np.errstate(invalid="ignore"):
        address = numbers.astype(np.int64)
    faults.mark("bad_auxiliary", ~(numbers >= 0).all(axis=1), entries, "its run, lumi or event is no number")
    # Some ntuples store the event number as float32, which is not exact from 2^24 on.
    exact = (address[:, 2] < 2**24) | (columns["eventId"].values.dtype.kind != "f")
    again = aodsim.repeated(np.concatenate([seen, address]), np.ones(len(seen) + len(address), bool))[
        len(seen) :
    ]
    faults.mark(
        "duplicate", again & exact, entries, "another entry has its run, luminosity section and event"
    )
    mass = _image(tree, columns, "m0", 1)[:, 0].astype(np.float32)
    faults.mark("not_finite", ~np.isfinite(mass), entries, "m0 is not finite")
    faults.mark("out_of_range", mass < 0, entries, "m0 is negative")
    return address, mass


def _image(tree: Tree, columns: dict[str, Column], name: str, size: int) -> np.ndarray:
    """A branch as `[n, size]`."""
    counts, values = columns[name]
    if (counts != size).any():
        message = (
            f"Branch {name} of {tree.path} has {counts[counts != size][0]} numbers an entry, not {size}. "
            "Is it a file of another kind?"
        )
        raise SourceError(tree.path, "count_mismatch", message)
    return values.reshape(-1, size)


def _sparse(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nonzero pixels: their number per event, positions and values."""
    event, place = np.nonzero(image)
    return np.bincount(event, minlength=len(image)), place, image[event, place].astype(np.float32)


def _hits(collection: str, image: np.ndarray, entries: np.ndarray, faults: Faults) -> Ragged:
    """Hits of the nonzero pixels; the position of a pixel is its cell."""
    counts, cell, energy = _sparse(image)
    hits = Ragged.from_counts(counts, {"cell": cell.astype(np.uint16), "energy": energy})
    if collection == "ee":
        none = ~geometry.ee_exists()[cell]
        faults.mark_values("bad_id", none, hits, entries, "a pixel of EE that is no crystal has energy")
    rec_hits.mark_unlikely(energy, hits, entries, faults, f"a hit of {collection.upper()}")
    return hits


def _towers(image: np.ndarray) -> np.ndarray:
    """The HCAL image by cells at depth 1: undoes the shift in phi and joins the halves of wide towers."""
    rings = image.shape[1] // geometry.HCAL_COLUMNS // 2
    image = image.reshape(len(image), 2 * rings, geometry.HCAL_COLUMNS)
    rows = geometry.HCAL_ROWS // 2 + np.arange(-rings, rings)
    towers = np.zeros((len(image), geometry.HCAL_ROWS, geometry.HCAL_COLUMNS), image.dtype)
    towers[:, rows] = np.roll(image, -HCAL_PHI_SHIFT, axis=2)
    ring = np.concatenate([np.arange(29, 0, -1), np.arange(1, 30)])
    wide = ring > geometry.HCAL_LAST_NARROW
    # Each half of a wide tower has half of its energy.
    towers[:, wide, 0::2] += towers[:, wide, 1::2]
    towers[:, wide, 1::2] = 0
    return towers.reshape(len(image), -1)


def _tracks(image: np.ndarray, entries: np.ndarray, faults: Faults) -> Ragged:
    """Tracks at the centers of the EB and then EE crystals that have momenta."""
    counts, place, pt = _sparse(image)
    eta, phi = _crystal_centres()
    columns = {"pt": pt, "eta": eta[place], "phi": phi[place]}
    tracks = Ragged.from_counts(counts, columns)
    faults.mark_values("bad_id", np.isnan(columns["eta"]), tracks, entries, "a track is at no crystal")
    rec_hits.mark_unlikely(pt, tracks, entries, faults, "a track")
    return tracks


@functools.cache
def _crystal_centres() -> tuple[np.ndarray, np.ndarray]:
    """Eta and phi of the crystals, float32 `[EB_CELLS + EE_CELLS]`; NaN for cells without a crystal."""
    eta, phi = np.full((2, geometry.EB_CELLS + geometry.EE_CELLS), np.nan, np.float32)
    eta[: geometry.EB_CELLS] = np.repeat(geometry.eb_eta_centres(), geometry.EB_COLUMNS)
    phi[: geometry.EB_CELLS] = np.tile(geometry.eb_phi_centres(), geometry.EB_ROWS)
    crystals = geometry.ee_crystals()
    eta[geometry.EB_CELLS + crystals.cell.astype(int)] = crystals.eta
    phi[geometry.EB_CELLS + crystals.cell.astype(int)] = crystals.phi
    return eta, phi
