"""Decays, conversions and bremsstrahlung conserve what they must."""

import numpy as np
import pytest

from e2e_jax.sources.fastsim import material
from e2e_jax.sources.fastsim.particles import Particles
from tests.sources.fastsim.gun import shoot


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
    # The rare electron that loses nearly all curls up in the field, with what it has left.
    np.testing.assert_allclose(total, 60.0, atol=0.6)
    kept = np.bincount(left.event, left.energy, 4_000).mean() / 60.0
    # Softer photons than SOFTEST_PHOTON are not followed: they would take 4/3 X times that fraction.
    assert kept == pytest.approx(np.exp(-material.radiation_lengths(np.array(0.0))), abs=0.02)
