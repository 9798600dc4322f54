"""A job gives the same selected events each time, and they resemble those of CMS."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("pythia8mc")

from e2e_jax.events.diphotons import leading
from e2e_jax.sources.simulation import conditions, generator, pileup, simulate
from e2e_jax.studies import hgg
from e2e_jax.studies.hgg import LABELS
from tests.hgg_jobs import job

pytestmark = pytest.mark.slow

HIGGS = job(LABELS.index("h"), era=1, seed=11, events=250, fast=True, reduction="selective_readout")


@pytest.fixture(scope="module")
def small_pool():
    """A pool that is made in seconds; 20 of its events are overlaid on each collision."""
    return pileup.simulate_pool(400, 1)


@pytest.fixture(scope="module")
def higgs(small_pool):
    return simulate.produce(HIGGS, small_pool)


def test_minimum_bias_is_as_busy_as_in_cms(small_pool):
    assert np.sum(small_pool.ecal.energy > 0.004) / len(small_pool) == pytest.approx(106, rel=0.2)
    assert small_pool.ecal.energy.sum() / len(small_pool) == pytest.approx(6.25, rel=0.2)
    assert len(small_pool.tracks.pt) / len(small_pool) == pytest.approx(14, rel=0.15)


def test_the_higgs_peak_is_where_and_as_wide_as_it_should_be(higgs):
    low, middle, high = np.quantile(higgs.mass, [0.16, 0.5, 0.84])
    assert middle == pytest.approx(125.0, abs=0.7)
    assert (high - low) / 2 == pytest.approx(2.0, abs=0.5)  # two of five events have a wrong vertex


def test_occupancy_is_that_of_the_pile_up_of_the_era(higgs):
    significant = np.bincount(higgs.eb.event_index[higgs.eb.energy > 0.1], minlength=len(higgs))
    assert np.median(significant) == pytest.approx(705, rel=0.1)
    assert np.median(higgs.hcal.counts) == pytest.approx(120, rel=0.15)
    assert np.median(higgs.tracks.counts) == pytest.approx(268, rel=0.1)
    assert not higgs.ee.counts.any()


def test_every_event_passes_the_selection(higgs):
    higgs.validate()
    assert len(higgs) == HIGGS.events
    assert np.all(leading(higgs.photons)[:, :, 0] > 20)
    assert np.all(np.abs(leading(higgs.photons)[:, :, 1]) < 1.44)
    assert np.all(higgs.mass > 90)
    assert set(higgs.run) == {hgg.ERAS["central"][1].run}
    assert set(higgs.label) == {HIGGS.label}
    np.testing.assert_array_equal(higgs.event, np.arange(1, HIGGS.events + 1))


def test_energy_lies_where_the_photons_are(higgs):
    batch = higgs.to_batch()
    row, column = np.divmod(batch["eb"]["cell"].astype(int), 360)
    eta = np.linspace(-1.479, 1.479, 170)[row]
    phi = np.radians(column - 9.5)
    for rank in range(2):
        d_eta = eta - leading(higgs.photons)[:, rank, 1, None]
        d_phi = (phi - leading(higgs.photons)[:, rank, 2, None] + np.pi) % (2 * np.pi) - np.pi
        near = (np.abs(d_eta) < 0.1) & (np.abs(d_phi) < 0.3)
        energy = np.sum(batch["eb"]["energy"] * near, axis=1)
        true = leading(higgs.photons)[:, rank, 0] * np.cosh(leading(higgs.photons)[:, rank, 1])
        assert np.median(energy / true) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("label", range(len(LABELS)))
def test_a_task_fixes_its_events(label, small_pool):
    task = job(label, era=0, seed=2**62 + 5, events=4, fast=True)
    first, again = (simulate.produce(task, small_pool) for _ in range(2))
    other = simulate.produce(dataclasses.replace(task, seed=6), small_pool)
    np.testing.assert_array_equal(first.mass, again.mass)
    np.testing.assert_array_equal(first.photons.pt, again.photons.pt)
    np.testing.assert_array_equal(first.eb.energy, again.eb.energy)
    np.testing.assert_array_equal(first.tracks.pt, again.tracks.pt)
    assert not np.array_equal(first.mass, other.mass)


def test_the_order_of_tracks_tells_nothing_of_where_they_come_from(higgs):
    assert all((np.diff(higgs.tracks.event(i)["phi"]) >= 0).all() for i in range(len(higgs)))


def test_the_vertex_is_wrong_less_often_where_the_recoil_is_hard(small_pool):
    rng = np.random.default_rng(3)
    record = next(simulate.batches(generator.generate(HIGGS.sample, 5, chunk=400), 400))
    hard = np.hypot(
        *(
            np.bincount(
                record.event_index,
                record.columns[name] * (record.pdg == 22) * (np.hypot(record.px, record.py) > 20),
                len(record),
            )
            for name in ("px", "py")
        )
    )
    seen = simulate.detect(record, small_pool, rng.poisson(20.0, 400), np.zeros((5, 400), int), rng)
    wrong = seen.vertex_z != seen.collision_z
    soft, boosted = wrong[hard < 15].mean(), wrong[hard > 40].mean()
    assert soft > 0.2
    assert boosted < soft - 0.15


def test_dead_crystals_are_never_hit(higgs):
    assert not conditions.dead_barrel()[higgs.eb.cell].any()
