import dataclasses

import numpy as np
import pytest
import scipy.stats

from benchmarks import early_veto as losses
from e2e_jax.events.base import Ragged
from e2e_jax.events.diphotons import leading
from e2e_jax.sources.simulation import generator, simulate
from e2e_jax.sources.simulation.early_veto import Bounds, Parton, has_pair
from e2e_jax.studies.hgg import LABELS
from tests.hgg_jobs import job

GLUON, PHOTON, ELECTRON = 21, 22, 11
BOUNDS = Bounds(hard_eta=1.9, photon_eta=1.5, mass=80.0)


def photon(pt, eta=0.0, phi=0.0):
    return Parton(PHOTON, pt, eta, phi)


def gluon(pt, eta=0.0, phi=np.pi):
    return Parton(GLUON, pt, eta, phi)


@pytest.mark.parametrize(("pt", "goes_on"), [(39.0, False), (41.0, True)])
def test_a_photon_and_a_jet_must_reach_the_mass(pt, goes_on):
    assert has_pair([photon(pt), gluon(pt)], BOUNDS) is goes_on


def test_a_jet_counts_with_all_its_partons():
    assert has_pair([photon(41.0), gluon(21.0), gluon(20.5, eta=0.3)], BOUNDS)
    assert not has_pair([photon(41.0), gluon(21.0), gluon(20.5, eta=0.9)], BOUNDS)


def test_a_photon_that_became_two_electrons_is_still_a_photon():
    pair = [Parton(ELECTRON, 21.0, 0.0, 0.0), Parton(ELECTRON, 20.5, 0.05, 0.0)]
    assert has_pair([*pair, gluon(41.0)], BOUNDS)
    assert not has_pair([*pair], BOUNDS)


def test_the_photon_is_central_and_two_jets_are_no_photon():
    assert not has_pair([photon(60.0, eta=1.6), gluon(60.0)], BOUNDS)
    assert not has_pair([gluon(60.0), gluon(60.0, phi=0.0)], BOUNDS)


@pytest.mark.slow
def test_what_the_veto_drops_the_filters_keep_rarely():
    found = losses.measure(LABELS.index("gamma_jet"), 1, 6000, fast=True)
    assert found.dropped > 0.15 * found.collisions
    # The filters require 80 GeV and the selection 90; a few events are in between.
    assert found.kept > 100
    assert found.kept_dropped < 0.03 * found.kept


def observables(events):
    """pt, eta and track isolation of both photons, and the mass of the pair."""
    photons, isolation = leading(events.photons), []
    for pair, tracks in zip(photons, (events.tracks[i : i + 1] for i in range(len(events)))):
        for _, eta, phi in pair:
            near = np.hypot(tracks.eta - eta, np.angle(np.exp(1j * (tracks.phi - phi)))) < 0.3
            isolation.append(tracks.pt[near].sum())
    isolation = np.reshape(isolation, (-1, 2))
    return {
        "mass": events.mass,
        **{f"pt {i}": photons[:, i, 0] for i in range(2)},
        **{f"eta {i}": photons[:, i, 1] for i in range(2)},
        **{f"isolation {i}": isolation[:, i] for i in range(2)},
    }


@pytest.mark.stress
def test_events_with_and_without_the_veto_come_from_the_same_distributions():
    with_veto = job(LABELS.index("gamma_jet"), seed=5, events=1000)
    sample = dataclasses.replace(with_veto.sample, pair_mass=0.0)
    without = dataclasses.replace(with_veto, sample=sample, seed=6)
    one, other = (observables(simulate.produce(each)) for each in (with_veto, without))
    p_values = [scipy.stats.ks_2samp(one[name], other[name]).pvalue for name in one]
    assert min(p_values) > 0.001 / len(p_values), dict(zip(one, p_values))


def test_a_generation_keeps_its_sequence_whatever_the_chunk():
    sample = job(LABELS.index("gamma_jet")).sample
    first, second = (generator.generate(sample, 1, fast=True, chunk=chunk) for chunk in (40, 100))
    first, second = (Ragged.concatenate([next(events) for _ in range(4)])[:3] for events in (first, second))
    for name in first.columns:
        np.testing.assert_array_equal(first.columns[name], second.columns[name])
