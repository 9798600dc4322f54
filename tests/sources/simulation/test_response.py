"""Known properties of the CMS barrel in the simulated one: showers, resolution, occupancy."""

import numpy as np
import pytest

from e2e_jax.detector import geometry
from e2e_jax.events.base import Ragged
from e2e_jax.sources.simulation import (
    barrel,
    crossings,
    endcap,
    endcap_photons,
    endcap_readout,
    hcal,
    pileup,
    readout,
    showers,
    simulate,
    tracks,
)
from e2e_jax.sources.simulation.particles import Particles
from e2e_jax.sources.simulation.photons import reconstruct_photons, superclusters
from e2e_jax.sources.simulation.response import Deposits, respond
from tests.sources.simulation.gun import shoot

EVENTS = 300


@pytest.fixture(scope="module")
def bare_photons() -> np.ndarray:
    """Crystals of 50 GeV photons without material, `[events, 61200]`."""
    rng = np.random.default_rng(3)
    record = shoot(22, np.full(EVENTS, 50.0), rng.uniform(-1.3, 1.3, EVENTS), rng.uniform(-3.1, 3.1, EVENTS))
    entries = barrel.enter(Particles.from_generator(record, np.zeros(EVENTS)))
    ecal, behind = showers.deposit(entries, rng)
    total = ecal.in_crystals(EVENTS).sum(1) + behind.in_towers(EVENTS).sum(1)
    assert total.max() < 50.01  # the rest is beyond the barrel's end, or between two modules
    assert np.median(total) > 49.9
    return ecal.in_crystals(EVENTS)


def test_a_photon_has_the_shower_shape_of_cms(bare_photons):
    rng = np.random.default_rng(4)
    nothing = np.zeros((EVENTS, geometry.HCAL_TOWERS))
    hits = readout.ecal_barrel_readout(simulate.measured(bare_photons, rng), rng)
    found = reconstruct_photons(
        hits, hcal.measure(nothing, rng).hits(), superclusters(hits), np.zeros(EVENTS)
    )
    assert np.all(found.counts == 1)
    assert np.median(found.sigma_ieta_ieta) == pytest.approx(0.0095, abs=0.0006)
    assert np.median(found.r9) == pytest.approx(0.953, abs=0.015)
    response = found.energy / 50.0
    low, high = np.quantile(response, [0.16, 0.84])
    assert (high - low) / 2 == pytest.approx(0.0106, abs=0.0025)


def test_an_endcap_photon_has_the_shower_shape_of_cms():
    rng = np.random.default_rng(8)
    eta = rng.uniform(1.7, 2.2, EVENTS) * rng.choice([-1, 1], EVENTS)
    record = shoot(22, np.full(EVENTS, 50.0), eta, rng.uniform(-3.1, 3.1, EVENTS))
    entries = endcap.entries(Particles.from_generator(record, np.zeros(EVENTS)))
    ecal, _ = showers.deposit_in_endcaps(entries, rng)
    hits = endcap_readout.ecal_endcap_readout(simulate.measured(ecal.in_crystals(EVENTS), rng), rng)
    nothing = hcal.measure(np.zeros((EVENTS, geometry.HCAL_TOWERS)), rng, endcaps=True).hits()
    found = endcap_photons.reconstruct_endcap_photons(
        hits, nothing, endcap_photons.clusters(hits), np.zeros(EVENTS)
    )
    assert np.all(found.counts == 1)
    # CMS has 0.025 for unconverted photons in the endcaps, and noise of 25 x 0.15^2 GeV^2 in the 5x5 sum.
    assert np.median(found.sigma_ieta_ieta) == pytest.approx(0.0245, abs=0.002)
    assert np.median(found.r9) == pytest.approx(0.96, abs=0.015)
    low, middle, high = np.quantile(found.energy / 50.0, [0.16, 0.5, 0.84])
    assert middle == pytest.approx(1.0, abs=0.02)
    assert (high - low) / 2 == pytest.approx(0.019, abs=0.004)
    assert np.median(np.abs(found.eta - eta)) < 0.003


