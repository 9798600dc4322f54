"""Laws of the read-out of the ECAL endcaps and of HE."""

import math

import numpy as np
import pytest

from e2e_jax.detector import geometry
from e2e_jax.events.base import Ragged
from e2e_jax.sources.simulation import endcap_photons, endcap_readout, readout


def rng():
    return np.random.default_rng(1)


def empty(events):
    return np.zeros((events, geometry.EE_CELLS), np.float32)


def test_empty_crystals_show_the_gaussian_tail_and_holes_nothing():
    hits = endcap_readout.ecal_endcap_readout(empty(60), rng())
    expected = 60 * 14_648 * 0.5 * math.erfc(2.5 / math.sqrt(2))
    assert len(hits.energy) == pytest.approx(expected, abs=5 * math.sqrt(expected))
    assert hits.energy.min() > 2.5 * endcap_readout.EE_NOISE
    assert geometry.ee_exists()[hits.cell].all()
    assert (np.diff(hits.event_index * geometry.EE_CELLS + hits.cell) > 0).all()


def test_without_noise_hits_are_the_deposits():
    deposits = empty(2)
    cells = geometry.ee_cell([10, 50, 100], [50, 5, 50], [1, -1, -1])
    deposits[1, cells] = 3.0, 4.0, 5.0
    hits = endcap_readout.ecal_endcap_readout(deposits, rng(), noise=1e-6, threshold=1e5, tower_et=1e3)
    assert hits.counts.tolist() == [0, 3]
    assert dict(zip(hits.cell.tolist(), hits.energy.round(3).tolist())) == dict(
        zip(cells.tolist(), [3.0, 4.0, 5.0])
    )


def test_a_hot_supercrystal_has_its_neighbourhood_read_in_full():
    deposits = empty(2)
    deposits[0, geometry.ee_cell(23, 58, 1)] = 20.0
    deposits[1, geometry.ee_cell(23, 58, 1)] = 2.0 / math.sin(2 * math.atan(math.exp(-1.9))) / 2
    hits = endcap_readout.ecal_endcap_readout(deposits, rng())
    first = hits.event(0)
    ix, iy, side = geometry.ee_coordinates(first["cell"])
    inside = (ix >= 16) & (ix <= 30) & (iy >= 51) & (iy <= 65) & (side == 1)
    assert inside.sum() == 225
    assert (first["energy"][inside] < 0).sum() > 60
    assert first["energy"][~inside].min() > 2.5 * endcap_readout.EE_NOISE
    assert not (hits.event(1)["energy"] < 0).any()  # an E_T of 1 GeV triggers no full read-out


def test_reduction_keeps_clusters_and_what_is_near_photons():
    cells = geometry.ee_cell([30, 32, 36, 80], [40, 40, 40, 70], [1, 1, 1, -1])
    order = np.argsort(cells)
    energy = np.array([60.0, 0.2, 1.0, 1.0], np.float32)
    hits = Ragged.from_counts(np.array([4]), {"cell": cells[order], "energy": energy[order]})
    clusters = endcap_photons.clusters(hits)
    none = Ragged.from_counts(np.array([0]), {"detector_eta": np.zeros(0), "phi": np.zeros(0)})
    kept = endcap_readout.reduce_endcap_hits(hits, clusters, none)
    assert set(kept.cell) == {cells[0], cells[1]}
    eta, phi, _ = endcap_readout.directions()
    photon = {"detector_eta": eta[cells[:1]], "phi": phi[cells[:1]]}
    kept = endcap_readout.reduce_endcap_hits(hits, clusters, Ragged.from_counts(np.array([1]), photon))
    assert set(kept.cell) == {cells[0], cells[1], cells[2]}
    assert endcap_readout.reduce_endcap_hits(hits, clusters, none, "selective_readout") is hits


def test_a_photon_in_an_endcap_keeps_barrel_hits_near_it():
    cells = geometry.eb_cell([80, 20], [100, 100])
    order = np.argsort(cells)
    hits = Ragged.from_counts(np.array([2]), {"cell": cells[order], "energy": np.full(2, 0.3, np.float32)})
    none = Ragged.from_counts(np.array([0]), {"seed_cell": np.zeros(0, np.uint16)})
    no_clusters = Ragged.from_counts(
        np.array([0]), {"seed_cell": np.zeros(0, np.uint16), "dominoes": np.zeros(0, np.uint64)}
    )
    photon = {"detector_eta": np.array([1.7]), "phi": np.array([np.radians(89.5)])}
    others = Ragged.from_counts(np.array([1]), photon)
    assert len(readout.reduce_hits(hits, no_clusters, none).cell) == 0
    assert readout.reduce_hits(hits, no_clusters, none, others=others).cell.tolist() == [cells[0]]


def test_bad_input_is_refused_in_words():
    with pytest.raises(ValueError, match=r"expected \[events, 20000\]"):
        endcap_readout.ecal_endcap_readout(np.zeros((2, 14_648)), rng())
    hits = Ragged.from_counts(
        np.array([0]), {"cell": np.zeros(0, np.uint16), "energy": np.zeros(0, np.float32)}
    )
    with pytest.raises(ValueError, match="selective_readout"):
        endcap_readout.reduce_endcap_hits(hits, hits, hits, rule="everything")
