"""Laws of the read-out: kept hits, noise, and the reduction."""

import math

import numpy as np
import pytest

from e2e_jax.detector import geometry
from e2e_jax.events.base import Ragged
from e2e_jax.sources.simulation import photons, readout


def rng():
    return np.random.default_rng(7)


def empty(events):
    return np.zeros((events, geometry.EB_CELLS), np.float32)


def keys(hits):
    return hits.event_index * geometry.EB_CELLS + hits.cell


def test_empty_crystals_show_the_gaussian_tail():
    hits = readout.ecal_barrel_readout(empty(40), rng())
    expected = 40 * geometry.EB_CELLS * 0.5 * math.erfc(2.5 / math.sqrt(2))
    assert len(hits.energy) == pytest.approx(expected, abs=5 * math.sqrt(expected))
    assert hits.energy.min() > readout.EB_THRESHOLD * readout.EB_NOISE
    # Mean of a normal number above 2.5: the density at 2.5 divided by the tail.
    mean = math.exp(-(2.5**2) / 2) / math.sqrt(2 * math.pi) / (0.5 * math.erfc(2.5 / math.sqrt(2)))
    assert hits.energy.mean() / readout.EB_NOISE == pytest.approx(mean, abs=0.02)
    assert np.bincount(hits.cell // 3600, minlength=17).std() < 5 * math.sqrt(expected / 17)


def test_sparse_noise_is_that_of_every_crystal_drawn():
    # A crystal with a signal just above the limit of empty crystals uses the dense code.
    faint = np.full((8, geometry.EB_CELLS), 1.01 * readout.NEGLIGIBLE, np.float32)
    sparse = readout.ecal_barrel_readout(empty(8), rng(), tower_et=100)
    dense = readout.ecal_barrel_readout(faint, rng(), tower_et=100)
    # The faint signal itself raises the tail by a few percent.
    assert len(dense.energy) / len(sparse.energy) == pytest.approx(1.07, abs=0.1)
    assert np.quantile(dense.energy, 0.9) == pytest.approx(np.quantile(sparse.energy, 0.9), rel=0.03)


def test_hits_are_in_order_and_unique():
    deposits = rng().exponential(0.05, (3, geometry.EB_CELLS)).astype(np.float32)
    hits = readout.ecal_barrel_readout(deposits, rng())
    assert (np.diff(keys(hits)) > 0).all()
    assert hits.cell.dtype == np.uint16
    assert hits.energy.dtype == np.float32


def test_without_noise_the_threshold_cuts_sharply():
    deposits = empty(2)
    deposits[0, 1000], deposits[1, 2000] = 0.3, 0.05
    hits = readout.ecal_barrel_readout(deposits, rng(), noise=1e-6, threshold=1e5)
    assert hits.counts.tolist() == [1, 0]
    assert hits.cell[0] == 1000
    assert hits.energy[0] == pytest.approx(0.3, abs=1e-5)


def test_signal_keeps_its_energy_on_average():
    deposits = empty(1)
    deposits[:, ::10] = 0.8
    hits = readout.ecal_barrel_readout(deposits, rng(), tower_et=1000)
    lit = hits.cell % 10 == 0
    assert lit.sum() == geometry.EB_CELLS // 10
    assert hits.energy[lit].mean() == pytest.approx(0.8, abs=5 * 0.04 / math.sqrt(lit.sum()))
    assert hits.energy[lit].std() == pytest.approx(0.04, rel=0.05)


@pytest.mark.parametrize(("iphi", "columns"), [(100, range(90, 105)), (2, [*range(355, 360), *range(10)])])
def test_a_hot_tower_has_its_neighbourhood_read_in_full(iphi, columns):
    deposits = empty(1)
    deposits[0, geometry.eb_cell(3, iphi)] = 10.0
    hits = readout.ecal_barrel_readout(deposits, rng())
    row, column = np.divmod(hits.cell.astype(int), geometry.EB_COLUMNS)
    inside = (row >= 80) & (row < 95) & np.isin(column, list(columns))
    assert inside.sum() == 225
    # Inside, half of the hits are noise below zero; outside, all hits exceed the threshold.
    assert 60 < (hits.energy[inside] < 0).sum() < 160
    assert hits.energy[~inside].min() > 0.1


@pytest.mark.parametrize(
    ("energy", "towers"),
    [
        (2.0, 0),  # E_T = 0.9 GeV
        (3.0, 1),  # medium: the tower alone
        (6.0, 6),  # high, and the barrel ends here: 3x2 towers
    ],
)
def test_transverse_energy_decides_what_is_read_in_full(energy, towers):
    deposits = empty(1)
    deposits[0, geometry.eb_cell(85, 50)] = energy
    hits = readout.ecal_barrel_readout(deposits, rng())
    faint = hits.energy < 0.1
    row, column = np.divmod(hits.cell.astype(int), geometry.EB_COLUMNS)
    assert len({*zip(row[faint] // 5, column[faint] // 5)}) == towers
    assert (row[faint] >= 160).all()


def test_the_same_seed_gives_the_same_hits():
    deposits = rng().exponential(0.02, (2, geometry.EB_CELLS))
    first, second = (readout.ecal_barrel_readout(deposits, rng()) for _ in range(2))
    assert np.array_equal(first.cell, second.cell)
    assert np.array_equal(first.energy, second.energy)


def test_reduction_keeps_what_is_near_clusters_and_photons():
    cell = geometry.eb_cell([10, 10, 10, -60, 10], [359, 2, 6, 100, 40])
    hits = Ragged.from_counts(
        np.array([5]), {"cell": cell, "energy": np.array([30, 1, 0.2, 0.4, 0.4], np.float32)}
    )
    order = np.argsort(cell)
    hits = Ragged.from_counts(np.array([5]), {name: column[order] for name, column in hits.columns.items()})
    clusters = photons.superclusters(hits)
    none = Ragged.from_counts(np.array([0]), {"seed_cell": np.zeros(0, np.uint16)})
    kept = readout.reduce_hits(hits, clusters, none)
    assert set(kept.cell) == {cell[0], cell[1]}  # the second is a subcluster, found across iphi 360
    kept = readout.reduce_hits(hits, clusters, clusters.filter(clusters.energy > 10))
    assert set(kept.cell) == {cell[0], cell[1], cell[2]}  # the third is in the isolation cone
    assert readout.reduce_hits(hits, clusters, none, "selective_readout") is hits


def test_reduction_keeps_what_is_around_soft_maxima():
    cell = np.sort(geometry.eb_cell([10, 11, 10, 30, 31], [100, 102, 103, 200, 201]))
    energy = np.full(5, 0.12, np.float32)
    energy[cell == geometry.eb_cell(10, 100)] = 0.8
    hits = Ragged.from_counts(np.array([5]), {"cell": cell, "energy": energy})
    none = Ragged.from_counts(np.array([0]), {"seed_cell": np.zeros(0, np.uint16)})
    kept = readout.reduce_hits(hits, photons.superclusters(hits), none)
    assert set(kept.cell) == {geometry.eb_cell(10, 100), geometry.eb_cell(11, 102)}


def test_bad_input_is_refused_in_words():
    with pytest.raises(ValueError, match=r"expected \[events, 61200\]"):
        readout.ecal_barrel_readout(np.zeros((2, 100)), rng())
    hits = Ragged.from_counts(
        np.array([0]), {"cell": np.zeros(0, np.uint16), "energy": np.zeros(0, np.float32)}
    )
    with pytest.raises(ValueError, match="selective_readout"):
        readout.reduce_hits(hits, hits, hits, rule="everything")
