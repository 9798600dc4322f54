"""Selections: the paper's cuts, the observables of any selection, and what is wrong with one."""

import pickle

import cloudpickle
import numpy as np
import pytest

from e2e_jax.errors import StudyError
from e2e_jax.events.base import Ragged
from e2e_jax.events.diphotons import Events, by_pt, leading
from e2e_jax.studies import hgg
from e2e_jax.study.observables import Observable
from e2e_jax.study.samples import quotas
from e2e_jax.study.selection import CutCounts, Selected, Selection, invariant_mass, kept, photons

CENTRAL = hgg.SELECTIONS["central"]
PAIR = [(60.0, 0.3, 0.1), (40.0, -0.5, 2.9)]
"""Two photons of 107 GeV."""


def with_photons(*lists):
    """Events with these photons and without hits."""
    flat = np.array([photon for photons in lists for photon in photons], float).reshape(-1, 3)
    counts, n = np.array([len(some) for some in lists]), len(lists)
    no_hits = {name: getattr(Events.empty(), name).columns for name in Events.COLLECTIONS}
    return Events(
        *(np.arange(n) for _ in range(3)),
        label=np.zeros(n, np.int32),
        photons=by_pt(Ragged.from_counts(counts, dict(zip(("pt", "eta", "phi"), flat.T)))),
        **{name: Ragged.from_counts(0 * counts, columns) for name, columns in no_hits.items()},
    )


def masses(events):
    """A selection of everything, with an observable."""
    return Selected(np.ones(len(events), bool), {"mass": np.full(len(events), 3.0)})


def test_mass_of_two_photons_is_that_of_their_momenta():
    random = np.random.default_rng(1)
    pairs = np.stack([random.uniform(20, 90, (9, 2)), *random.uniform(-2, 2, (2, 9, 2))], axis=-1)
    pt, eta, phi = np.moveaxis(pairs, -1, 0)
    momenta = np.stack([pt * np.cosh(eta), pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)]).sum(axis=2)
    expected = np.sqrt(momenta[0] ** 2 - (momenta[1:] ** 2).sum(axis=0))
    np.testing.assert_allclose(invariant_mass(pairs), expected, rtol=1e-9)
    assert invariant_mass(pairs[:, :1]).tolist() == [0.0] * 9


def test_exactly_two_photons_above_20_gev_are_selected():
    third, soft = (25.0, 0.2, -1.0), (15.0, 0.2, -1.0)
    events = with_photons(PAIR, PAIR[:1], [*PAIR, third], [*PAIR, soft], [])
    assert CENTRAL(events).mask.tolist() == [True, False, False, True, False]


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize(("eta", "central"), [(0.0, True), (1.43, True), (1.44, False), (2.0, False)])
def test_central_photons_lie_below_1_44(side, eta, central):
    assert CENTRAL.function.fiducial(np.array([side * eta]))[0] == central


def test_forward_photons_lie_beside_the_gap():
    eta = np.array([0.0, 1.45, 1.53, 1.54, 1.55, 1.57, 2.29, 2.3])
    accepted = {name: select.function.fiducial(eta).tolist() for name, select in hgg.SELECTIONS.items()}
    assert accepted["central_forward"] == [True, False, False, True, True, True, True, False]
    assert accepted["central_forward_157"] == [True, False, False, False, False, True, True, False]


def test_only_masses_in_range_are_selected():
    light = [(25.0, 0.0, 0.0), (25.0, 0.0, 3.1)]
    assert CENTRAL(with_photons(light, PAIR)).mask.tolist() == [False, True]
    assert photons(mass=None)(with_photons(light, PAIR)).mask.all()
    assert not photons(mass=(90, 100))(with_photons(PAIR)).mask.any()


def test_leading_photon_comes_first_whatever_the_order():
    one, other = with_photons(PAIR), with_photons(PAIR[::-1])
    np.testing.assert_array_equal(leading(one.photons), leading(other.photons))
    np.testing.assert_allclose(leading(one.photons)[0], PAIR, rtol=1e-6)
    np.testing.assert_allclose(kept(one, CENTRAL)[0].mass, invariant_mass(np.array([PAIR])), rtol=1e-6)