def test_the_barrel_answers_alike_with_and_without_endcaps():
    record = shoot(22, np.full(40, 40.0), np.linspace(-1.2, 1.2, 40), np.linspace(-3, 3, 40))
    alone = respond(record, np.zeros(40), np.random.default_rng(9))
    whole = respond(record, np.zeros(40), np.random.default_rng(9), endcaps=True)
    assert alone.ee is None
    assert whole.ee.shape == (40, geometry.EE_CELLS)
    assert whole.ecal.sum() == pytest.approx(alone.ecal.sum(), rel=0.02)
    forward = shoot(22, np.full(40, 40.0), np.linspace(1.6, 2.8, 40), np.linspace(-3, 3, 40))
    whole = respond(forward, np.zeros(40), np.random.default_rng(9), endcaps=True)
    assert whole.ee.sum() > 0.9 * 40 * 40.0
    assert whole.ecal.sum() < 0.02 * 40 * 40.0


def test_a_shower_lies_where_its_photon_points(bare_photons):
    rng = np.random.default_rng(3)
    eta, phi = rng.uniform(-1.3, 1.3, EVENTS), rng.uniform(-3.1, 3.1, EVENTS)
    row, column = np.divmod(bare_photons.argmax(1), geometry.EB_COLUMNS)
    assert np.median(np.abs(geometry.eb_eta_centres()[row] - eta)) < 0.01
    assert np.median(np.abs(geometry.eb_phi_centres()[column] - phi)) < 0.01


def test_energy_in_hcal_is_behind_the_crystal():
    spots = barrel.Spots(
        np.zeros(3, int), np.array([85.5, 84.5, 169.5]), np.array([12.0, 0.5, 359.0]), np.ones(3)
    )
    crystals, towers = spots.in_crystals(1)[0], spots.in_towers(1)[0]
    ieta, iphi = geometry.eb_coordinates(np.flatnonzero(crystals))
    assert sorted(zip(ieta.tolist(), iphi.tolist())) == [(-1, 1), (1, 13), (85, 360)]
    ieta, iphi, _ = geometry.hcal_coordinates(np.flatnonzero(towers))
    assert sorted(zip(ieta.tolist(), iphi.tolist())) == [(-1, 71), (1, 1), (17, 70)]


def test_tracks_are_measured_to_a_percent():
    record = shoot(211, np.full(4000, 20.0), np.zeros(4000), np.zeros(4000), 1)
    found, sum_pt2 = tracks.reconstruct(
        Particles.from_generator(record, np.zeros(4000)), 4000, np.random.default_rng(5)
    )
    assert len(found.pt) / 4000 == pytest.approx(0.95, abs=0.015)
    assert found.pt.std() / 20 == pytest.approx(np.hypot(0.01, 0.003), rel=0.06)
    np.testing.assert_allclose(sum_pt2, np.bincount(found.event_index, found.pt**2, 4000), rtol=1e-5)


def test_displaced_tracks_say_nothing_of_the_vertex():
    record = shoot(211, np.full(500, 20.0), np.zeros(500), np.zeros(500), 1)
    particles = Particles.from_generator(record, np.zeros(500))
    moved = particles.moved(particles.position + np.array([2.0, 0, 0]), particles.momentum)
    found, sum_pt2 = tracks.reconstruct(moved, 500, np.random.default_rng(5))
    assert len(found.pt) > 300
    assert not sum_pt2.any()


def test_the_response_is_a_function_of_its_seed():
    record = shoot(22, np.full(5, 40.0), np.linspace(-1, 1, 5), np.linspace(-3, 3, 5))
    first, again = (respond(record, np.zeros(5), np.random.default_rng(6)) for _ in range(2))
    np.testing.assert_array_equal(first.ecal, again.ecal)
    np.testing.assert_array_equal(first.hcal, again.hcal)


