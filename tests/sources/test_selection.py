"""The paper's selection, and the era proportions of its Table 1."""

import numpy as np
import pytest

from e2e_jax.events.base import Ragged
from e2e_jax.sources.selection import ERAS, diphoton_mass, era_quotas, is_fiducial, select

PAIR = [(60.0, 0.3, 0.0), (55.0, -0.4, 3.0)]


def photons(*events):
    """Ragged photons of events, each a list of (pt, eta, phi)."""
    flat = np.array([photon for event in events for photon in event], np.float32).reshape(-1, 3)
    counts = np.array([len(event) for event in events], np.int64)
    return Ragged.from_counts(counts, dict(zip(("pt", "eta", "phi"), flat.T)))


def test_mass_is_that_of_the_summed_four_vectors():
    random = np.random.default_rng(0)
    pairs = np.stack(
        [random.uniform(20, 90, (50, 2)), random.uniform(-2, 2, (50, 2)), random.uniform(-4, 4, (50, 2))], -1
    )
    pt, eta, phi = np.moveaxis(pairs, -1, 0)
    momenta = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)])
    energy = (pt * np.cosh(eta)).sum(-1)
    mass = np.sqrt(energy**2 - (momenta.sum(-1) ** 2).sum(0))
    np.testing.assert_allclose(diphoton_mass(pairs), mass, rtol=1e-9)


def test_a_photon_with_itself_has_no_mass():
    assert diphoton_mass(np.array([[40.0, 1.0, 0.5], [40.0, 1.0, 0.5]])) == 0


def test_exactly_two_photons_above_20_gev():
    third, soft = (25.0, 0.0, 1.5), (19.0, 0.0, 1.5)
    result = select(photons(PAIR, [*PAIR, third], [*PAIR, soft], PAIR[:1], []))
    assert result.selected.tolist() == [True, False, True, False, False]
    assert result.mass[3] == result.mass[4] == 0


@pytest.mark.parametrize(
    ("eta", "central", "forward"),
    [(0.0, True, True), (1.43, True, True), (1.45, False, False), (1.6, False, True), (2.31, False, False)],
)
@pytest.mark.parametrize("side", [-1, 1])
def test_both_photons_in_the_volume_of_the_category(eta, central, forward, side):
    pair = photons([PAIR[0], (55.0, side * eta, 3.0)])
    assert select(pair).selected[0] == central
    assert select(pair, "central_forward").selected[0] == forward
    assert is_fiducial(np.array([side * eta]))[0] == central


def test_the_gap_of_the_authors_code_is_wider():
    eta = np.array([1.43, 1.45, 1.53, 1.55, 1.56, 1.58, 2.29])
    assert is_fiducial(eta, "central_forward").tolist() == [True, False, False, True, True, True, True]
    assert is_fiducial(eta, "central_forward_157").tolist() == [True, False, False, False, False, True, True]
    assert era_quotas(2600, "central_forward_157") == era_quotas(2600, "central_forward")


def test_mass_above_90_gev():
    light = [(25.0, 0.0, 0.0), (25.0, 0.0, 3.1)]
    assert not select(photons(light)).selected[0]


def test_cuts_on_pt_over_mass_are_optional():
    wide = [(60.0, 1.4, 0.0), (30.0, -1.4, 3.1)]
    assert select(photons(wide, PAIR)).selected.tolist() == [True, True]
    assert select(photons(wide, PAIR), pt_over_mass_cuts=True).selected.tolist() == [False, True]


def test_leading_photon_comes_first_whatever_the_order():
    one, other = select(photons(PAIR)), select(photons(PAIR[::-1]))
    np.testing.assert_array_equal(one.photons, other.photons)
    np.testing.assert_allclose(one.photons[0], PAIR, rtol=1e-6)
    np.testing.assert_allclose(one.mass, diphoton_mass(np.array([PAIR])), rtol=1e-6)


def test_quotas_of_the_papers_size_are_the_papers():
    for category, total in (("central", 63052), ("central_forward", 135602)):
        assert era_quotas(total, category) == tuple(era.quotas[category] for era in ERAS)


@pytest.mark.parametrize("category", ["central", "central_forward"])
def test_quotas_add_up_and_keep_the_proportions(category):
    weights = np.array([era.quotas[category] for era in ERAS])
    for events in [0, 1, 2, 3, 7, 600, 2000, 51200]:
        quotas = era_quotas(events, category)
        assert sum(quotas) == events
        np.testing.assert_array_less(np.abs(quotas - events * weights / weights.sum()), 1)


def test_unknown_category_and_negative_size_are_refused():
    with pytest.raises(ValueError, match="forward"):
        select(photons(PAIR), "forward")
    with pytest.raises(ValueError, match="-1 events"):
        era_quotas(-1)
