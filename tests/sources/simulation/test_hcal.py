"""Laws of the HCAL read-out: depths, noise, and the flags that keep a hit in AODSIM."""

import math

import numpy as np
import pytest

from e2e_jax.detector import geometry
from e2e_jax.sources.simulation import crossings, hcal


def rng():
    return np.random.default_rng(7)


def test_hcal_energy_is_conserved_over_the_depths():
    towers = np.zeros((1, geometry.HCAL_TOWERS))
    for ieta in (-17, -16, -15, -1, 1, 14, 15, 16, 17):
        towers[0, geometry.hcal_cell(ieta, 30, 1)] = 20.0
    hits = hcal.measure(towers, rng(), noise=0.0).hits()
    ieta, iphi, depth = geometry.hcal_coordinates(hits.cell)
    assert hits.energy.sum() == pytest.approx(9 * 20)
    assert (iphi == 30).all()
    assert set(ieta[depth == 2]) == {-16, -15, 15, 16}
    assert sorted(ieta[depth == 1]) == [-17, -16, -15, -1, 1, 14, 15, 16, 17]


def test_empty_hcal_shows_the_gaussian_tail():
    hits = hcal.measure(np.zeros((60, geometry.HCAL_TOWERS)), rng()).hits()
    channels = (2 * 17 + 4) * 72
    expected = 60 * channels * 0.5 * math.erfc(2.5 / math.sqrt(2))
    assert len(hits.energy) == pytest.approx(expected, abs=5 * math.sqrt(expected))
    assert hits.energy.min() > 0.5


def test_hcal_depths_are_those_of_2012_and_share_all_the_energy():
    towers = np.zeros((1, geometry.HCAL_TOWERS))
    rings = [*range(-29, 0), *range(1, 30)]
    for ieta in rings:
        towers[0, geometry.hcal_cell(ieta, 31, 1)] = 20.0
    hits = hcal.measure(towers, rng(), noise=0.0, endcaps=True).hits()
    ieta, iphi, depth = geometry.hcal_coordinates(hits.cell)
    assert (iphi == 31).all()
    assert hits.energy.sum() == pytest.approx(58 * 20)
    depths = {ring: sorted(depth[ieta == ring].tolist()) for ring in rings}
    for ring in rings:
        two = abs(ring) in (15, 16, 29) or 18 <= abs(ring) <= 26
        expected = [1, 2, 3] if abs(ring) in (27, 28) else [1, 2] if two else [1]
        assert depths[ring] == expected


def test_the_barrel_towers_are_read_alike_with_and_without_endcaps():
    towers = np.random.default_rng(2).exponential(3.0, (3, geometry.HCAL_TOWERS))
    alone = hcal.measure(towers, rng(), noise=0.0).hits()
    everything = hcal.measure(towers, rng(), noise=0.0, endcaps=True).hits()
    ieta = geometry.hcal_coordinates(everything.cell)[0]
    barrel = everything.filter(abs(ieta) <= 17)
    np.testing.assert_array_equal(alone.cell, barrel.cell)
    np.testing.assert_array_equal(alone.energy, barrel.energy)


def measured(energies, late=()):
    """Channels without noise of one event, from {(ieta, iphi): GeV} in time and of the crossing after it."""
    towers, after = np.zeros((2, 1, geometry.HCAL_TOWERS))
    for of, some in ((towers, energies), (after, dict(late))):
        for (ieta, iphi), energy in some.items():
            of[0, geometry.hcal_cell(ieta, iphi, 1)] = energy
    neighbors = np.zeros((len(crossings.NEIGHBORS), 1, geometry.HCAL_TOWERS))
    neighbors[crossings.NEIGHBORS.index(50.0)] = after
    return hcal.measure(towers, rng(), late=neighbors, noise=0.0)


def cells_of(hits):
    return set(zip(*(values.tolist() for values in geometry.hcal_coordinates(hits.cell))))


def test_the_energy_is_that_of_four_samples():
    channels = measured({(3, 30): 5.0}, late={(4, 60): 5.0})
    energy = {
        cell: channels.energy[0, channels.cell == geometry.hcal_cell(*cell, 1)] for cell in ((3, 30), (4, 60))
    }
    assert energy[3, 30] == pytest.approx(5.0)
    assert energy[4, 60] == pytest.approx(5.0 * sum(hcal.PULSE[:2]))


def test_only_channels_up_to_ieta_15_that_show_enough_are_flagged():
    channels = measured({(1, 5): 4.0, (-15, 20): 4.0, (16, 40): 9.0, (17, 60): 9.0})
    assert cells_of(channels.flagged_hits()) == {(1, 5, 1), (-15, 20, 1)}
    assert len(channels.hits().cell) == 5  # |ieta| 16 has two depths


def test_most_hits_of_less_than_a_gev_are_dropped():
    hits = measured({(ieta, iphi): 0.7 for ieta in range(1, 15) for iphi in range(1, 73)})
    assert len(hits.hits().cell) == 14 * 72
    assert len(hits.flagged_hits().cell) < 0.2 * 14 * 72


def test_energy_of_other_crossings_flags_a_channel_whatever_its_own_energy():
    assert cells_of(measured({}, late={(3, 30): 5.0}).flagged_hits()) == {(3, 30, 1)}


def test_an_event_whose_brightest_channels_are_one_pulse_in_time_has_no_flags():
    dim = {(5, 50): 4.0}
    assert len(measured(dim | {(1, 10): 15.0}).flagged_hits().cell) == 2
    assert len(measured(dim | {(1, 10): 60.0}).flagged_hits().cell) == 0
    # The same energy, half of it out of time, has another profile.
    assert len(measured(dim | {(1, 10): 30.0}, late={(1, 10): 30.0}).flagged_hits().cell) == 2


def test_towers_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="HCAL towers"):
        hcal.measure(np.zeros(100), rng())
