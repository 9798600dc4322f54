"""The event record keeps every hit with its event, whatever is sliced, joined, padded or stored."""

import dataclasses
import pickle

import numpy as np
import pytest

from e2e_jax.detector import geometry
from e2e_jax.events.base import Ragged
from e2e_jax.events.diphotons import CELLS, COLLECTIONS, PHOTONS, SCALARS, Events, by_pt, cell_exists


def ragged(random, name, counts):
    total = int(sum(counts))
    columns = {column: random.uniform(0.1, 1, total).astype(np.float32) for column in COLLECTIONS[name]}
    if "cell" in columns:
        places = np.arange(CELLS[name], dtype=np.uint16)
        columns["cell"] = random.choice(places[cell_exists(name, places)], total)
    return Ragged.from_counts(np.array(counts, int), columns)


def photons(random, n):
    """0 to 3 photons in each event, leading first."""
    counts = random.integers(0, 4, n)
    counts[-1] = 3
    return by_pt(Ragged.from_counts(counts, {c: random.uniform(20, 60, counts.sum()) for c in PHOTONS}))


def make_events(n=6, seed=0):
    """Random events; the first of them has no hits at all."""
    random = np.random.default_rng(seed)
    counts = random.integers(0, 5, (len(COLLECTIONS), n))
    counts[:, :1] = 0
    return Events(
        run=np.full(n, 194533),
        lumi=np.arange(n) // 2,
        event=100 * seed + np.arange(n),
        observables={"mass": random.uniform(90, 180, n).astype(np.float32)},
        photons=photons(random, n),
        label=random.integers(-1, 3, n).astype(np.int32),
        **{name: ragged(random, name, counts[k]) for k, name in enumerate(COLLECTIONS)},
    )


