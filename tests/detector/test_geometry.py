"""Cells and coordinates are inverses, and directions find the cell they point to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from e2e_jax.detector import geometry as g


def test_the_barrel_is_numbered_as_its_image():
    ieta, iphi = g.eb_coordinates(np.arange(g.EB_CELLS))
    assert g.eb_cell(-85, 1) == 0
    assert g.eb_cell(-1, 360) == 85 * 360 - 1
    assert g.eb_cell(1, 1) == 85 * 360
    assert g.eb_cell(85, 360) == g.EB_CELLS - 1
    assert 0 not in ieta
    np.testing.assert_array_equal(g.eb_cell(ieta, iphi), np.arange(g.EB_CELLS))


def test_the_endcaps_have_7324_crystals_each_and_their_symmetries():
    cells = g.ee_crystals().cell
    assert len(cells) == len(np.unique(cells)) == 2 * 7324
    np.testing.assert_array_equal(g.ee_cell(*g.ee_coordinates(cells)), cells)
    minus, plus = g.ee_exists().reshape(2, 100, 100)
    for image in (plus, minus[::-1], minus[:, ::-1], minus.T):
        np.testing.assert_array_equal(image, minus)


def test_endcap_positions():
    crystals = g.ee_crystals()
    ix, iy, zside = g.ee_coordinates(crystals.cell)
    assert (np.sign(crystals.z) == zside).all()
    assert (np.sign(crystals.x) == np.sign(ix - 50.5)).all()
    assert (np.sign(crystals.y) == np.sign(iy - 50.5)).all()
    for values, low, high in ((crystals.z, 320.734, 325.972), (crystals.eta, 1.4917, 2.9360)):
        np.testing.assert_allclose([abs(values).min(), abs(values).max()], [low, high], atol=1e-4)
    assert (np.sign(crystals.eta) == zside).all()
    first = crystals.cell == g.ee_cell(1, 41, 1)
    position = [crystals.x[first][0], crystals.y[first][0], crystals.z[first][0]]
    np.testing.assert_allclose(position, [-148.730, -28.624, 321.006])
    # Neighbours are about one front face of 2.86 cm apart; blocks of 5 x 5 leave wider gaps.
    row = np.diff(crystals.x[(iy == 50) & (zside == 1) & (ix > 60)])
    assert (row > 2.7).all()
    assert abs(np.median(row) - 2.86) < 0.05


def test_every_hcal_cell_survives_the_round_trip():
    ieta, iphi, depth = g.hcal_coordinates(np.arange(g.HCAL_CELLS))
    real = (abs(ieta) <= 20) | (iphi % 2 == 1)
    cell = g.hcal_cell(ieta[real], iphi[real], depth[real])
    np.testing.assert_array_equal(cell, np.arange(g.HCAL_CELLS)[real])
    assert g.hcal_cell(5, 7, 1) == g.hcal_cell(5, 7, 3) % g.HCAL_TOWERS


@pytest.mark.parametrize(
    ("make", "arguments", "named"),
    [
        (g.eb_cell, (0, 1), "EB |ieta| = 0"),
        (g.eb_cell, ([1, 86], 1), "EB |ieta| = 86"),
        (g.eb_cell, (1, 0), "EB iphi = 0"),
        (g.ee_cell, (1, 1, 1), "ix = 1, iy = 1"),
        (g.ee_cell, (101, 1, 1), "EE ix = 101"),
        (g.ee_cell, (50, 1, 0), "EE |zside| = 0"),
        (g.hcal_cell, (30, 1, 1), "HCAL |ieta| = 30"),
        (g.hcal_cell, (21, 2, 1), "no iphi = 2"),
        (g.hcal_cell, (1, 1, 8), "HCAL depth = 8"),
        (g.eb_coordinates, (g.EB_CELLS,), "EB cell = 61200"),
        (g.ee_coordinates, (-1,), "EE cell = -1"),
        (g.hcal_coordinates, (g.HCAL_CELLS,), "HCAL cell = 29232"),
    ],
)
def test_a_cell_that_does_not_exist_is_named(make, arguments, named):
    with pytest.raises(ValueError) as error:
        make(*arguments)
    assert named in str(error.value)


def test_each_crystal_is_found_by_its_own_centre():
    eta, phi = np.broadcast_arrays(g.eb_eta_centres()[:, None], g.eb_phi_centres())
    expected = np.arange(g.EB_CELLS).reshape(eta.shape)
    for turn in (0, 2 * np.pi, -2 * np.pi):
        np.testing.assert_array_equal(g.barrel_cell(eta, phi + turn), expected)


def test_the_barrel_ends_at_its_edge():
    eta, phi = np.array([-1.479, 1.479, -1.48, 1.48, 3, np.nan, 0.1]), np.array([0.1] * 6 + [np.nan])
    np.testing.assert_array_equal(g.barrel_cell(eta, phi) // 360, [0, 169, -1, -1, -1, -1, -1])
    edges = g.eb_eta_edges()
    np.testing.assert_array_equal(edges[[0, 85, -1]], [-1.479, 0, 1.479])
    assert (np.diff(edges) > 0.01).all()
    assert g.barrel_cell(1e-4, np.deg2rad(0.5)) == g.eb_cell(1, 11)
    assert g.barrel_cell(-1e-4, np.deg2rad(-10.5)) == g.eb_cell(-1, 360)


def test_numpy_and_jax_find_the_same_crystals():
    random = np.random.default_rng(1)
    eta, phi = random.uniform(-1.6, 1.6, 20000), random.uniform(-4, 4, 20000)
    found = jax.jit(lambda eta, phi: g.barrel_cell(eta, phi, jnp))(np.float32(eta), np.float32(phi))
    np.testing.assert_array_equal(found, g.barrel_cell(eta, phi))


def test_directions_find_hcal_towers():
    assert len(g.HCAL_ETA_EDGES) == 30
    assert (np.diff(g.HCAL_ETA_EDGES) > 0.08).all()
    eta = [0.01, -0.01, 1.7, 1.8, -2.99, 3.0, -5.0]
    ieta, iphi = g.hcal_tower(eta, np.deg2rad([1, -1, 359, 359, 6, 0, 0]))
    np.testing.assert_array_equal(ieta, [1, -1, 20, 21, -29, 0, 0])
    np.testing.assert_array_equal(iphi, [1, 72, 72, 71, 1, 0, 0])


def test_each_barrel_tower_covers_5_by_5_crystals_two_towers_on():
    # HCAL iphi = 1 spans 0 to 5 degrees: EB iphi 11 to 15.
    eta, phi = np.broadcast_arrays(g.eb_eta_centres()[:, None], g.eb_phi_centres())
    ieta, iphi = g.hcal_tower(eta, phi)
    eb_ieta, eb_iphi = g.eb_coordinates(np.arange(g.EB_CELLS).reshape(eta.shape))
    np.testing.assert_array_equal(iphi, (eb_iphi - 11) // 5 % 72 + 1)
    # Pointing back to the origin, the last of the five crystals can end up just over the tower's edge.
    ring = (abs(eb_ieta) - 1) // 5 + 1
    edges = np.asarray(g.HCAL_ETA_EDGES)
    assert (abs(eta) > edges[ring - 1]).all()
    assert (abs(eta) < edges[ring] + 0.003).all()
    np.testing.assert_array_equal(np.sign(ieta), np.sign(eb_ieta))


def test_tables_cannot_be_changed_by_accident():
    with pytest.raises(ValueError, match="read-only"):
        g.eb_eta_centres()[0] = 0


@pytest.mark.parametrize("xp", [np, jnp])
def test_an_angle_difference_is_the_shortest_way_round(xp):
    first, second = xp.asarray([3.1, -3.1, 0.5, 7.0]), xp.asarray([-3.1, 3.1, 0.2, 0.0])
    expected = [6.2 - 2 * np.pi, 2 * np.pi - 6.2, 0.3, 7 - 2 * np.pi]
    np.testing.assert_allclose(g.delta_phi(first, second), expected, atol=1e-6)
