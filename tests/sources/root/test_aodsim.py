import collections
import dataclasses

import awkward
import numpy as np
import pytest

from e2e_jax.errors import SourceError
from e2e_jax.events.base import Ragged
from e2e_jax.events.diphotons import COLLECTIONS, Events, leading
from e2e_jax.sources.root import aodsim, root_files
from e2e_jax.sources.root.reading import Reading
from e2e_jax.studies import hgg
from e2e_jax.study.selection import Selected, Selection
from tests import aodsim_file as cms
from tests.aodsim_file import branches, random_events, write_aodsim, write_branches

ENTRIES = 45
SELECTED = np.arange(ENTRIES) % 3 > 0

CENTRAL = hgg.SELECTIONS["central"]


@pytest.fixture(scope="module")
def events():
    return random_events(ENTRIES, seed=2, run=np.arange(ENTRIES) // 20 + 194533, lumi=7, selected=SELECTED)


@pytest.fixture(scope="module")
def path(events, tmp_path_factory):
    return write_aodsim(tmp_path_factory.mktemp("aodsim") / "file.root", events)


def assert_equal(found: Events, expected: Events, label=-1):
    for name in ("run", "lumi", "event"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    np.testing.assert_array_equal(leading(found.photons), leading(expected.photons))
    if "mass" in found.observables:
        np.testing.assert_allclose(found.mass, expected.mass, rtol=1e-6)
    assert (found.label == label).all()
    for name, columns in COLLECTIONS.items():
        some, others = getattr(found, name), getattr(expected, name)
        np.testing.assert_array_equal(some.offsets, others.offsets)
        for column, dtype in columns.items():
            assert some.columns[column].dtype == dtype
            if name == "tracks":
                np.testing.assert_allclose(some.columns[column], others.columns[column], rtol=1e-5, atol=1e-6)
            else:
                np.testing.assert_array_equal(some.columns[column], others.columns[column])


def test_what_is_read_is_what_happened(path, events):
    assert_equal(aodsim.read_events(path), events)


def test_hcal_ids_of_later_releases_are_the_same_cells(events, tmp_path):
    path = write_aodsim(tmp_path / "later.root", events[:5], later_hcal_ids=True)
    assert_equal(aodsim.read_events(path), events[:5])


def test_the_selection_is_made_while_reading(path, events):
    found = aodsim.read_events(path, CENTRAL, label=2)
    assert_equal(found, events[SELECTED], label=2)
    assert list(found.observables) == ["mass"]


def test_two_passes_give_what_one_gives(path, events):
    candidates = aodsim.read_candidates(path, CENTRAL)
    np.testing.assert_array_equal(candidates.entry, np.flatnonzero(SELECTED))
    assert candidates.entries == ENTRIES
    for name in ("run", "lumi", "event"):
        np.testing.assert_array_equal(getattr(candidates, name), getattr(events[SELECTED], name))
    np.testing.assert_array_equal(candidates.photons.pt, events[SELECTED].photons.pt)
    np.testing.assert_allclose(candidates.observables["mass"], events[SELECTED].mass, rtol=1e-6)
    chosen = candidates[[3, 17, 29]]
    assert_equal(aodsim.read_entries(path, chosen.entry, label=1), events[SELECTED][[3, 17, 29]], label=1)


def test_the_skim_opens_no_hits(path, monkeypatch):
    read = []
    original = root_files.Tree.read
    monkeypatch.setattr(
        root_files.Tree, "read", lambda self, names, *rest: read.extend(names) or original(self, names, *rest)
    )
    aodsim.read_candidates(path)
    assert {name.split("__")[0] for name in read} == {"EventAuxiliary", "recoPhotons_photons"}


@pytest.mark.parametrize("entries", [[0], [44, 0, 17], list(range(ENTRIES))[::-1], [], 12], ids=str)
def test_entries_come_in_the_order_asked_for(path, events, entries):
    assert_equal(aodsim.read_entries(path, entries), events[np.atleast_1d(np.array(entries, int))])


@pytest.mark.parametrize("entries", [[-1], [ENTRIES], [3, 3]], ids=str)
def test_entries_that_are_not_there_are_refused(path, entries):
    with pytest.raises(ValueError, match="entries 0 to 44"):
        aodsim.read_entries(path, entries)


def test_pieces_are_bounded_and_complete(path, events, monkeypatch):
    monkeypatch.setattr(root_files.Tree.groups, "__defaults__", (20_000,))
    pieces = list(aodsim.iterate_events(path))
    assert len(pieces) > 3
    assert_equal(Events.concatenate(pieces), events)


def test_all_photons_are_read_and_events_without_two_are_not_selected(tmp_path):
    events = random_events(3)
    photons = Ragged.from_counts(
        np.array([0, 1, 3]), {name: np.array([50, 40, 30, 60], np.float32) for name in ("pt", "eta", "phi")}
    )
    photons.columns["eta"][:], photons.columns["phi"][:] = 0, [0, 0, 1, 3]
    path = write_aodsim(tmp_path / "file.root", events, photons=photons)
    found = aodsim.read_events(path)
    assert found.photons.counts.tolist() == [0, 1, 3]
    assert found.photons.pt.tolist() == [50, 60, 40, 30]
    assert len(aodsim.read_events(path, CENTRAL)) == 0


def test_files_are_read_one_after_the_other(events, tmp_path):
    paths = [write_aodsim(tmp_path / f"{i}.root", events[10 * i : 10 * i + 10]) for i in range(3)]
    assert_equal(aodsim.read_events([paths[2], paths[0]]), events[[*range(20, 30), *range(10)]])
    assert_equal(aodsim.read_events(tmp_path / "*.root"), events[:30])


def spoilt(lists, name, entry, change):
    """The lists with the values of one entry of one branch changed."""
    values = [np.asarray(some) for some in lists[name]]
    dtype = values[0].dtype
    values[entry] = np.asarray(change(values[entry].copy()), dtype)
    return lists | {
        name: awkward.unflatten(np.concatenate(values).astype(dtype), [len(some) for some in values])
    }


def put(value):
    def change(values):
        values[1] = value
        return values

    return change


FAULTS = {
    "not_finite": (f"{cms.EB}energy_", put(np.nan)),
    "out_of_range": (f"{cms.HBHE}energy_", put(-3e7)),
    "bad_id": (f"{cms.EE}id_.id_", put(0x34000000)),
    "duplicate_hit": (f"{cms.EB}id_.id_", lambda values: [*values[:-1], values[0]]),
    "bad_auxiliary": (cms.AUXILIARY, lambda values: 0 * values),
    "duplicate": (cms.AUXILIARY, lambda values: np.frombuffer(cms.auxiliary_bytes(194533, 7, 1), np.uint8)),
}


@pytest.mark.slow
@pytest.mark.parametrize("reason", FAULTS)
def test_an_event_with_a_fault_ends_the_reading_or_is_skipped_and_counted(events, tmp_path, reason):
    name, change = FAULTS[reason]
    path = write_branches(tmp_path / "file.root", spoilt(branches(events), name, 13, change))
    with pytest.raises(SourceError) as raised:
        aodsim.read_events(path)
    assert raised.value.reason == reason
    assert "Entry 13 of " in str(raised.value)
    assert path in str(raised.value)

    skipped = collections.Counter()
    others = np.arange(ENTRIES) != 13
    assert_equal(aodsim.read_events(path, reading=Reading("skip", skipped)), events[others])
    assert skipped == {reason: 1}
    skipped.clear()
    assert_equal(
        aodsim.read_entries(path, [20, 13, 0], reading=Reading("skip", skipped)),
        events[[20, 0]],
    )
    assert skipped == {reason: 1}


def test_an_event_in_two_files_is_refused_or_read_once_and_counted(events, path, tmp_path):
    other = write_aodsim(tmp_path / "other.root", random_events(4, seed=5, first=900))
    both = write_aodsim(tmp_path / "both.root", Events.concatenate([events[40:], aodsim.read_events(other)]))
    with pytest.raises(SourceError) as raised:
        aodsim.read_events([path, both])
    assert raised.value.reason == "duplicate"
    assert all(str(name) in str(raised.value) for name in (path, both, events.event[40]))
    skipped = collections.Counter()
    found = aodsim.read_events([path, both], reading=Reading("skip", skipped))
    assert len(found) == ENTRIES + 4
    assert skipped == {"duplicate": 5}


def test_events_of_one_address_in_two_samples_are_both_read(path, tmp_path):
    same = {"run": np.arange(ENTRIES) // 20 + 194533, "lumi": 7, "selected": SELECTED}
    other = write_aodsim(tmp_path / "other.root", random_events(ENTRIES, seed=8, **same))
    assert len(aodsim.read_events([path, other])) == 2 * ENTRIES


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 1e6])
def test_photons_that_are_none_are_faults(events, tmp_path, value):
    path = write_branches(
        tmp_path / "file.root", spoilt(branches(events), f"{cms.PHOTONS}pt_", 2, put(value))
    )
    with pytest.raises(SourceError, match=r"Entry 2 of .* photon") as raised:
        aodsim.read_candidates(path)
    assert raised.value.reason == ("out_of_range" if np.isfinite(value) else "not_finite")
    skipped = collections.Counter()
    assert len(aodsim.read_candidates(path, None, reading=Reading("skip", skipped))) == ENTRIES - 1
    assert skipped == {raised.value.reason: 1}


def test_photons_beyond_half_a_turn_are_faults(events, tmp_path):
    path = write_branches(tmp_path / "file.root", spoilt(branches(events), f"{cms.PHOTONS}phi_", 2, put(3.5)))
    with pytest.raises(SourceError) as raised:
        aodsim.read_candidates(path)
    assert raised.value.reason == "out_of_range"


@pytest.mark.parametrize("name", [f"{cms.EE}energy_", f"{cms.TRACKS}quality_", f"{cms.PHOTONS}eta_"])
def test_branches_that_disagree_on_their_lengths_are_refused(events, tmp_path, name):
    path = write_branches(
        tmp_path / "file.root", spoilt(branches(events), name, 9, lambda values: values[1:])
    )
    with pytest.raises(SourceError, match="disagree") as raised:
        aodsim.read_events(path)
    assert raised.value.reason == "count_mismatch"


def test_files_with_faults_end_the_reading_or_are_skipped_and_counted(events, tmp_path):
    lists = branches(events[:10])
    missing = {name: some for name, some in lists.items() if "generalTracks" not in name}
    wrong = lists | {f"{cms.EB}energy_": awkward.values_astype(lists[f"{cms.EB}energy_"], np.float64)}
    good = write_branches(tmp_path / "good.root", lists)
    bad = {
        "missing_branch": write_branches(tmp_path / "missing.root", missing),
        "wrong_type": write_branches(tmp_path / "wrong.root", wrong),
        "empty": write_aodsim(tmp_path / "empty.root", events[:0]),
        "vanished": str(tmp_path / "none.root"),
    }
    for reason, path in bad.items():
        with pytest.raises(SourceError) as raised:
            aodsim.read_events([good, path])
        assert (raised.value.reason, raised.value.path) == (reason, path)
    skipped = collections.Counter()
    found = aodsim.read_events([*bad.values(), good], reading=Reading("skip", skipped))
    assert_equal(found, events[:10])
    assert skipped == {f"file: {reason}": 1 for reason in bad}


def test_options_are_checked(path):
    for read in (aodsim.read_events, aodsim.read_candidates):
        with pytest.raises(ValueError, match="on_error is 'ignore'"):
            read(path, reading=Reading("ignore"))


def test_candidates_are_a_table(path):
    candidates = aodsim.read_candidates(path, None)
    assert len(candidates) == ENTRIES
    part = candidates[candidates.entry > 40]
    assert part.entry.tolist() == [41, 42, 43, 44]
    assert part.entries == ENTRIES
    assert {field.name for field in dataclasses.fields(part)} >= {
        "entry",
        "run",
        "lumi",
        "event",
        "photons",
        "observables",
    }


def many_hits(events):
    """A selection that uses hits, with an observable computed from them."""
    energy = np.bincount(events.eb.event_index, events.eb.energy, len(events))
    return Selected(energy > 50, {"energy": energy})


def test_a_selection_may_read_hits(path, events):
    select = Selection.of(many_hits)
    chosen = many_hits(events).mask
    assert 0 < chosen.sum() < ENTRIES
    candidates = aodsim.read_candidates(path, select)
    np.testing.assert_array_equal(candidates.entry, np.flatnonzero(chosen))
    found = aodsim.read_entries(path, candidates.entry, select=select)
    assert_equal(aodsim.read_events(path, select), events[chosen])
    np.testing.assert_array_equal(found.energy, candidates.observables["energy"])
