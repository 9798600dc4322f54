"""The gradient of a score is what a small change of a hit does to it."""

import numpy as np
import pytest

from e2e_jax.saliency import STRENGTHS, hit_gradients
from tests.synthetic import image_config, kinematics_config, sample
from tests.test_export import classifier_of


def test_the_gradient_is_what_a_little_more_energy_does():
    classifier, events = classifier_of(image_config()), sample(per_class=1)
    # A network whose score moves enough to be seen in float32.
    classifier.params["head"]["kernel"] *= 100
    gradients = hit_gradients(classifier, events)
    for name, column in (("eb", "energy"), ("tracks", "pt")):
        ragged = getattr(events, name)
        assert gradients[name].shape == ragged.columns[column].shape
        hit = int(np.argmax(np.abs(gradients[name])))
        event = ragged.event_index[hit]
        assert gradients[name][hit] != 0
        scores = []
        for step in (0.005, -0.005):
            ragged.columns[column][hit] += step
            scores.append(float(classifier.predict(events)[event, 1]))
            ragged.columns[column][hit] -= step
        np.testing.assert_allclose((scores[0] - scores[1]) / 0.01, gradients[name][hit], rtol=0.05)


def test_hits_that_no_image_shows_have_no_gradient():
    events = sample(per_class=1)
    gradients = hit_gradients(classifier_of(image_config()), events)
    assert set(gradients) == set(STRENGTHS)
    assert len(gradients["ee"]) == len(events.ee.energy)
    assert not gradients["ee"].any()
    assert not gradients["hcal"].any()


def test_many_events_have_the_gradients_of_each():
    classifier, events = classifier_of(image_config()), sample(per_class=5)
    together = hit_gradients(classifier, events)
    alone = hit_gradients(classifier, events[12:15])
    hits = events.eb.event_index >= 12
    np.testing.assert_allclose(together["eb"][hits], alone["eb"], rtol=1e-4, atol=1e-9)
    assert hit_gradients(classifier, events[:0])["eb"].shape == (0,)


def test_what_has_no_gradient_is_named():
    events = sample(per_class=1)
    with pytest.raises(ValueError, match=r"no class 'signal'; there are gamma_gamma, h, gamma_jet"):
        hit_gradients(classifier_of(image_config()), events, "signal")
    with pytest.raises(ValueError, match=r"sees kinematics: its score does not depend on any hit"):
        hit_gradients(classifier_of(kinematics_config()), events)
