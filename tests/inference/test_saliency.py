"""The gradient of a score predicts the effect of a small change of a hit."""

import numpy as np
import pytest

from e2e_jax.inference.saliency import STRENGTHS, hit_gradients
from tests.objects import classifier_of
from tests.synthetic import image_config, kinematics_config, sample


@pytest.mark.slow
@pytest.mark.parametrize(("name", "column"), [("eb", "energy"), ("tracks", "pt")])
def test_the_gradient_is_what_a_little_more_energy_does(name, column):
    """A small step along the gradient changes a score by the gradient's length times the step."""
    classifier, events, step = classifier_of(image_config()), sample(per_class=4), 0.01
    ragged = getattr(events, name)
    gradient, values = hit_gradients(classifier, events)[name].astype(np.float64), ragged.columns[column]
    assert gradient.shape == values.shape
    length = np.sqrt(np.bincount(ragged.event_index, gradient**2))
    before, scores = values.copy(), []
    for sign in (1, -1):
        values[:] = before + sign * step * gradient / np.maximum(length, 1e-30)[ragged.event_index]
        scores.append(classifier.predict(events)[:, 1].astype(np.float64))
    steep = length > 1e-4  # visible in float32
    assert steep.sum() >= 3
    change = (scores[0] - scores[1])[steep] / (2 * step)
    # The median, because a step may cross a kink of the network for some events.
    assert np.median(abs(change / length[steep] - 1)) < 0.03


@pytest.mark.slow
def test_hits_that_no_image_shows_have_no_gradient():
    events = sample(per_class=1)
    gradients = hit_gradients(classifier_of(image_config()), events)
    assert set(gradients) == set(STRENGTHS)
    assert len(gradients["ee"]) == len(events.ee.energy)
    assert not gradients["ee"].any()
    assert not gradients["hcal"].any()


@pytest.mark.slow
def test_many_events_have_the_gradients_of_each():
    classifier, events = classifier_of(image_config()), sample(per_class=5)
    together = hit_gradients(classifier, events)
    alone = hit_gradients(classifier, events[12:15])
    hits = events.eb.event_index >= 12
    np.testing.assert_allclose(together["eb"][hits], alone["eb"], rtol=1e-4, atol=1e-9)
    assert hit_gradients(classifier, events[:0])["eb"].shape == (0,)


@pytest.mark.slow
def test_what_has_no_gradient_is_named():
    events = sample(per_class=1)
    with pytest.raises(ValueError, match=r"no class 'signal'; there are gamma_gamma, h, gamma_jet"):
        hit_gradients(classifier_of(image_config()), events, "signal")
    with pytest.raises(ValueError, match=r"sees kinematics: its score does not depend on any hit"):
        hit_gradients(classifier_of(kinematics_config()), events)
