"""Numbers of collisions per bunch crossing, and their contributions to an amplitude."""

import numpy as np
import pytest

from e2e_jax.errors import StudyError
from e2e_jax.sources.simulation import crossings, digis
from e2e_jax.studies import hgg
from e2e_jax.study.samples import Era


def rng():
    return np.random.default_rng(3)


@pytest.mark.parametrize(
    ("era", "mean", "width"), [("2012AB", 18.4, 5.5), ("2012C", 17.4, 4.8), ("2012D", 20.7, 6.0)]
)
def test_means_have_the_profile_of_their_era(era, mean, width):
    (found,) = (some for some in hgg.ERAS["central"] if some.name == era)
    means = crossings.draw_means(found, 20_000, rng())
    assert means.mean() == pytest.approx(mean, abs=0.15)
    assert means.std() == pytest.approx(width, abs=0.15)


def test_an_era_without_a_profile_has_one_mean():
    assert set(crossings.draw_means(Era("2011", pileup=8.0), 50, rng())) == {8.0}


def test_a_mean_that_is_asked_for_replaces_the_profiles():
    eras = hgg.STUDIES["central"].with_pileup(5.0).samples[0].eras
    assert [set(crossings.draw_means(era, 50, rng())) for era in eras] == [{5.0}] * 3


@pytest.mark.parametrize("profile", [(1, -1, 2), (0, 0), (1, np.nan)])
def test_profiles_that_are_no_weights_are_refused(profile):
    with pytest.raises(StudyError, match="2011"):
        Era("2011", profile=profile)


def test_crossings_of_an_event_share_its_mean():
    means = crossings.draw_means(Era(profile=hgg.PROFILES["2012D"]), 4000, rng())
    numbers = crossings.neighbors(means, rng())
    assert numbers.shape == (len(crossings.NEIGHBORS), 4000)
    np.testing.assert_allclose(numbers.mean(axis=1), means.mean(), rtol=0.02)
    assert np.corrcoef(numbers[0], numbers[1])[0, 1] > 0.5


def test_a_pulse_in_time_would_be_seen_in_full():
    assert digis.amplitude_weights() @ digis.pulse(0.0) == pytest.approx(1.0)
    assert (np.abs(crossings.ecal_shares()) < 0.4).all()
    assert (crossings.ecal_shares() < 0).any()
