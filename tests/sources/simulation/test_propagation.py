"""Helices and straight lines end at the positions given by geometry."""

import numpy as np

from e2e_jax.sources.simulation.particles import Particles
from e2e_jax.sources.simulation.propagation import ENDCAP_Z, PT_PER_CM, to_plane, to_radius
from tests.sources.simulation.gun import shoot


def particles(pdg, momentum, eta, phi, charge=0):
    record = shoot(pdg, momentum, np.asarray(eta), np.asarray(phi), charge)
    return Particles.from_generator(record, np.zeros(len(record)))


def test_a_photon_keeps_its_direction():
    eta, phi = np.linspace(-1.2, 1.2, 7), np.linspace(-3, 3, 7)
    moved, reached = to_radius(particles(22, 10.0, eta, phi), 129.0)
    assert reached.all()
    np.testing.assert_allclose(moved.radius, 129.0)
    np.testing.assert_allclose(np.arcsinh(moved.position[:, 2] / 129.0), eta)
    np.testing.assert_allclose(np.arctan2(moved.position[:, 1], moved.position[:, 0]), phi)


def test_a_charged_particle_bends_by_its_radius_of_curvature():
    pt, radius = np.array([1.0, 2.0, 50.0]), 129.0
    for charge in (-1, 1):
        moved, reached = to_radius(particles(211, pt, 0 * pt, 0 * pt, charge), radius)
        assert reached.all()
        phi = np.arctan2(moved.position[:, 1], moved.position[:, 0])
        # A chord of length R under a circle of radius rho: sin(phi) = R / (2 rho), clockwise for q > 0.
        np.testing.assert_allclose(np.sin(phi), -charge * radius * PT_PER_CM / (2 * pt))
        np.testing.assert_allclose(moved.pt, pt)


def test_steps_add_up_to_one_leap():
    start = particles(211, np.array([3.0, 8.0]), np.array([0.3, -0.9]), np.array([0.1, 2.0]), 1)
    stepped = start
    for radius in (4.0, 30.0, 90.0, 129.0):
        stepped, _ = to_radius(stepped, radius)
    leaped, _ = to_radius(start, 129.0)
    np.testing.assert_allclose(stepped.position, leaped.position, rtol=1e-9)
    np.testing.assert_allclose(stepped.momentum, leaped.momentum, rtol=1e-9)


def test_soft_particles_curl_and_forward_ones_meet_the_endcap():
    _, reached = to_radius(particles(211, np.array([0.5, 1.0]), np.zeros(2), np.zeros(2), 1), 129.0)
    np.testing.assert_array_equal(reached, [False, True])
    _, reached = to_radius(
        particles(22, 10.0, np.array([1.0, np.arcsinh(ENDCAP_Z / 129.0) + 0.01]), np.zeros(2)), 129.0
    )
    np.testing.assert_array_equal(reached, [True, False])


def test_on_the_endcap_plane_a_photon_keeps_its_direction():
    eta, phi = np.array([-2.9, -1.6, 1.6, 2.2, 3.0]), np.linspace(-3, 3, 5)
    moved, reached = to_plane(particles(22, 10.0, eta, phi), ENDCAP_Z)
    assert reached.all()
    np.testing.assert_allclose(moved.position[:, 2], np.sign(eta) * ENDCAP_Z)
    np.testing.assert_allclose(np.arcsinh(moved.position[:, 2] / moved.radius), eta)
    np.testing.assert_allclose(np.arctan2(moved.position[:, 1], moved.position[:, 0]), phi)


def test_a_helix_to_the_endcap_turns_by_its_length_along_the_beam():
    for charge in (-1, 1):
        eta = np.array([1.6, -2.0, 2.8])
        start = particles(211, np.array([3.0, 10.0, 40.0]), eta, np.zeros(3), charge)
        moved, reached = to_plane(start, ENDCAP_Z)
        assert reached.all()
        np.testing.assert_allclose(moved.position[:, 2], np.sign(eta) * ENDCAP_Z)
        turned = np.arctan2(moved.momentum[:, 1], moved.momentum[:, 0])
        turn = PT_PER_CM * ENDCAP_Z / np.abs(start.momentum[:, 2])
        np.testing.assert_allclose(turned, -charge * turn)
        # The chord of a turn on a circle of radius pT / PT_PER_CM.
        np.testing.assert_allclose(moved.radius, 2 * start.pt / PT_PER_CM * np.sin(turn / 2))
        np.testing.assert_allclose(moved.pt, start.pt)


def test_cylinders_and_planes_lie_on_one_helix():
    start = particles(211, np.array([6.0, 20.0]), np.array([1.4, -1.7]), np.array([0.4, 2.0]), -1)
    on_cylinder, reached = to_radius(start, 60.0)
    assert reached.all()
    on_plane, _ = to_plane(start, np.abs(on_cylinder.position[:, 2]))
    np.testing.assert_allclose(on_plane.position, on_cylinder.position, rtol=1e-9)
    np.testing.assert_allclose(on_plane.momentum, on_cylinder.momentum, rtol=1e-9)


def test_what_is_past_the_plane_or_curls_does_not_reach_it():
    start = particles(211, np.array([0.3, 30.0, 30.0]), np.array([0.2, 0.0, 2.0]), np.zeros(3), 1)
    start.position[2, 2] = 330.0
    moved, reached = to_plane(start, ENDCAP_Z)
    assert reached.tolist() == [False, False, False]
    np.testing.assert_array_equal(moved.position, start.position)
