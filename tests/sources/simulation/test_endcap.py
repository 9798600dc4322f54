"""Energy that enters an endcap is deposited completely, in the crystals and towers given by the geometry."""

import numpy as np
import pytest

from e2e_jax.detector import geometry
from e2e_jax.sources.simulation import endcap, hadrons, showers
from e2e_jax.sources.simulation.particles import Particles
from tests.sources.simulation.gun import shoot

EVENTS = 200


def beam(pdg, momentum, eta, phi, charge=0):
    record = shoot(pdg, momentum, np.asarray(eta), np.asarray(phi), charge)
    return Particles.from_generator(record, np.zeros(len(record)))


def directions(seed, low, high):
    rng = np.random.default_rng(seed)
    return rng.uniform(low, high, EVENTS) * rng.choice([-1, 1], EVENTS), rng.uniform(-np.pi, np.pi, EVENTS)


@pytest.mark.parametrize("depth", [0.0, 11.0, 22.0])
def test_a_point_on_the_axis_of_a_crystal_is_in_it(depth):
    crystals = geometry.ee_crystals()
    centre = np.stack([crystals.x, crystals.y, crystals.z], axis=1)
    axis = centre + np.sign(crystals.z)[:, None] * np.array([0, 0, endcap.FOCUS])
    point = centre + depth * axis / np.linalg.norm(axis, axis=1, keepdims=True)
    np.testing.assert_array_equal(endcap.crystal_at(*point.T), crystals.cell)
    half = 1.2  # still within the crystal, which is 2.9 wide
    np.testing.assert_array_equal(endcap.crystal_at(point[:, 0] + half, *point.T[1:]), crystals.cell)


def test_beside_the_crystals_there_is_none():
    x, y = np.array([0.0, 10.0, 165.0, 0.0, 1e4]), np.array([0.0, 5.0, 0.0, -165.0, 0.0])
    np.testing.assert_array_equal(endcap.crystal_at(x, y, np.full(5, 321.0)), -1)


def test_both_ends_are_alike():
    eta, phi = directions(1, 1.5, 2.9)
    ends = [endcap.entries(beam(22, 50.0, sign * np.abs(eta), phi)) for sign in (1, -1)]
    plus, minus = (endcap.crystal_at(*end.frame[:, :3].T) for end in ends)
    np.testing.assert_array_equal(plus >= 0, minus >= 0)
    np.testing.assert_array_equal((plus - minus)[plus >= 0], geometry.EE_SIDE**2)


def test_what_misses_the_crystals_of_both_ends_is_dropped():
    assert len(endcap.entries(beam(22, 50.0, [1.2, 0.0, -1.0], [0.0, 1.0, 2.0]))) == 0
    assert len(endcap.entries(beam(22, 50.0, [1.6, -2.9], [0.0, 1.0]))) == 2


def test_no_energy_of_a_shower_is_lost_but_in_lead():
    for low, high, least in ((2.65, 2.8, 1.0), (1.75, 2.4, 0.95)):
        eta, phi = directions(2, low, high)
        spots, behind = showers.deposit_in_endcaps(
            endcap.entries(beam(22, 50.0, eta, phi)), np.random.default_rng(3)
        )
        total = np.bincount(spots.event, spots.energy, EVENTS) + np.bincount(
            behind.event, behind.energy, EVENTS
        )
        assert total.max() < 50 * (1 + 1e-5)
        assert total.mean() / 50 == pytest.approx((1 + least) / 2, abs=(1 - least) / 2 + 1e-5)
        crystals = spots.in_crystals(EVENTS).sum(axis=1)
        assert crystals.mean() > 0.97 * np.bincount(spots.event, spots.energy, EVENTS).mean()
        inside = behind.in_towers(EVENTS).sum()
        assert inside == pytest.approx(behind.energy.sum(), rel=0.05)
    assert total.mean() < 50 * 0.998  # the last ones passed the preshower


def test_soft_showers_leave_more_of_themselves_in_the_preshower():
    eta, phi = directions(4, 1.75, 2.4)
    rng = np.random.default_rng(5)
    kept = []
    for momentum in (3.0, 10.0, 100.0):
        spots, behind = showers.deposit_in_endcaps(endcap.entries(beam(11, momentum, eta, phi, -1)), rng)
        kept.append((spots.energy.sum() + behind.energy.sum()) / (momentum * EVENTS))
    assert kept[0] < kept[1] < kept[2] < 1


def test_a_shower_lies_where_its_photon_points():
    eta, phi = directions(6, 1.7, 2.5)
    spots, _ = showers.deposit_in_endcaps(endcap.entries(beam(22, 50.0, eta, phi)), np.random.default_rng(7))
    crystals = geometry.ee_crystals()
    hottest = np.searchsorted(crystals.cell, spots.in_crystals(EVENTS).argmax(axis=1))
    d_phi = np.angle(np.exp(1j * (crystals.phi[hottest] - phi)))
    # Half of a crystal is 0.015 of a radian at eta 1.7 and 0.03 at eta 2.5.
    assert np.median(np.abs(crystals.eta[hottest] - eta)) < 0.015
    assert np.median(np.abs(d_phi)) < 0.015
    for sign in (1, -1):
        chosen = np.sign(eta) == sign
        assert abs(np.median((crystals.eta[hottest] - eta)[chosen])) < 0.012


def test_towers_are_where_they_should_be():
    eta = np.array([1.5, 1.7, -1.9, 2.1, 2.9, -2.99, 3.05])
    phi = np.radians([2.0, 7.0, 7.0, 7.0, 358.0, 91.0, 0.0])
    z = np.sign(eta) * 330.0
    radius = z / np.sinh(eta)
    spots = endcap.Spots(np.arange(7), radius * np.cos(phi), radius * np.sin(phi), z, np.arange(1.0, 8.0))
    towers = spots.in_towers(7)
    event, tower = np.nonzero(towers)
    ieta, iphi, _ = geometry.hcal_coordinates(tower)
    assert event.tolist() == [0, 1, 2, 3, 4, 5]  # the last one is beyond eta 3
    assert ieta.tolist() == [18, 20, -22, 24, 29, -29]
    assert iphi.tolist() == [1, 2, 1, 1, 71, 19]
    assert towers[event, tower].tolist() == [1, 2, 3, 4, 5, 6]


def test_hadrons_and_muons_leave_their_energy_in_both_calorimeters():
    eta, phi = directions(8, 1.8, 2.4)
    rng = np.random.default_rng(9)
    sums = {}
    for name, pdg, charge in (("pion", 211, 1), ("muon", 13, -1)):
        entries = endcap.entries(beam(pdg, 50.0, eta, phi, charge))
        ecal, hcal = hadrons.deposit_in_endcaps(entries, rng)
        sums[name] = ecal.energy.sum() / EVENTS, hcal.in_towers(EVENTS).sum() / EVENTS
    ecal, hcal = sums["pion"]
    excess = hadrons.HCAL_EXCESS / (1 + hcal / hadrons.HCAL_EXCESS_ENERGY)
    assert ecal + hcal / (1 + excess) == pytest.approx(43.6, rel=0.05)  # the barrel's response at 50 GeV
    assert sums["muon"] == pytest.approx((0.25, 1.8), rel=0.1)