def test_one_photon_has_no_mass_and_four_have_one():
    assert photons(count=1).observables == ()
    four = [*PAIR, (30.0, 0.1, 1.0), (25.0, 1.0, -2.0)]
    events, _ = kept(with_photons(four, PAIR), photons(count=4, mass=None))
    np.testing.assert_allclose(events.mass, invariant_mass(np.array([sorted(four, reverse=True)])), rtol=1e-6)


@pytest.mark.parametrize("category", hgg.ERAS)
def test_quotas_add_up_and_keep_the_proportions(category):
    eras = hgg.ERAS[category]
    weights = np.array([era.share for era in eras])
    assert quotas(weights.sum(), eras) == tuple(weights)
    for events in [0, 1, 2, 3, 7, 600, 2000, 51200]:
        found = quotas(events, eras)
        assert sum(found) == events
        np.testing.assert_array_less(np.abs(found - events * weights / weights.sum()), 1)
    with pytest.raises(ValueError, match="-1 events"):
        quotas(-1, eras)


def test_a_plain_function_is_a_selection_with_its_observables():
    select = Selection.of(masses)
    assert select.observables == (Observable("mass"),)
    events, _ = kept(with_photons(PAIR, []), select)
    assert events.mass.tolist() == [3, 3]


def test_a_selection_of_a_notebook_travels_to_other_processes():
    source = "import numpy as np\nfrom e2e_jax.study import Selected\nLEAST = 1\n"
    source += "def some(events):\n    return Selected(events.photons.counts >= LEAST, {})\n"
    names = {"__name__": "__main__"}
    exec(source, names)
    back = pickle.loads(pickle.dumps(Selection.of(names["some"])))
    assert back(with_photons(PAIR, [])).mask.tolist() == [True, False]
    assert pickle.loads(pickle.dumps(CENTRAL)) == CENTRAL
    assert cloudpickle.loads(pickle.dumps(CENTRAL)).identity() == CENTRAL.identity()


def test_selections_that_differ_are_not_equal():
    assert photons() == photons()
    assert len({photons(), photons(pt=25), photons(mass=(90, 200)), Selection.of(masses)}) == 4


def test_events_left_after_each_cut_are_counted():
    counts = CutCounts()
    light = [(25.0, 0.0, 0.0), (25.0, 0.0, 3.1)]
    for _ in range(2):
        counts.add(CENTRAL(with_photons(PAIR, PAIR[:1], light)))
    assert str(counts) == "all: 6, 2 photons above 20 GeV: 4, abs(eta) of each: 4, mass: 2, kept: 2"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda events: events.jets, "cannot be called with 0 events.*no column 'jets'"),
        (lambda events: Selected(np.ones(len(events), bool), {"label": 0}), "cannot be named 'label'"),
        (lambda events: Selected(np.ones(len(events), bool), {"a b": 0}), "cannot be named 'a b'"),
    ],
)
def test_a_function_that_cannot_be_a_selection_is_refused(function, message):
    with pytest.raises(StudyError, match=message):
        Selection.of(function)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda events: events.jets, "no column 'jets'"),
        (lambda events: np.ones(len(events), bool), "gives ndarray"),
        (lambda events: Selected(np.ones(len(events))), r"mask float64\[1\] for 1 events"),
        (lambda events: Selected(np.ones(3, bool)), r"mask bool\[3\] for 1 events"),
        (lambda events: Selected(np.ones(1, bool), {"mass": np.ones(1)}), "'pt'; it gives mass"),
        (lambda events: Selected(np.ones(1, bool), {"pt": np.ones(2)}), r"'pt' with the shape \(2,\)"),
    ],
)
def test_what_a_selection_gives_is_checked(function, message):
    with pytest.raises(StudyError, match=message):
        Selection(function, [Observable("pt", "GeV")])(with_photons(PAIR))


@pytest.mark.parametrize("arguments", [{"count": 0}, {"abs_eta": -1}, {"mass": (100, 90)}], ids=str)
def test_photon_selections_that_select_nothing_are_refused(arguments):
    with pytest.raises(StudyError):
        photons(**arguments)
