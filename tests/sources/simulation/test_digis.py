"""Digis: the fit recovers energy and time with the requested noise."""

import numpy as np
import pytest

from e2e_jax.detector.crops import GEV_PER_COUNT, PEDESTAL, SAMPLES
from e2e_jax.sources.simulation import digis
from e2e_jax.sources.simulation.readout import EB_NOISE

MANY = 20_000


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_the_pulse_is_that_of_the_barrel():
    """CMSSW's template of the barrel's pulse (`EBPulseShapeTemplate`), to 2 % of the peak."""
    template = [0, 0, 0, 0.0114, 0.7582, 1, 0.8877, 0.6735, 0.4743, 0.3196]
    np.testing.assert_allclose(digis.pulse(0.0), template, atol=0.02)
    assert digis.pulse(np.zeros((3, 4))).shape == (3, 4, SAMPLES)


@pytest.mark.parametrize("time", [-20.0, -7.3, -1.0, 0.0, 0.4, 5.0, 20.0])
def test_without_noise_the_fit_returns_what_went_in(time):
    energy = np.array([0.6, 20.0, 400.0])
    signal = energy[:, None] * digis.pulse(np.full(3, time)) + 0.7
    found_energy, found_time = digis.fit(signal)
    np.testing.assert_allclose(found_energy, energy, rtol=1e-3)
    np.testing.assert_allclose(found_time, time, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("time", [-20.0, -1.0, 0.4, 20.0])
def test_without_noise_counts_return_what_went_in_to_a_count(time):
    """Gain 12 below 152 GeV, gain 6 below 304, gain 1 above."""
    energy, step = np.array([20.0, 200.0, 400.0]), GEV_PER_COUNT * np.array([1, 2, 12])
    found_energy, found_time = digis.reconstruct(
        digis.counts(energy[:, None] * digis.pulse(np.full(3, time)))
    )
    assert (abs(found_energy - energy) < step).all()
    assert (abs(found_time - time) < digis.time_noise() * step / energy).all()


def test_energy_and_time_are_unbiased(rng):
    for energy in (0.5, 3.0, 40.0):
        late = rng.normal(0, 0.2, MANY)
        samples = digis.digitise(np.full(MANY, energy), late, rng)
        found_energy, found_time = digis.reconstruct(samples)
        error = 5 / np.sqrt(MANY)
        # For amplitudes near the noise, the fit prefers times that give a larger amplitude, by sigma^2 / A.
        assert abs(found_energy.mean() - energy) < error * EB_NOISE + 1.5 * EB_NOISE**2 / energy
        # The pulse rises faster than it falls, which shifts times by a fraction of their width.
        assert abs((found_time - late).mean()) < 0.08 * digis.time_noise() * EB_NOISE / energy + 3e-3


def test_the_time_resolution_falls_as_one_over_the_amplitude(rng):
    """As in the test beam (arXiv:0911.4044): N sigma / A with N = 35.1 ns; rounding to counts adds 8 %."""
    assert digis.time_noise() == pytest.approx(35.1, rel=0.02)
    for energy in (1.0, 4.0, 16.0):
        _, time = digis.reconstruct(digis.digitise(np.full(MANY, energy), np.zeros(MANY), rng))
        assert time.std() * energy / EB_NOISE == pytest.approx(35.1 * 1.08, rel=0.05)


def test_noise_has_the_energy_and_the_correlation_that_was_set(rng):
    samples = digis.digitise(np.zeros(MANY), np.zeros(MANY), rng)
    signal = (samples - PEDESTAL) * GEV_PER_COUNT
    assert signal.mean() == pytest.approx(0, abs=0.002)
    assert np.std(signal @ digis.amplitude_weights()) == pytest.approx(
        np.hypot(EB_NOISE, 0.0114 * 1.4), rel=0.03
    )
    rounding = GEV_PER_COUNT**2 / 12
    noise = np.cov(signal.T) - rounding * np.eye(SAMPLES)
    for apart, correlation in enumerate(digis.NOISE_CORRELATION):
        measured = np.diagonal(noise, apart).mean() / np.diagonal(noise).mean()
        assert measured == pytest.approx(correlation, abs=0.03)


def test_samples_made_for_an_energy_have_it(rng):
    """The rest of the noise is unchanged: the components that do not affect the amplitude."""
    wanted = rng.normal(0, EB_NOISE, MANY)
    signal = (digis.digitise(np.ones(MANY), np.zeros(MANY), rng, wanted) - PEDESTAL) * GEV_PER_COUNT
    found = signal @ digis.amplitude_weights() - 1
    assert np.std(found - wanted) < 0.015
    free = np.cov(signal.T) - GEV_PER_COUNT**2 / 12 * np.eye(SAMPLES)
    np.testing.assert_allclose(free, digis.covariance(), rtol=0.06)


def test_times_without_samples_are_as_wide_as_those_of_samples(rng):
    energy = np.full(MANY, 2.0)
    without = digis.smeared_time(energy, np.full(MANY, 0.3), rng)
    _, fitted = digis.reconstruct(digis.digitise(energy, np.full(MANY, 0.3), rng))
    assert without.std() == pytest.approx(fitted.std(), rel=0.1)
    assert without.mean() == pytest.approx(fitted.mean(), abs=0.05)


def test_crystals_without_a_pulse_have_no_time(rng):
    assert digis.reconstruct(np.full((1, SAMPLES), PEDESTAL, np.uint16)) == (0, 0)
    energy = np.array([-0.1, 0.0, 0.5 * EB_NOISE])
    assert not digis.smeared_time(energy, np.zeros(3), rng).any()
    assert digis.reconstruct(np.zeros((0, SAMPLES), np.uint16))[0].shape == (0,)


def test_large_samples_are_read_at_a_lower_gain():
    """The range of each gain is 12 bits minus the pedestal, in steps of its own counts."""
    held = (digis.LARGEST_COUNT - PEDESTAL) * GEV_PER_COUNT
    for energy, step in ((0.99 * held, 1), (1.5 * held, 2), (6.5 * held, 12)):
        peak = digis.counts(np.array([energy]))[0]
        assert (peak - PEDESTAL) % step == 0
        assert (peak - PEDESTAL) * GEV_PER_COUNT == pytest.approx(energy, abs=step * GEV_PER_COUNT)
    full = digis.counts(np.array([1e5]))[0]
    assert full == 12 * (digis.LARGEST_COUNT - PEDESTAL) + PEDESTAL
