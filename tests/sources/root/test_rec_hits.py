import collections

import numpy as np
import pytest

from e2e_jax.detector import geometry, ids
from e2e_jax.errors import SourceError
from e2e_jax.events.base import Ragged
from e2e_jax.sources.root import rec_hits
from e2e_jax.sources.root.faults import Faults

ENTRIES = np.array([4, 5, 9])


def all_ids():
    """All ids of cells of a collection, and their cells from the decoder."""
    ieta, iphi, depth = geometry.hcal_coordinates(np.arange(geometry.HCAL_CELLS))
    there = (abs(ieta) <= geometry.HCAL_LAST_NARROW) | (iphi % 2 == 1)
    ieta, iphi, depth = ieta[there], iphi[there], depth[there]
    barrel, endcap = abs(ieta) <= 16, abs(ieta) >= 16
    hcal = np.concatenate(
        [
            ids.encode_hcal(ieta[part], iphi[part], depth[part], subdetector)
            for part, subdetector in ((barrel, ids.HB), (endcap, ids.HE))
        ]
    )
    eb = ids.encode_eb(*geometry.eb_coordinates(np.arange(geometry.EB_CELLS)))
    ee = ids.encode_ee(*geometry.ee_coordinates(geometry.ee_crystals().cell))
    return {"eb": (eb, ids.eb_cell), "ee": (ee, ids.ee_cell), "hcal": (hcal, ids.hcal_cell)}


def hits(name, hit_ids, energy=None, counts=None, **options):
    counts = [len(hit_ids), 0, 0] if counts is None else counts
    energy = np.ones(len(hit_ids), np.float32) if energy is None else np.asarray(energy, np.float32)
    raw = Ragged.from_counts(np.array(counts), {"id": np.asarray(hit_ids, np.uint32), "energy": energy})
    return rec_hits.hits(name, raw, ENTRIES, Faults("f.root", **options))


@pytest.mark.parametrize("name", ["eb", "ee", "hcal"])
def test_every_id_gets_the_cell_that_the_decoder_gives(name):
    hit_ids, decode = all_ids()[name]
    hit_ids = np.unique(hit_ids)
    cells = rec_hits._cells(name, hit_ids)
    np.testing.assert_array_equal(cells, decode(hit_ids))
    assert cells.dtype == np.uint16


def test_hcal_ids_of_later_releases_get_the_same_cells():
    place = np.array([-29, -5, 16, 16, 21]), np.array([1, 72, 3, 3, 71]), np.array([2, 1, 1, 3, 2])
    subdetector = np.array([ids.HE, ids.HB, ids.HB, ids.HE, ids.HE])
    now, later = (ids.encode_hcal(*place, subdetector, later) for later in (False, True))
    np.testing.assert_array_equal(rec_hits._cells("hcal", later), rec_hits._cells("hcal", now))
    np.testing.assert_array_equal(
        rec_hits._cells("hcal", np.append(later, now)[::2]), ids.hcal_cell(np.append(later, now)[::2])
    )


@pytest.mark.parametrize("name", ["eb", "ee", "hcal"])
def test_ids_of_no_cell_are_found_as_the_decoder_finds_them(name):
    """A bit that no id uses may be refused or ignored."""
    known, decode = all_ids()[name]
    random = np.random.default_rng(1)
    flipped = random.choice(known, 400) ^ (np.uint32(1) << random.integers(0, 32, 400).astype(np.uint32))
    for one, cell in zip(flipped, rec_hits._cells(name, flipped)):
        try:
            expected = decode(one)
        except ValueError:
            expected = rec_hits.NO_CELL
        assert cell == expected or (cell == rec_hits.NO_CELL and one not in known)


@pytest.mark.parametrize(
    ("energy", "reason"),
    [
        (np.nan, "not_finite"),
        (np.inf, "not_finite"),
        (-np.inf, "not_finite"),
        (2e5, "out_of_range"),
        (-2e5, "out_of_range"),
    ],
)
def test_energies_that_are_none_are_faults(energy, reason):
    known = all_ids()["eb"][0][:6]
    with pytest.raises(SourceError) as raised:
        hits("eb", known, [1, 1, 1, 1, energy, 1], [2, 2, 2])
    assert raised.value.reason == reason
    assert "Entry 9 of f.root" in str(raised.value)
    assert f"0x{known[4]:08x}" in str(raised.value)


def test_one_cell_twice_in_an_event_is_a_fault_and_once_in_two_is_none():
    a, b = all_ids()["eb"][0][[7, 3]]
    assert len(hits("eb", [b, a, b, a], counts=[2, 0, 2]).cell) == 4
    with pytest.raises(SourceError, match="two hits are in one cell of EB") as raised:
        hits("eb", [a, b, a], counts=[0, 3, 0])
    assert raised.value.reason == "duplicate_hit"


def test_ids_that_do_not_ascend_are_a_fault():
    a, b = all_ids()["eb"][0][[7, 3]]
    with pytest.raises(SourceError, match=r"Entry 5 of f\.root") as raised:
        hits("eb", [a, a, b], counts=[1, 2, 0])
    assert raised.value.reason == "unsorted"


def test_faulty_events_are_counted_once_each():
    skipped = collections.Counter()
    known = all_ids()["ee"][0][:4]
    faults = Faults("f.root", "skip", skipped)
    raw = Ragged.from_counts(
        np.array([2, 1, 1]),
        {
            "id": known ^ np.array([1 << 31, 1 << 30, 0, 0], np.uint32),
            "energy": np.array([np.nan, 1, 1, 3e8], np.float32),
        },
    )
    rec_hits.hits("ee", raw, ENTRIES, faults)
    assert faults.sound(ENTRIES).tolist() == [False, True, False]
    assert skipped == {"bad_id": 1, "out_of_range": 1}


def test_only_tracks_of_high_purity_are_kept():
    raw = {"px": [3.0, 1.0, 0.0, -1.0], "py": [4.0, 1.0, 2.0, 0.0], "pz": [0.0, 1.0, -2.0, 1e4]}
    columns = {name: np.array(values, np.float32) for name, values in raw.items()}
    columns["quality"] = np.array([4, 3, 7, 255], np.uint8)
    tracks = rec_hits.tracks(Ragged.from_counts(np.array([2, 0, 2]), columns), ENTRIES, Faults("f.root"))
    assert tracks.counts.tolist() == [1, 0, 2]
    np.testing.assert_allclose(tracks.pt, [5, 2, 1], rtol=1e-6)
    np.testing.assert_allclose(tracks.eta, np.arcsinh([0, -1, 1e4]), rtol=1e-6)
    np.testing.assert_allclose(tracks.phi, np.arctan2([4, 2, 0], [3, 0, -1]), rtol=1e-6)
    columns["px"][0] = np.nan
    with pytest.raises(SourceError, match="a track is not finite"):
        rec_hits.tracks(Ragged.from_counts(np.array([2, 0, 2]), columns), ENTRIES, Faults("f.root"))


def test_there_are_two_ways_with_faults():
    with pytest.raises(ValueError, match="'fail' or 'skip'"):
        Faults("f.root", "ignore")
