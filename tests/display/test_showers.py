"""A photon's mark is on the most energetic crystal of its shower."""

import dataclasses

import numpy as np
import pytest

from e2e_jax.display.showers import find_showers
from e2e_jax.events.diphotons import from_leading, leading
from tests.display.shower_events import crystal, shower_event

SEEDS = [
    ("eb", 40, 100),
    ("eb", -40, 1),
    ("eb", 1, 360),
    ("eb", -84, 190),
    ("eb", 84, 10),
    ("eb", -1, 191),
    ("ee", 30, 70, 1),
    ("ee", 60, 20, -1),
    ("ee", 10, 50, -1),
]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("vertex", [(0, 0), (0.1, 0.05), (-0.1, -0.05), (0, 2 * np.pi), (0.05, -2 * np.pi)])
def test_the_seed_is_found_from_any_vertex_and_in_any_phi_convention(seed, vertex):
    events = shower_event(seed, vertex=vertex)
    (shower,) = find_showers(events, 0)
    assert (shower.collection, shower.cell) == (seed[0], crystal(*seed))
    np.testing.assert_array_equal(shower[:3], leading(events.photons)[0, 0].astype(float))


def test_each_photon_has_its_own_shower_and_no_other_event_matters():
    seeds = ("eb", -60, 360), ("ee", 30, 70, 1)
    one, other = shower_event(*seeds), shower_event(("eb", 20, 200), ("eb", -20, 20))
    events = type(one).concatenate([other, one])
    assert [shower.cell for shower in find_showers(events, 1)] == [crystal(*seed) for seed in seeds]


def test_a_harder_hit_farther_away_is_not_the_photons():
    events = shower_event(("eb", 40, 100), ("eb", 40, 110))
    events.eb.energy[events.eb.cell == crystal("eb", 40, 110)] *= 3
    assert find_showers(events, 0)[0].cell == crystal("eb", 40, 100)


@pytest.mark.parametrize("seed", SEEDS)
def test_without_a_hit_it_is_the_crystal_that_the_direction_points_to(seed):
    events = shower_event(seed, noise=dict.fromkeys(("eb", "ee", "hcal", "tracks"), 0))
    for hits in (events.eb, events.ee):
        hits.energy[:] = 0
    assert find_showers(events, 0)[0].cell == crystal(*seed)


def test_photons_that_hit_nothing_keep_their_place_and_absent_ones_have_none():
    events = shower_event(("eb", 40, 100), ("eb", -40, 200))
    photons = leading(events.photons)
    photons[0, 0, 1] = 4.0
    beyond = find_showers(dataclasses.replace(events, photons=from_leading(photons)), 0)
    assert [(shower.collection, shower.cell >= 0) for shower in beyond] == [("", False), ("eb", True)]
    photons[0, 1, 0] = 0
    assert len(find_showers(dataclasses.replace(events, photons=from_leading(photons)), 0)) == 1
