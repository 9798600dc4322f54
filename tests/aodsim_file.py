"""Small files that read like CMS AODSIM: the same tree, branch names, types and bytes, made in memory.

`write_aodsim(path, events)` writes what `sources.root.aodsim` reads back. To write a file with a fault,
change
the lists that `branches(events)` returns and write them with `write_branches`.
"""

import os
from pathlib import Path

import awkward
import numpy as np
import uproot

from e2e_jax.detector import geometry, ids
from e2e_jax.events.base import Ragged
from e2e_jax.events.diphotons import Events, from_leading, leading
from e2e_jax.study.selection import invariant_mass

AUXILIARY = "EventAuxiliary"
EB = "EcalRecHitsSorted_reducedEcalRecHitsEB__RECO.obj.obj."
EE = "EcalRecHitsSorted_reducedEcalRecHitsEE__RECO.obj.obj."
HBHE = "HBHERecHitsSorted_reducedHcalRecHits_hbhereco_RECO.obj.obj."
PHOTONS = "recoPhotons_photons__RECO.obj."
TRACKS = "recoTracks_generalTracks__RECO.obj."
MOMENTUM = tuple(f"{TRACKS}momentum_.fCoordinates.f{axis}" for axis in "XYZ")

HITS = {"eb": 60, "ee": 40, "hcal": 15, "tracks": 30}
"""Mean hits of `random_events`."""

_HIGH_PURITY = 1 << 2
_CELLS = {
    "eb": np.arange(geometry.EB_CELLS),
    "ee": geometry.ee_crystals().cell,
    # HB at depth 1: cells that exist in 2012 and in both id formats.
    "hcal": geometry.hcal_cell(
        np.repeat([*range(-15, 0), *range(1, 16)], 72), np.tile(np.arange(1, 73), 30), 1
    ),
}


def random_events(n, seed=0, run=1, lumi=1, first=1, hits=HITS, selected=True, label=-1):
    """Events with two photons and hits all over the detector, fixed by the seed.

    Args:
      n: events.
      run: one number, or one an event.
      lumi, first: luminosity section, and number of the first event; the others follow.
      hits: mean hits by collection.
      selected: whether the photons pass the central selection; one bool, or one an event.
    """
    random = np.random.default_rng(seed)
    photons = np.stack(
        [
            np.sort(random.uniform(60, 90, (n, 2)))[:, ::-1],
            random.uniform(-1.4, 1.4, (n, 2)),
            (np.array([0, 3]) + random.uniform(-0.3, 0.3, (n, 2)) + np.pi) % (2 * np.pi) - np.pi,
        ],
        axis=-1,
    ).astype(np.float32)
    photons[~np.broadcast_to(selected, n), :, 0] /= 8
    ragged = {}
    for name, cells in _CELLS.items():
        counts = random.poisson(hits[name], n)
        picked = [np.sort(random.choice(cells, count, replace=False)) for count in counts]
        energy = (0.1 + random.exponential(0.8, counts.sum())).astype(np.float32)
        cell = np.concatenate([*picked, []]).astype(np.uint16)
        # As in CMS files, hits are in the order of their ids.
        event = np.repeat(np.arange(n), counts)
        order = np.lexsort((_ids(name, cell), event))
        ragged[name] = Ragged.from_counts(counts, {"cell": cell[order], "energy": energy[order]})
    counts = random.poisson(hits["tracks"], n)
    size = counts.sum()
    directions = {"eta": random.uniform(-2.4, 2.4, size), "phi": random.uniform(-np.pi, np.pi, size)}
    columns = {"pt": 0.3 + random.exponential(1, size), **directions}
    ragged["tracks"] = Ragged.from_counts(counts, {k: v.astype(np.float32) for k, v in columns.items()})
    return Events(
        run=np.broadcast_to(np.int64(run), n).copy(),
        lumi=np.broadcast_to(np.int64(lumi), n).copy(),
        event=np.arange(first, first + n),
        observables={"mass": invariant_mass(photons).astype(np.float32)},
        photons=from_leading(photons),
        label=np.full(n, label, np.int32),
        **ragged,
    )


def auxiliary_bytes(run, lumi, event, version=10, history=b"\x5a" * 16):
    """An EventAuxiliary as CMSSW 5_3 streams it: the history's hash, the EventID, and what follows."""
    checksum = b"\x01\x02\x03\x04" if version <= 0 else b""
    blocks = [
        _block(version, checksum + _block(9, bytes([len(history)]) + history)),
        _block(version, checksum + b"".join(int(number).to_bytes(4, "big") for number in (run, lumi, event))),
        _block(9, b"\x24" + b"8C083D9B-4B6C-E411-BA80-02163E008EB6"),
        _block(10, bytes(8)),
    ]
    return b"".join(blocks) + bytes(8) + b"\xff" * 8 + bytes(4)


