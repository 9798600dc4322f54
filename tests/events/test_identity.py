"""Two events have one identity where they are the same event, and only there."""

import dataclasses

import numpy as np

from e2e_jax.events.identity import SeenEvents, identities
from tests.aodsim_file import random_events


def test_an_identity_belongs_to_the_event_and_not_to_its_place():
    events = random_events(50, seed=1)
    found = identities(events)
    assert len(set(found.tolist())) == 50
    order = np.random.default_rng(0).permutation(50)
    np.testing.assert_array_equal(identities(events[order]), found[order])
    assert len(identities(events[:0])) == 0


def test_events_of_one_address_differ_by_their_hits_and_events_of_the_same_hits_by_their_address():
    one, other = random_events(20, seed=1), random_events(20, seed=2)
    assert not set(identities(one).tolist()) & set(identities(other).tolist())
    elsewhere = dataclasses.replace(one, lumi=one.lumi + 1)
    assert not set(identities(one).tolist()) & set(identities(elsewhere).tolist())


def test_events_that_were_seen_name_their_first_source():
    seen, found = SeenEvents(), identities(random_events(30, seed=3))
    assert seen.first_source(found[:10], 0).tolist() == [-1] * 10
    assert seen.first_source(found[5:20], 1).tolist() == [0] * 5 + [-1] * 10
    assert seen.first_source(found[[25, 25, 0, 19]], 2).tolist() == [-1, 2, 0, 1]
    assert seen.first_source(found[:0], 3).tolist() == []
    assert seen.first_source(found, 4).tolist() == [0] * 10 + [1] * 10 + [-1] * 5 + [2] + [-1] * 4