def assert_same(one, other):
    assert len(one) == len(other)
    for name in (*SCALARS, "mass"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name, columns in Events.ragged().items():
        first, second = getattr(one, name), getattr(other, name)
        np.testing.assert_array_equal(first.offsets, second.offsets)
        for column, dtype in columns.items():
            np.testing.assert_array_equal(first.columns[column], second.columns[column])
            assert first.columns[column].dtype == second.columns[column].dtype == dtype


def replaced(events, collection, column, entry, value):
    """A copy with one value of a ragged column changed."""
    part = getattr(events, collection)
    values = part.columns[column].copy()
    values[entry] = value
    return dataclasses.replace(events, **{collection: Ragged(part.offsets, {**part.columns, column: values})})


@pytest.mark.parametrize(
    "rows",
    [
        slice(None),
        slice(1, 4),
        slice(None, None, -1),
        np.array([3, 0, 0, 5]),
        np.array([True, False, True, False, False, True]),
        np.array([], int),
        slice(0, 0),
    ],
)
def test_selected_events_keep_their_hits(rows):
    events = make_events()
    chosen = events[rows]
    for new, old in enumerate(np.arange(6)[rows]):
        assert chosen.event[new] == events.event[old]
        for name in COLLECTIONS:
            for column, values in getattr(events, name).event(old).items():
                np.testing.assert_array_equal(getattr(chosen, name).event(new)[column], values)
    assert len(chosen) == len(np.arange(6)[rows])


def test_what_was_cut_can_be_joined():
    events = make_events()
    assert_same(Events.concatenate([events[:2], events[2:2], events[2:]]), events)
    assert_same(Events.concatenate(events[i : i + 1] for i in range(6)), events)


def test_events_travel_between_processes():
    events = make_events()
    assert_same(pickle.loads(pickle.dumps(events)), events)


def test_joining_nothing_is_refused():
    with pytest.raises(ValueError, match="empty"):
        Events.concatenate([])


def test_examples_give_the_events_back():
    events = make_events()
    assert_same(Events.from_examples(events.examples(), ["mass"]), events)


def test_no_examples_give_no_events():
    empty = Events.from_examples([], ["mass"])
    assert_same(empty, make_events()[:0])
    assert empty.to_batch()["eb"]["energy"].shape == (0, 0)
    assert len(empty.validate()) == 0


def test_a_padded_batch_holds_each_hit_once():
    events = make_events()
    batch = events.to_batch({"eb": 9})
    assert batch["eb"]["energy"].shape == (6, 9)
    assert batch["photons"].shape == (6, 2, 3)
    for name, columns in COLLECTIONS.items():
        part = getattr(events, name)
        for column, dtype in columns.items():
            padded = batch[name][column]
            assert padded.dtype == dtype
            for i, count in enumerate(part.counts):
                np.testing.assert_array_equal(padded[i, :count], part.event(i)[column])
                assert not padded[i, count:].any()


def test_too_short_a_padding_names_the_event():
    hits = Ragged.from_counts(np.array([1, 4, 2]), {"energy": np.ones(7, np.float32)})
    with pytest.raises(ValueError, match="Event 1 has 4 entries, over the padded length 3"):
        hits.padded(3)


def test_filter_keeps_hits_with_their_event():
    hits = Ragged.from_counts(np.array([2, 0, 3]), {"energy": np.array([1, -1, -2, 3, 4], np.float32)})
    kept = hits.filter(hits.energy > 0)
    np.testing.assert_array_equal(kept.counts, [1, 0, 2])
    np.testing.assert_array_equal(kept.event_index, [0, 2, 2])
    np.testing.assert_array_equal(kept.energy, [1, 3, 4])


def test_counts_must_add_up_to_the_columns():
    with pytest.raises(ValueError, match="'energy' has 2 entries, but the counts add up to 3"):
        Ragged.from_counts(np.array([1, 2]), {"energy": np.ones(2)})


def test_an_unknown_column_is_answered_with_what_exists():
    with pytest.raises(AttributeError, match=r"No column 'time'; there are \['cell', 'energy'\]"):
        _ = make_events().eb.time


def test_good_events_are_valid():
    events = make_events()
    assert events.validate() is events


def test_columns_of_different_length_are_refused():
    events = make_events()
    with pytest.raises(ValueError, match=r"differ in length.*'label': 5"):
        dataclasses.replace(events, label=events.label[:5]).validate()


@pytest.mark.parametrize(
    ("field", "row", "value", "message"),
    [
        ("label", 3, 3, "label = 3 is no label"),
        ("label", 3, -2, "label = -2 is no label"),
    ],
)
def test_a_bad_event_is_named(field, row, value, message):
    events = make_events()
    values = getattr(events, field).copy()
    values[row] = value
    with pytest.raises(ValueError, match=message) as error:
        dataclasses.replace(events, **{field: values}).validate(labels=3)
    assert "Event 3 (run 194533, lumi 1, event 3)" in str(error.value)


@pytest.mark.parametrize(
    ("collection", "column", "value", "message"),
    [
        ("eb", "energy", np.nan, "eb.energy = nan is not finite"),
        ("photons", "phi", np.inf, "photons.phi = inf is not finite"),
        ("tracks", "phi", -np.inf, "tracks.phi = -inf is not finite"),
        ("eb", "cell", geometry.EB_CELLS, "eb.cell = 61200 is outside the detector"),
        ("ee", "cell", 20000, "ee.cell = 20000 is outside the detector"),
        ("hcal", "cell", 65535, "hcal.cell = 65535 is outside the detector"),
        # The corner and the beam hole of an endcap; an even iphi above |ieta| 20.
        ("ee", "cell", 0, "ee.cell = 0 is a place without a crystal"),
        ("ee", "cell", 15050, "ee.cell = 15050 is a place without a crystal"),
        ("hcal", "cell", 4 * 72 + 1, "hcal.cell = 289 is a place without a crystal or tower"),
    ],
)
def test_a_bad_hit_is_named_with_its_event(collection, column, value, message):
    events = make_events()
    entry = len(getattr(events, collection).event_index) - 1
    owner = getattr(events, collection).event_index[entry]
    with pytest.raises(ValueError, match=message) as error:
        replaced(events, collection, column, entry, value).validate()
    assert f"Event {owner} (run" in str(error.value)
    assert "1 such values in these 6 events" in str(error.value)
