"""A prediction averaged over symmetric views is invariant and equals the mean over the views."""

import jax.numpy as jnp
import numpy as np
import pytest

from e2e_jax import experiment
from e2e_jax.detector import symmetries
from e2e_jax.studies import hgg, showers
from tests.objects import classifier_of, predictor_of
from tests.synthetic import image_config, kinematics_config, sample
from tests.synthetic_showers import vgg_config

EVENTS = sample(8, seed=4)


def transformed(turn=0, reflected=False):
    """The padded batch of the events, each with one symmetry."""
    batch = EVENTS.to_batch()
    drawn = symmetries.same_for_all(len(EVENTS), turn, reflected, False)
    made = symmetries.transform({name: _arrays(values) for name, values in batch.items()}, drawn)
    return {name: _numpy(values) for name, values in made.items()}


def _arrays(values):
    return {n: jnp.asarray(v) for n, v in values.items()} if isinstance(values, dict) else jnp.asarray(values)


def _numpy(values):
    return {n: np.asarray(v) for n, v in values.items()} if isinstance(values, dict) else np.asarray(values)


def predicted(config, views, events):
    config.evaluate.symmetrize = views
    return predictor_of(config)(classifier_of(config).params, events)


@pytest.mark.slow
@pytest.mark.parametrize("make", [image_config, kinematics_config])
def test_the_average_is_that_of_the_views_and_does_not_change_under_them(make):
    config = make()
    views = symmetries.views(4, "barrel")
    alone = [predicted(config, 1, transformed(turn, reflected)) for turn, reflected, _ in views]
    average = predicted(config, 4, EVENTS)
    np.testing.assert_allclose(average, np.mean(alone, axis=0), atol=1e-5)
    assert np.ptp(alone, axis=0).max() > 1e-4
    for turn, reflected, _ in views:
        np.testing.assert_allclose(predicted(config, 4, transformed(turn, reflected)), average, atol=1e-5)


def test_views_of_events_without_symmetries_are_refused():
    config = vgg_config()
    config.evaluate.symmetrize = 2
    with pytest.raises(ValueError, match=r"evaluate\.symmetrize is 2"):
        experiment.of(config, showers.TASK)


def test_more_views_than_there_are_are_refused():
    config = image_config()
    config.evaluate.symmetrize = 1000
    with pytest.raises(ValueError, match=r"evaluate\.symmetrize"):
        experiment.of(config, hgg.TASK)
