"""A classifier of showers refuses what it does not see, before it predicts anything."""

import numpy as np
import pytest

from configs import showers_vgg
from e2e_jax.prediction import Classifier
from e2e_jax.sources.showers import Showers
from tests.showers_of_cells import showers_of


@pytest.fixture
def classifier():
    """One that gives every shower the same probabilities."""
    return Classifier(showers_vgg.get_config(), {}, lambda params, showers: np.full((len(showers), 2), 0.5))


def test_showers_are_taken(classifier):
    assert classifier.predict(showers_of([[3], [1023]], [[1], [2]])).shape == (2, 2)
    assert classifier.classes == Showers.CLASSES


def test_showers_of_another_view_are_refused(classifier):
    whole = showers_of([[3], [30000]], [[1], [2]])
    with pytest.raises(ValueError, match=r"Event 1\b.*crystals.cell = 30000 .* 0 to 1023"):
        classifier.predict(whole)
    with pytest.raises(ValueError, match=r"Event 1\b.*crystals.cell = 30000 .* 0 to 1023"):
        classifier.predict(whole.to_batch())


def test_images_of_another_shape_and_what_is_no_batch_are_refused(classifier):
    with pytest.raises(ValueError, match=r"'crop' has the shape \(4, 16, 16, 1\), but .*\[n, 32, 32, 1\]"):
        classifier.predict({"crop": np.zeros((4, 16, 16, 1), np.float32)})
    with pytest.raises(ValueError, match=r"predict takes Showers, .*Showers.to_batch.*got list\."):
        classifier.predict([1, 2])


def test_an_energy_that_is_no_number_is_refused(classifier):
    showers = showers_of([[3], [9]], [[1], [2]])
    showers.crystals.energy[1] = np.nan
    with pytest.raises(ValueError, match=r"Event 1 .*crystals.energy = nan is not finite"):
        classifier.predict(showers)