def _block(version, content):
    return (
        (0x40000000 | len(content) + 2).to_bytes(4, "big") + (version & 0xFFFF).to_bytes(2, "big") + content
    )


def branches(events, photons=None, later_hcal_ids=False, loose_tracks=5):
    """The lists of the branches that hold `events`, name -> awkward array, to be changed and written.

    Args:
      photons: `Ragged` with pt, eta, phi; by default the two of the events, the softer one first.
      later_hcal_ids: write the HCAL ids of releases after 2012.
      loose_tracks: tracks without the highPurity bit in front of each event's; readers drop them.
    """
    if photons is None:
        flat = leading(events.photons)[:, ::-1].reshape(-1, 3)
        photons = Ragged.from_counts(np.full(len(events), 2), dict(zip(("pt", "eta", "phi"), flat.T)))
    out = {AUXILIARY: _auxiliary(events)}
    for prefix, name in ((EB, "eb"), (EE, "ee"), (HBHE, "hcal")):
        hits = getattr(events, name)
        out[f"{prefix}id_.id_"] = _lists(hits.counts, _ids(name, hits.cell, later_hcal_ids))
        out[f"{prefix}energy_"] = _lists(hits.counts, hits.energy)
        out[f"{prefix}time_"] = _lists(hits.counts, np.zeros_like(hits.energy))
    for name in ("pt", "eta", "phi"):
        out[f"{PHOTONS}{name}_"] = _lists(photons.counts, photons.columns[name].astype(np.float32))
    return out | _tracks(events.tracks, loose_tracks)


def _ids(collection, cell, later=False):
    """The ids of cells; `later` are those of the HCAL in releases after 2012."""
    if collection == "eb":
        return ids.encode_eb(*geometry.eb_coordinates(cell))
    if collection == "ee":
        return ids.encode_ee(*geometry.ee_coordinates(cell))
    ieta, iphi, depth = geometry.hcal_coordinates(cell)
    return ids.encode_hcal(ieta, iphi, depth, np.where(abs(ieta) < 16, ids.HB, ids.HE), later)


def _tracks(tracks, loose):
    """Momenta and quality of the tracks, behind `loose` others an event that are not highPurity."""
    phi, pt = tracks.phi.astype(np.float64), tracks.pt.astype(np.float64)
    momentum = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(tracks.eta.astype(np.float64))
    lists = {name: _lists(tracks.counts, p.astype(np.float32)) for name, p in zip(MOMENTUM, momentum)}
    lists[f"{TRACKS}quality_"] = _lists(tracks.counts, np.full(len(pt), 3 | _HIGH_PURITY, np.uint8))
    for name, values in lists.items():
        value = np.asarray(
            3 if name.endswith("quality_") else 1.5, awkward.to_numpy(values.layout.content).dtype
        )
        extra = _lists(np.full(len(tracks), loose), np.full(len(tracks) * loose, value))
        lists[name] = awkward.concatenate([extra, values], axis=1)
    return lists


def _auxiliary(events):
    entries = [auxiliary_bytes(*address) for address in zip(events.run, events.lumi, events.event)]
    return _lists([len(entry) for entry in entries], np.frombuffer(b"".join(entries), np.uint8))


def _lists(counts, values):
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return awkward.Array(
        awkward.contents.ListOffsetArray(awkward.index.Index64(offsets), awkward.contents.NumpyArray(values))
    )


def write_branches(path, lists, cluster=10, compression=None, tree="Events"):
    """Writes lists (name -> awkward array) as a tree, a basket a branch every `cluster` entries.

    The compression is zlib by default, whose checksum covers every basket that it makes smaller.
    """
    entries = len(next(iter(lists.values())))
    types = {name: f"var * {awkward.to_numpy(values.layout.content).dtype}" for name, values in lists.items()}
    with uproot.recreate(path, compression=compression or uproot.ZLIB(4)) as file:
        written = file.mktree(tree, types, counter_name=lambda name: f"n{name}")
        for start in range(0, entries, cluster):
            written.extend({name: values[start : start + cluster] for name, values in lists.items()})
    return str(path)


def write_aodsim(path, events, cluster=10, compression=None, **options):
    """Writes `events` as AODSIM; options as in `branches`. Returns the path as text."""
    return write_branches(path, branches(events, **options), cluster, compression)


def real_file():
    """A real AODSIM file: what E2E_AODSIM_SAMPLE names, or one next to the checkout; skips without."""
    # The documentation writes files, too, without pytest.
    import pytest

    name = "shared/data/cms_aodsim_2011_hzz4l_10events.root"
    path = os.environ.get("E2E_AODSIM_SAMPLE") or Path(__file__).parents[2] / name
    if not os.path.isfile(path):
        pytest.skip("no real AODSIM file: E2E_AODSIM_SAMPLE names none, and none lies next to the checkout")
    return str(path)
