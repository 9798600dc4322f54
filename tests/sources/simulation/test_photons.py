"""Laws of the photon reconstruction, for showers built by hand."""

import numpy as np
import pytest

from e2e_jax.detector import geometry
from e2e_jax.events.base import Ragged
from e2e_jax.sources.simulation import photons, readout, shapes
from e2e_jax.sources.simulation.propagation import ECAL_RADIUS

SHOWER = np.array([[0.01, 0.04, 0.01], [0.04, 0.80, 0.04], [0.01, 0.04, 0.01]])
"""Share of a shower's energy in 3x3 crystals; its R9 is 1."""


def deposits_of(showers, events=1):
    """`[events, 61200]` with showers (event, ieta, iphi, energy)."""
    image = np.zeros((events, geometry.EB_ROWS, geometry.EB_COLUMNS), np.float32)
    for event, ieta, iphi, energy in showers:
        row, column = divmod(int(geometry.eb_cell(ieta, iphi)), geometry.EB_COLUMNS)
        for i in range(3):
            for j in range(3):
                if 0 <= row + i - 1 < geometry.EB_ROWS:
                    image[event, row + i - 1, (column + j - 1) % geometry.EB_COLUMNS] += energy * SHOWER[i, j]
    return image.reshape(events, -1)


def quiet(deposits):
    """Hits of every crystal with energy, without noise."""
    event, cell = np.nonzero(deposits)
    columns = {"cell": cell.astype(np.uint16), "energy": deposits[event, cell].astype(np.float32)}
    return Ragged.from_counts(np.bincount(event, minlength=len(deposits)), columns)


def no_hcal(events=1):
    columns = {"cell": np.zeros(0, np.uint16), "energy": np.zeros(0, np.float32)}
    return Ragged.from_counts(np.zeros(events, int), columns)


def reconstruct(hits, hcal=None, vertex_z=0.0):
    hcal = hcal or no_hcal(len(hits))
    return photons.reconstruct_photons(hits, hcal, photons.superclusters(hits), np.full(len(hits), vertex_z))