def test_overlays_conserve_energy():
    rng = np.random.default_rng(7)
    hits = {"cell": np.array([0, 61_199, 5], np.uint16), "energy": np.array([1, 2, 4], np.float32)}
    towers = {"cell": np.array([7, 8, 9], np.uint16), "energy": np.array([1, 1, 3], np.float32)}
    soft = {name: np.ones(3, np.float32) for name in ("pt", "eta", "phi")}
    parts = (Ragged.from_counts(np.array([2, 1]), columns) for columns in (hits, towers, soft))
    pool = pileup.Pool(*parts, vertex_z=np.array([3.0, -4.0]), sum_pt2=np.array([10.0, 20.0]))
    none = Ragged.from_counts(
        np.zeros(4, int), {name: np.zeros(0, np.float32) for name in ("pt", "eta", "phi")}
    )
    towers = np.zeros((4, geometry.HCAL_TOWERS))
    empty = Deposits(np.zeros((4, geometry.EB_CELLS)), towers, none, np.full(4, 1.0), np.full(4, 15.0))
    collisions = np.array([0, 1, 2, 50])
    over = pool.overlay(empty, collisions, rng)
    doubles = over.tracks.counts - collisions  # the pool's first event has two of everything, the second one
    np.testing.assert_allclose(over.ecal.sum(1), 3 * doubles + 4 * (collisions - doubles))
    np.testing.assert_allclose(over.hcal.sum(1), 2 * doubles + 3 * (collisions - doubles))
    # The vertex is the one with the largest sum of pT^2: the event's 15 is between the pool's 10 and 20.
    assert set(over.vertex_z.tolist()) <= {1.0, 4.0, -4.0}
    np.testing.assert_array_equal(over.vertex_z == 1.0, over.sum_pt2 == 15.0)
    assert over.vertex_z[0] == 1.0
    assert over.sum_pt2[3] == 20.0


def test_collisions_of_the_event_itself_raise_the_sum_of_its_vertex():
    nothing = Ragged.from_counts(np.zeros(1, int), {"cell": np.zeros(0, int), "energy": np.zeros(0)})
    soft = Ragged.from_counts(
        np.zeros(1, int), {name: np.zeros(0, np.float32) for name in ("pt", "eta", "phi")}
    )
    pool = pileup.Pool(nothing, nothing, soft, np.array([7.0]), np.array([10.0]))
    none = Ragged.from_counts(np.zeros(2, int), soft.columns)
    cells = (np.zeros((2, size)) for size in (geometry.EB_CELLS, geometry.HCAL_TOWERS))
    before = Deposits(*cells, none, np.array([1.0, 1.0]), np.array([4.0, 4.0]))
    for own, z, total in ((0, 7.0, 10.0), (2, 1.0, 24.0)):
        over = pool.overlay(before, np.array([4, 4]), np.random.default_rng(1), own)
        np.testing.assert_array_equal(np.abs(over.vertex_z), z)
        np.testing.assert_array_equal(over.sum_pt2, total)


def test_neighboring_crossings_are_seen_by_their_shares():
    hits, towers = ({"cell": np.array([7], np.uint16), "energy": np.ones(1, np.float32)} for _ in range(2))
    one = np.ones(1, int)
    none = Ragged.from_counts(
        np.zeros(1, int), {name: np.zeros(0, np.float32) for name in ("pt", "eta", "phi")}
    )
    parts = (Ragged.from_counts(one, columns) for columns in (hits, towers))
    pool = pileup.Pool(*parts, none, np.zeros(1), np.zeros(1))
    for crossing in range(len(crossings.NEIGHBORS)):
        collisions = np.zeros((len(crossings.NEIGHBORS), 2), int)
        collisions[crossing] = 3, 0
        late = pool.out_of_time(collisions, np.random.default_rng(2))
        np.testing.assert_allclose(late.ecal.sum(1), [3 * crossings.ecal_shares()[crossing], 0], rtol=1e-6)
        np.testing.assert_array_equal(late.hcal.sum(2), collisions)
    assert late.ee is None


def test_a_part_of_what_falls_between_two_modules_is_lost():
    on_boundary = np.array([0.0, 40.02, 100.0]), np.array([20.0, 7.3, 119.95])
    within = np.array([30.5, 60.9, 170 - 0.5]), np.array([10.5, 25.5, 301.2])
    spots = [barrel.Spots(np.zeros(3, int), *place, np.ones(3)) for place in (on_boundary, within)]
    seen = [some.in_crystals(1).sum() for some in spots]
    assert seen == pytest.approx([3 * (1 - barrel.GAP_LOSS), 3])
