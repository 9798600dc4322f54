"""Laws of the photon reconstruction in the endcaps, for showers built by hand."""

import numpy as np
import pytest

from e2e_jax.detector import geometry
from e2e_jax.events.base import Ragged
from e2e_jax.sources.simulation import endcap_photons, endcap_readout, shapes

SHOWER = np.array([[0.02, 0.06, 0.02], [0.06, 0.68, 0.06], [0.02, 0.06, 0.02]])
"""Share of a shower's energy in 3x3 crystals; its R9 is 1."""
PLACES = [(20, 40, 1), (60, 75, -1), (50, 80, 1), (75, 25, -1), (88, 51, 1)]


def deposits_of(showers, events=1):
    """`[events, EE_CELLS]` with showers (event, ix, iy, side, energy)."""
    image = np.zeros((events, 2, geometry.EE_SIDE, geometry.EE_SIDE), np.float32)
    for event, ix, iy, side, energy in showers:
        image[event, (side + 1) // 2, iy - 2 : iy + 1, ix - 2 : ix + 1] += energy * SHOWER
    return image.reshape(events, -1) * geometry.ee_exists()


def quiet(deposits):
    """Hits of every crystal with energy, without noise."""
    event, cell = np.nonzero(deposits)
    columns = {"cell": cell.astype(np.uint16), "energy": deposits[event, cell].astype(np.float32)}
    return Ragged.from_counts(np.bincount(event, minlength=len(deposits)), columns)


def no_hcal(events=1):
    columns = {"cell": np.zeros(0, np.uint16), "energy": np.zeros(0, np.float32)}
    return Ragged.from_counts(np.zeros(events, int), columns)


def reconstruct(hits, hcal=None, vertex_z=0.0):
    return endcap_photons.reconstruct_endcap_photons(
        hits, hcal or no_hcal(len(hits)), endcap_photons.clusters(hits), np.full(len(hits), vertex_z)
    )


def direction(ix, iy, side):
    eta, phi, _ = endcap_readout.directions()
    cell = geometry.ee_cell(ix, iy, side)
    return eta[cell], phi[cell]


@pytest.mark.parametrize(("ix", "iy", "side"), PLACES)
def test_a_lone_shower_is_found_once_at_its_place(ix, iy, side):
    deposits = deposits_of([(0, ix, iy, side, 120.0)])
    found = reconstruct(quiet(deposits))
    assert found.counts.tolist() == [1]
    assert found.seed_cell[0] == geometry.ee_cell(ix, iy, side)
    assert found.raw_energy[0] == pytest.approx(deposits.sum(), rel=1e-5)
    assert found.r9[0] == pytest.approx(1, rel=1e-5)
    eta, phi = direction(ix, iy, side)
    # The axis is tilted away from the line from the origin, so |eta| grows with the depth.
    assert 0 < abs(found.eta[0]) - abs(eta) < 0.02
    assert found.phi[0] == pytest.approx(phi, abs=0.003)


def test_both_ends_reconstruct_alike():
    plus, minus = (reconstruct(quiet(deposits_of([(0, 30, 60, side, 90.0)]))) for side in (1, -1))
    for name in ("pt", "energy", "phi", "r9", "sigma_ieta_ieta"):
        assert plus.columns[name][0] == pytest.approx(minus.columns[name][0], rel=1e-5)
    assert plus.eta[0] == pytest.approx(-minus.eta[0], rel=1e-5)


def test_noise_makes_no_photon_and_leaves_the_energy():
    showers = [(event, *PLACES[event % 5], 120.0) for event in range(40)]
    hits = endcap_readout.ecal_endcap_readout(deposits_of(showers, 40), np.random.default_rng(1))
    found = reconstruct(hits)
    assert (found.counts == 1).all()
    assert np.median(found.raw_energy) == pytest.approx(120, rel=0.02)
    silent = np.zeros((40, geometry.EE_CELLS), np.float32)
    hits = endcap_readout.ecal_endcap_readout(silent, np.random.default_rng(2))
    assert reconstruct(hits).counts.sum() == 0


def test_clusters_share_no_crystal():
    rng = np.random.default_rng(3)
    showers = [
        (event, int(rng.integers(20, 80)), int(rng.integers(15, 35)), 1, float(rng.uniform(20, 90)))
        for event in np.repeat(np.arange(20), 6)
    ]
    deposits = deposits_of(showers, 20)
    clusters = endcap_photons.clusters(quiet(deposits))
    clustered = np.bincount(clusters.event_index, clusters.energy, minlength=20)
    assert (clustered <= deposits.sum(axis=1) * (1 + 1e-5)).all()
    assert clustered.sum() > 0.95 * deposits.sum()


def test_close_in_phi_two_clusters_one_photon_close_in_eta_two():
    # Around (50, 80), x is along phi and y along eta; a crystal is 0.033 radians wide.
    in_phi = quiet(deposits_of([(0, 50, 80, 1, 80.0), (0, 54, 80, 1, 79.0)]))
    in_eta = quiet(deposits_of([(0, 50, 80, 1, 80.0), (0, 50, 90, 1, 80.0)]))
    assert endcap_photons.clusters(in_phi).supercluster.tolist() == [0, 0]
    found = reconstruct(in_phi)
    assert found.counts.tolist() == [1]
    assert found.raw_energy[0] == pytest.approx(159, rel=1e-4)
    assert found.r9[0] == pytest.approx(80 / 159, rel=1e-3)
    whole = reconstruct(quiet(deposits_of([(0, 52, 80, 1, 159.0)])))
    assert found.phi[0] == pytest.approx(whole.phi[0], abs=0.003)
    assert endcap_photons.clusters(in_eta).supercluster.tolist() == [0, 1]
    assert reconstruct(in_eta).counts.tolist() == [2]


def test_energy_behind_the_crystals_vetoes():
    hits = quiet(deposits_of([(0, *PLACES[0], 100.0)]))
    ieta, iphi = geometry.hcal_tower(*direction(*PLACES[0]))
    cell = geometry.hcal_cell([ieta, -ieta], [iphi, iphi], [1, 1])
    behind = Ragged.from_counts(np.array([1]), {"cell": cell[:1], "energy": np.array([60], np.float32)})
    elsewhere = Ragged.from_counts(np.array([1]), {"cell": cell[1:], "energy": np.array([60], np.float32)})
    assert reconstruct(hits, behind).counts.tolist() == [0]
    assert reconstruct(hits, elsewhere).hovere.tolist() == [0]


def test_the_vertex_tilts_the_direction_and_leaves_the_energy():
    hits = quiet(deposits_of([(0, *PLACES[0], 100.0)]))
    centre, moved = reconstruct(hits), reconstruct(hits, vertex_z=10.0)
    assert moved.energy[0] == centre.energy[0]
    # sinh(eta) = z / r, and z, 330 cm at the shower, falls by 10.
    assert np.sinh(moved.eta[0]) / np.sinh(centre.eta[0]) == pytest.approx(1 - 10 / 330, abs=0.001)
    assert moved.pt[0] == pytest.approx(moved.energy[0] / np.cosh(moved.eta[0]), rel=1e-6)


def test_widths_are_those_of_the_definition():
    # At (50, 90), eta is along y: three equal crystals in a row have a variance of 2/3 along y and almost
    # none across; each weight is 4.7 - ln 3.
    window = np.zeros((2, 5, 5), np.float32)
    window[0, 1:4, 2] = window[1, 2, 1:4] = 10.0
    result = shapes.endcap_shapes(window, geometry.ee_cell([51, 51], [90, 90], [1, -1]))
    spread = 0.0447 * np.sqrt(2 / 3)
    assert result["sigma_ieta_ieta"] == pytest.approx([spread, 0], rel=1e-3, abs=1e-3)
    assert result["sigma_iphi_iphi"] == pytest.approx([0, spread], rel=1e-3, abs=1e-3)
    np.testing.assert_allclose(result["e3x3"], 30)
    np.testing.assert_allclose(result["seed_fraction"], 1 / 3)


def test_windows_hold_the_crystals_around_the_seed():
    hits = quiet(deposits_of([(0, *PLACES[0], 50.0), (1, *PLACES[1], 50.0)], 2))
    windows = shapes.endcap_windows(hits, np.array([0, 1]), [geometry.ee_cell(*p) for p in PLACES[:2]])
    np.testing.assert_allclose(windows[0, 1:4, 1:4], 50 * SHOWER, rtol=1e-6)
    np.testing.assert_allclose(windows, windows[::-1])


def test_a_batch_gives_what_its_events_give_alone():
    showers = [(event, *PLACES[(event + i) % 5], 60.0 + 20 * i) for event in range(6) for i in range(3)]
    hits = endcap_readout.ecal_endcap_readout(deposits_of(showers, 6), np.random.default_rng(4))
    together = reconstruct(hits)
    alone = Ragged.concatenate([reconstruct(hits[i : i + 1]) for i in range(6)])
    for name in together.columns:
        np.testing.assert_array_equal(together.columns[name], alone.columns[name])


def test_no_events_and_no_hits_are_fine():
    assert reconstruct(no_hcal(2)).counts.tolist() == [0, 0]
    assert len(reconstruct(no_hcal(0))) == 0