@pytest.mark.parametrize("ieta", [-85, -40, -1, 1, 60, 84])
@pytest.mark.parametrize("iphi", [1, 180, 191, 360])
def test_a_lone_shower_is_found_once_at_its_place(ieta, iphi):
    deposits = deposits_of([(0, ieta, iphi, 50.0)])
    found = reconstruct(quiet(deposits))
    assert found.counts.tolist() == [1]
    assert found.seed_cell[0] == geometry.eb_cell(ieta, iphi)
    assert found.raw_energy[0] == pytest.approx(deposits.sum(), rel=1e-5)
    assert found.r9[0] == pytest.approx(1, rel=1e-5)
    true_eta = geometry.eb_eta_centres()[found.seed_cell[0] // geometry.EB_COLUMNS]
    true_phi = geometry.eb_phi_centres()[found.seed_cell[0] % geometry.EB_COLUMNS]
    # The axis of the crystal leaves the line from the origin by a quarter of a crystal at the shower's depth.
    assert abs(found.eta[0]) - abs(true_eta) == pytest.approx(0.004, abs=0.004)
    assert np.angle(np.exp(1j * (found.phi[0] - true_phi))) == pytest.approx(0.004, abs=0.002)
    assert -np.pi <= found.phi[0] < np.pi


def test_the_energy_survives_noise_and_read_out():
    showers = [(event, ieta, iphi, 50.0) for event, (ieta, iphi) in enumerate(np.ndindex(5, 8))]
    showers = [(event, 15 * ieta + 5, 45 * iphi + 1, energy) for event, ieta, iphi, energy in showers]
    hits = readout.ecal_barrel_readout(deposits_of(showers, 40), np.random.default_rng(1))
    found = reconstruct(hits)
    assert (found.counts == 1).all()
    expected = 50 * photons.UNCONVERTED_CORRECTION[0]
    assert np.median(found.energy) == pytest.approx(expected, rel=0.01)
    assert found.energy.std() < 0.5


def test_clusters_hold_all_the_energy_and_none_of_it_twice():
    rng = np.random.default_rng(2)
    showers = [
        (event, int(rng.integers(1, 80)), int(rng.integers(1, 361)), float(rng.uniform(5, 60)))
        for event in np.repeat(np.arange(20), 6)
    ]
    deposits = deposits_of(showers, 20)
    clusters = photons.superclusters(quiet(deposits))
    clustered = np.bincount(clusters.event_index, clusters.energy, minlength=20)
    assert (clustered <= deposits.sum(axis=1) * (1 + 1e-5)).all()
    assert clustered.sum() > 0.98 * deposits.sum()


def test_two_photons_are_two_superclusters_with_the_harder_first():
    found = reconstruct(quiet(deposits_of([(0, 20, 30, 40.0), (0, -50, 200, 90.0), (1, 20, 30, 30.0)], 3)))
    assert found.counts.tolist() == [2, 1, 0]
    assert (np.diff(found.event(0)["pt"]) < 0).all()


def test_close_in_eta_two_clusters_close_in_phi_one():
    in_eta = photons.superclusters(quiet(deposits_of([(0, 20, 30, 40.0), (0, 28, 30, 30.0)])))
    in_phi = photons.superclusters(quiet(deposits_of([(0, 20, 356, 40.0), (0, 20, 4, 30.0)])))
    assert in_eta.counts.tolist() == [2]
    assert in_phi.counts.tolist() == [1]
    assert in_phi.energy[0] == pytest.approx(70)
    assert in_phi.outer_energy[0] == pytest.approx(30)
    assert in_phi.outer_step[0] == pytest.approx(8)
    assert np.flatnonzero(photons.domino_mask(in_phi.dominoes)[0]).tolist() == [16, 17, 18, 24, 25, 26]


def test_a_converted_photon_has_low_r9_and_lies_between_its_parts():
    found = reconstruct(quiet(deposits_of([(0, 20, 40, 30.0), (0, 20, 46, 30.0)])))
    whole = reconstruct(quiet(deposits_of([(0, 20, 43, 60.0)])))
    assert found.r9[0] == pytest.approx(0.5, abs=0.01)
    assert found.phi[0] == pytest.approx(whole.phi[0], abs=0.002)


def test_noise_makes_no_photon():
    hits = readout.ecal_barrel_readout(
        np.zeros((50, geometry.EB_CELLS), np.float32), np.random.default_rng(3)
    )
    assert len(reconstruct(hits).pt) == 0


def test_energy_behind_the_crystals_vetoes():
    hits = quiet(deposits_of([(0, 1, 11, 40.0), (0, -50, 200, 40.0)]))
    # HCAL tower iphi = 1 begins behind crystal iphi = 11.
    hcal = Ragged.from_counts(
        np.array([1]), {"cell": geometry.hcal_cell([1], [1], [1]), "energy": np.array([30], np.float32)}
    )
    found = reconstruct(hits, hcal)
    assert found.counts.tolist() == [1]
    assert found.seed_cell[0] == geometry.eb_cell(-50, 200)
    weak = Ragged.from_counts(np.array([1]), {**hcal.columns, "energy": np.array([4], np.float32)})
    assert sorted(reconstruct(hits, weak).hovere) == pytest.approx([0, 0.1])


def test_the_vertex_tilts_the_direction_and_leaves_the_energy():
    hits = quiet(deposits_of([(0, 30, 100, 50.0)]))
    centre, moved = reconstruct(hits), reconstruct(hits, vertex_z=10.0)
    assert moved.energy[0] == centre.energy[0]
    shift = np.sinh(centre.eta[0]) - np.sinh(moved.eta[0])
    assert 10 / (ECAL_RADIUS + 12) < shift < 10 / ECAL_RADIUS
    assert moved.pt[0] == pytest.approx(moved.energy[0] / np.cosh(moved.eta[0]), rel=1e-6)


def test_widths_are_those_of_the_definition():
    # Weights: 4.7 - ln 3 each; three equal crystals in a row have a variance of 2/3.
    window = np.zeros((1, 5, 5))
    window[0, 1:4, 2] = 10.0
    result = shapes.shower_shapes(window)
    assert result["sigma_ieta_ieta"][0] == pytest.approx(0.01745 * np.sqrt(2 / 3))
    assert result["sigma_iphi_iphi"][0] == 0
    assert result["e3x3"][0] == result["e5x5"][0] == 30
    assert result["seed_fraction"][0] == pytest.approx(1 / 3)


def test_windows_stop_at_the_barrel_end_and_wrap_in_phi():
    hits = quiet(deposits_of([(0, 85, 1, 50.0), (1, -85, 360, 50.0)], 2))
    windows = shapes.seed_windows(hits, np.array([0, 1]), geometry.eb_cell([85, -85], [1, 360]))
    assert windows[0, :3].sum() == pytest.approx(50 * SHOWER[:2].sum())
    assert windows[0, 3:].sum() == 0
    assert windows[1, 2:].sum() == pytest.approx(50 * SHOWER[:2].sum())
    assert windows[1, :2].sum() == 0


def test_a_batch_gives_what_its_events_give_alone():
    rng = np.random.default_rng(4)
    showers = [
        (e, int(rng.integers(1, 85)), int(rng.integers(1, 361)), 40.0) for e in range(6) for _ in range(3)
    ]
    hits = readout.ecal_barrel_readout(deposits_of(showers, 6), rng)
    together = reconstruct(hits)
    alone = Ragged.concatenate([reconstruct(hits[i : i + 1]) for i in range(6)])
    for name in together.columns:
        assert np.array_equal(together.columns[name], alone.columns[name])


def test_no_events_and_no_hits_are_fine():
    nothing = no_hcal(2)
    assert len(photons.superclusters(nothing).energy) == 0
    assert reconstruct(nothing).counts.tolist() == [0, 0]
    assert len(reconstruct(no_hcal(0))) == 0
