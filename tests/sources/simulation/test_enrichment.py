import numpy as np
import pytest

from e2e_jax.events.base import Ragged
from e2e_jax.sources.simulation import enrichment

QUARK, GLUON, PHOTON, PI0, PION, OMEGA, ELECTRON = 1, 21, 22, 111, 211, 223, 11


def momentum(pt, eta, phi):
    return {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta), "e": pt * np.cosh(eta)}


def record(*events):
    """Events of rows (pdg, status, mother, pt, eta, phi), after row 0 and two partons."""
    start = [(90, -11, 0, 1e-6, 0.0, 0.0), (QUARK, -21, 0, 1e-6, 0.0, 0.0), (QUARK, -21, 1, 1e-6, 0.0, 0.0)]
    rows = [row for event in events for row in (*start, *event)]
    pdg, status, mother, pt, eta, phi = (np.array(column) for column in zip(*rows))
    columns = {"pdg": pdg, "status": status, "mother": mother, **momentum(pt, eta, phi)}
    return Ragged.from_counts(np.array([len(event) + len(start) for event in events]), columns)


def prompt(pt, eta, phi):
    return (PHOTON, 1, 2, pt, eta, phi)


def meson(pdg, row, pt, eta, phi):
    """A neutral meson at a row, made by a parton system, and its two photons."""
    photon = (PHOTON, 91, row, pt / 2, eta, phi + 1e-3)
    return ((pdg, -83, 2, pt, eta, phi), photon, photon)


def charged(number, eta, phi, pt=3.0):
    return tuple((PION, 83, 2, pt, eta, phi) for _ in range(number))


PAIR = (prompt(60.0, 0.2, 0.0), prompt(60.0, -0.3, 3.0))


def test_a_lone_prompt_pair_passes_both_filters():
    events = record(PAIR)
    assert enrichment.double_em_enriched(events).tolist() == [True]
    assert enrichment.two_clusters(events, 17.0, 1.55).tolist() == [True]


def test_tracks_around_a_meson_fail_it_and_tracks_around_a_prompt_photon_do_not():
    isolated = (PAIR[0], *meson(PI0, 4, 60.0, -0.3, 3.0))
    events = record(
        isolated,
        (*isolated, *charged(2, -0.3, 3.05)),
        (*isolated, *charged(3, -0.3, 3.05)),
        (*isolated, *charged(3, 0.2, 0.05)),
        (*isolated, *charged(3, -0.3, 3.05, pt=1.5)),
        (*isolated, *charged(3, -0.3, 2.7)),
    )
    assert enrichment.double_em_enriched(events).tolist() == [True, True, False, True, True, True]


def test_tracks_around_two_mesons_add_up():
    mesons = (*meson(PI0, 3, 60.0, 0.2, 0.0), *meson(PI0, 6, 60.0, -0.3, 3.0))
    events = record((*mesons, *charged(2, 0.2, 0.05), *charged(2, -0.3, 3.05)), mesons)
    assert enrichment.double_em_enriched(events).tolist() == [True, True]


@pytest.mark.parametrize(("pt", "passes"), [(39.0, False), (41.0, True)])
def test_the_pair_must_reach_80_gev(pt, passes):
    events = record((prompt(pt, 0.0, 0.0), prompt(pt, 0.0, np.pi)))
    assert enrichment.double_em_enriched(events).tolist() == [passes]
    assert enrichment.two_clusters(events, 14.0, 1.55).tolist() == [passes]


def test_one_meson_is_one_candidate():
    # Its photons are not seeds, and its sum does not pair with itself.
    lone = meson(OMEGA, 3, 500.0, 0.0, 0.0)
    events = record(lone)
    assert enrichment.find_seeds(enrichment.directions(events)).nonzero()[0].tolist() == [3]
    assert enrichment.double_em_enriched(events).tolist() == [False]


def test_soft_electrons_are_left_out_of_a_candidate():
    seed = (ELECTRON, 91, 2, 13.5, 0.0, 0.0)
    other = prompt(500.0, 0.0, np.pi)
    hard, soft = ((ELECTRON, 91, 2, pt, 0.0, 0.1) for pt in (2.1, 1.9))
    events = record((seed, hard, other), (seed, soft, other))
    assert enrichment.double_em_enriched(events).tolist() == [True, False]


def test_windows_close_around_phi():
    halves = ((PHOTON, 91, 2, 9.0, 0.0, np.pi - 0.05), (PHOTON, 91, 2, 9.0, 0.0, -np.pi + 0.05))
    events = record((*halves, prompt(500.0, 0.0, 0.0)))
    assert enrichment.double_em_enriched(events).tolist() == [True]
    assert enrichment.two_clusters(events, 17.0, 1.55).tolist() == [True]


def test_the_quick_look_asks_for_central_clusters():
    events = record((PAIR[0], prompt(60.0, 1.5, 3.0)), (PAIR[0], prompt(60.0, 1.6, 3.0)), PAIR[:1])
    assert enrichment.two_clusters(events, 17.0, 1.55).tolist() == [True, False, False]


def test_a_chunk_is_judged_event_by_event():
    many = [PAIR, PAIR[:1], (PAIR[0], *meson(PI0, 4, 60.0, -0.3, 3.0), *charged(3, -0.3, 3.0)), PAIR]
    together = enrichment.double_em_enriched(record(*many))
    alone = [enrichment.double_em_enriched(record(event))[0] for event in many]
    assert together.tolist() == alone == [True, False, False, True]
