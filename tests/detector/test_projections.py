"""The tables put crystals, towers and directions where the detector has them, and lose nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from e2e_jax.detector import geometry as g
from e2e_jax.detector import projections as p

CRYSTALS = g.ee_crystals()


def directions(count, seed=0):
    random = np.random.default_rng(seed)
    eta = random.uniform(1.48, 3.0, count) * random.choice([-1, 1], count)
    return eta.astype(np.float32), random.uniform(-2 * np.pi, 2 * np.pi, count).astype(np.float32)


def test_each_endcap_crystal_is_found_by_its_own_centre():
    for turn in (0, 2 * np.pi, -2 * np.pi):
        np.testing.assert_array_equal(p.endcap_cell(CRYSTALS.eta, CRYSTALS.phi + turn), CRYSTALS.cell)


def test_a_direction_finds_the_nearest_crystal_to_a_fraction_of_one():
    eta, phi = directions(1000)
    found = np.searchsorted(CRYSTALS.cell, p.endcap_cell(eta, phi))
    x, y = CRYSTALS.x / abs(CRYSTALS.z), CRYSTALS.y / abs(CRYSTALS.z)
    radius = 1 / np.sinh(abs(eta))[:, None]
    distance = np.hypot(x - radius * np.cos(phi)[:, None], y - radius * np.sin(phi)[:, None])
    distance[np.sign(CRYSTALS.z) != np.sign(eta)[:, None]] = np.inf
    crystal = 2.86 / 321  # front face over z
    assert (distance[np.arange(1000), found] - distance.min(1) < 0.15 * crystal).all()


def test_directions_outside_of_the_endcaps_find_none():
    eta = np.array([0, 1.479, -1.479, 3.001, -4, np.nan, np.inf, 2, 2])
    phi = np.array([0.1] * 7 + [np.nan, np.inf])
    np.testing.assert_array_equal(p.endcap_cell(eta, phi), -1)
    assert (p.endcap_cell([1.4795, -3.0], [0.1, 0.1]) >= 0).all()


def test_numpy_and_jax_find_the_same_endcap_crystals():
    eta, phi = directions(20000, seed=1)
    found = jax.jit(lambda eta, phi: p.endcap_cell(eta, phi, jnp))(eta, phi)
    np.testing.assert_array_equal(found, p.endcap_cell(eta, phi))


def test_the_stitched_image_continues_the_barrel_in_eta_and_phi():
    row, column = np.divmod(p.stitched_pixels()[CRYSTALS.cell], 360)
    phi = g.eb_phi_centres()[column]
    assert (abs((CRYSTALS.phi - phi + np.pi) % (2 * np.pi) - np.pi) <= np.deg2rad(0.5) + 1e-9).all()
    # 5 rows a tower: the tower of the row is the tower of the crystal, 29 being part of 28.
    ieta, _ = g.hcal_tower(CRYSTALS.eta, CRYSTALS.phi)
    ring = np.where(row >= 225, (row - 225) // 5 + 18, (54 - row) // 5 + 18)
    np.testing.assert_array_equal(ring, np.minimum(abs(ieta), 28))
    np.testing.assert_array_equal(row >= 225, CRYSTALS.z > 0)
    outwards = np.where(CRYSTALS.z > 0, row - 225, 54 - row)
    order = np.argsort(abs(CRYSTALS.eta))
    assert (np.diff(outwards[order]) >= 0).all()
    assert outwards.min() == 0
    assert outwards.max() == 54


def test_the_two_sides_mirror_each_other():
    minus, plus = p.stitched_pixels().reshape(2, -1)
    real = plus < p.FULL_PIXELS
    np.testing.assert_array_equal(279 - plus[real] // 360, minus[real] // 360)
    np.testing.assert_array_equal(plus[real] % 360, minus[real] % 360)


def test_smearing_keeps_the_energy_and_stays_in_its_block():
    table, pixel = p.smeared_pixels(), p.stitched_pixels()
    exists = g.ee_exists()
    np.testing.assert_allclose(table.share[exists].sum(1), 1)
    assert not table.share[~exists].any()
    assert (table.pixel[~exists] == p.FULL_PIXELS).all()
    row, column = np.divmod(table.pixel[exists], 360)
    kept = table.share[exists] > 0
    own = np.stack(np.divmod(pixel[exists], 360))[:, :, None]
    assert (abs(np.stack([row, column]) - own)[:, kept] <= 1).all()
    assert ((row <= 54) | (row >= 225))[kept].all()
    # Its own pixel is one of them.
    assert (((table.pixel[exists] == pixel[exists][:, None]) & kept).sum(1) == 1).all()


def test_the_authors_lose_half_of_the_outermost_row_and_nothing_else():
    table, pixel = p.smeared_pixels(True), p.stitched_pixels(True)
    outermost = np.isin(pixel // 360, (0, 279))
    assert outermost.any()
    np.testing.assert_allclose(table.share.sum(1), np.where(outermost, 0.5, np.where(g.ee_exists(), 1, 0)))
    # Their edge at 2.322 moves crystals between two rings of towers, and no others.
    moved = CRYSTALS.cell[p.stitched_pixels()[CRYSTALS.cell] != pixel[CRYSTALS.cell]]
    eta = abs(CRYSTALS.eta[np.isin(CRYSTALS.cell, moved)])
    assert len(moved)
    assert (eta > 2.172).all()
    assert (eta < 2.5).all()


@pytest.mark.parametrize("matches_authors", [False, True])
def test_every_endcap_tower_has_crystals_and_every_crystal_one_tower(matches_authors):
    table = p.tower_crystals(matches_authors)
    ieta, _, _ = g.hcal_coordinates(np.arange(g.HCAL_TOWERS))
    has = table.share > 0
    np.testing.assert_array_equal(has, (abs(ieta) > 17) & g.hcal_exists())
    counts = (table.cell < g.EE_CELLS).sum(1)
    np.testing.assert_allclose(table.share[has] * counts[has], 1, rtol=1e-6)
    assert counts[has].min() == 6
    listed = table.cell[abs(ieta) <= 28]
    np.testing.assert_array_equal(np.sort(listed[listed < g.EE_CELLS]), CRYSTALS.cell)


def test_a_towers_crystals_lie_in_its_box():
    table = p.tower_crystals()
    ieta, iphi, _ = g.hcal_coordinates(np.arange(g.HCAL_TOWERS))
    tower, place = np.nonzero(table.cell < g.EE_CELLS)
    where = np.searchsorted(CRYSTALS.cell, table.cell[tower, place])
    found, column = g.hcal_tower(CRYSTALS.eta[where], CRYSTALS.phi[where])
    np.testing.assert_array_equal(np.clip(found, -28, 28), np.clip(ieta[tower], -28, 28))
    np.testing.assert_array_equal(column, iphi[tower])


def test_tower_blocks_tile_the_stitched_image():
    table = p.tower_blocks()
    ieta, _, _ = g.hcal_coordinates(np.arange(g.HCAL_TOWERS))
    covered = np.zeros((280, 360), int)
    for block, wide in zip(*(column[(abs(ieta) <= 28) & g.hcal_exists()] for column in table), strict=True):
        row, column = (5 * place for place in divmod(int(block), 72))
        covered[row : row + 5, column : column + (10 if wide else 5)] += 1
    np.testing.assert_array_equal(covered, 1)
    # 29 is drawn on 28, and what is no tower nowhere.
    for last, merged in ((28, 29), (-28, -29)):
        np.testing.assert_array_equal(table.block[ieta == last], table.block[ieta == merged])
    assert (table.block[~g.hcal_exists()] == 56 * 72).all()
