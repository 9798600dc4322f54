"""Decays, conversions and bremsstrahlung obey their conservation laws."""

import numpy as np
import pytest

from e2e_jax.sources.simulation import material
from e2e_jax.sources.simulation.particles import Particles
from tests.sources.simulation.gun import shoot


def beam(pdg, count, momentum, eta=0.0, charge=0):
    record = shoot(pdg, np.full(count, float(momentum)), np.full(count, eta), np.zeros(count), charge)
    return Particles.from_generator(record, np.zeros(count))


def by_event(particles: Particles, events: int) -> np.ndarray:
    """Energy and momentum of each event, `[events, 4]`."""
    four = np.column_stack([particles.energy, particles.momentum])
    return np.stack([np.bincount(particles.event, column, events) for column in four.T], axis=1)


def test_decays_conserve_four_momentum_and_charge():
    kaons = beam(310, 500, 5.0, eta=0.7)
    products = material.decay_in_flight(kaons, np.random.default_rng(0))
    assert len(products) > 900
    np.testing.assert_allclose(by_event(products, 500), by_event(kaons, 500), rtol=1e-4, atol=1e-4)
    assert np.all(np.bincount(products.event, products.charge, 500) == 0)


@pytest.mark.parametrize("eta", [0.0, 1.4])
def test_photons_convert_as_often_as_the_material_says(eta):
    photons = beam(22, 20_000, 50.0, eta)
    left, pairs = material.convert(photons, np.random.default_rng(1))
    expected = -np.expm1(-7 / 9 * material.radiation_lengths(np.array(eta)))
    assert 1 - len(left) / len(photons) == pytest.approx(expected, abs=0.012)
    both = by_event(Particles.concatenate([left, pairs]), len(photons))
    np.testing.assert_allclose(both[:, 0], 50.0)
    assert set(pairs.charge) == {-1, 1}
    assert len(pairs) == 2 * (len(photons) - len(left))


def test_electrons_lose_one_part_in_e_a_radiation_length():
    electrons = beam(11, 4_000, 60.0, charge=-1)
    left, shed = material.radiate(electrons, np.random.default_rng(2))
    total = by_event(Particles.concatenate([left, shed]), 4_000)[:, 0]
    # A rare electron that loses nearly all of its energy curls up in the field with the rest.
    np.testing.assert_allclose(total, 60.0, atol=0.6)
    kept = np.bincount(left.event, left.energy, 4_000).mean() / 60.0
    # Photons softer than SOFTEST_PHOTON are not simulated: they would take 4/3 X times that fraction.
    assert kept == pytest.approx(np.exp(-material.radiation_lengths(np.array(0.0))), abs=0.02)


def test_nothing_decays_behind_the_endcap():
    kaons = beam(310, 2_000, 400.0, eta=3.0)  # they fly 21 m
    products = material.decay_in_flight(kaons, np.random.default_rng(3), endcap_z=320.0)
    inside = 1 - products.is_a(310).sum() / len(kaons)
    mean_z = 2.684 * kaons.momentum[0, 2] / 0.49761
    assert inside == pytest.approx(-np.expm1(-320.0 / mean_z), abs=0.03)
    assert np.abs(products.position[:, 2]).max() < 320.0


@pytest.mark.parametrize("eta", [1.6, -2.4])
def test_forward_photons_convert_on_the_discs_as_often_as_the_material_says(eta):
    photons = beam(22, 20_000, 50.0, eta)
    left, pairs = material.cross(material.convert, photons, np.random.default_rng(4), endcaps=True)
    expected = -np.expm1(-7 / 9 * material.radiation_lengths(np.array(eta)))
    assert 1 - len(left) / len(photons) == pytest.approx(expected, abs=0.012)
    assert set(np.abs(pairs.position[:, 2])) == set(material.DISCS.depth)
    assert len(pairs) == 2 * (len(photons) - len(left))


def test_forward_electrons_lose_one_part_in_e_a_radiation_length():
    electrons = beam(11, 4_000, 60.0, eta=2.2, charge=-1)
    left, shed = material.cross(material.radiate, electrons, np.random.default_rng(5), endcaps=True)
    total = by_event(Particles.concatenate([left, shed]), 4_000)[:, 0]
    np.testing.assert_allclose(total, 60.0, atol=0.6)
    kept = np.bincount(left.event, left.energy, 4_000).mean() / 60.0
    # At most one photon per quarter of a disc, so the loss is slightly too small.
    assert kept == pytest.approx(np.exp(-material.radiation_lengths(np.array(2.2))), abs=0.03)
    np.testing.assert_allclose(left.position[:, 2], material.DISCS.depth[-1])


def test_each_region_has_its_own_layers():
    photons = Particles.concatenate([beam(22, 3_000, 50.0, 1.0), beam(22, 3_000, 50.0, 2.0)])
    _, pairs = material.cross(material.convert, photons, np.random.default_rng(6), endcaps=True)
    barrel = pairs.eta < 1.479
    np.testing.assert_allclose(
        np.min(np.abs(pairs.radius[barrel, None] - material.CYLINDERS.depth), axis=1), 0, atol=1e-9
    )
    assert set(np.abs(pairs.position[~barrel, 2])) <= set(material.DISCS.depth)
