"""Prediction uses few batch sizes; a shower classifier refuses inputs that it does not use."""

import dataclasses

import jax
import numpy as np
import pytest

from e2e_jax.configs import showers_vgg
from e2e_jax.studies.showers import LABELS
from tests.objects import classifier_of, new_state, predictor_of
from tests.showers_of_cells import showers_of
from tests.synthetic import kinematics_config, sample


@pytest.fixture
def classifier():
    """A classifier that gives every shower the same probabilities."""
    made = classifier_of(showers_vgg.get_config())
    return dataclasses.replace(made, _predict=lambda params, showers: np.full((len(showers), 2), 0.5))


@pytest.mark.slow
def test_showers_are_taken(classifier):
    assert classifier.predict(showers_of([[3], [1023]], [[1], [2]])).shape == (2, 2)
    assert classifier.classes == LABELS


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


def test_small_numbers_of_events_share_few_programs(caplog):
    config, events = kinematics_config(), sample(20)
    predict, params = predictor_of(config), new_state(config).params
    whole = predict(params, events)
    with jax.log_compiles():
        for count in range(1, 24):
            np.testing.assert_allclose(predict(params, events[:count]), whole[:count], rtol=1e-6)
    programs = [record for record in caplog.records if "Compiling jit(_forward)" in record.getMessage()]
    # 1, 2, 4, 8 and 16 events, and config.evaluate.batch_size, which is already compiled.
    assert 1 <= len(programs) <= 5


@pytest.mark.slow
@pytest.mark.parametrize("devices", [0, 1, 2, jax.local_device_count() + 1])
def test_prediction_takes_the_devices_that_the_config_names_if_they_are_there(devices):
    config, events = kinematics_config(), sample(20)
    params = new_state(config).params
    expected = predictor_of(config)(params, events)
    config.devices = devices
    np.testing.assert_allclose(predictor_of(config)(params, events), expected, rtol=1e-6)
    assert len(predictor_of(config).devices) == min(
        devices or jax.local_device_count(), jax.local_device_count()
    )
