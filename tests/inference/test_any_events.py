"""Every event gets probabilities or NaN, by the same rules in prediction and in exported files."""

import dataclasses
import functools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from e2e_jax.detector import images
from e2e_jax.inference import validity
from e2e_jax.inference.export import signature, stablehlo
from e2e_jax.sources.root.rec_hits import MAX_ENERGY
from e2e_jax.studies import hgg
from tests.event_strategies import collision_events, finite
from tests.objects import classifier_of
from tests.synthetic import image_config, kinematics_config

CONFIGS = {"kinematics": kinematics_config, "image": image_config}
MOST = 8
"""Padded entries of a collection in the exported files' batches."""

classifier = functools.cache(lambda name: classifier_of(CONFIGS[name]()))


def quick(examples):
    """Settings: no deadline, because the first example compiles, and the same examples every time."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=checks)


@st.composite
def any_events(draw, **sizes):
    """Events with any finite numbers, some of them usual, and in half of the cases any ids."""
    ordinary = draw(st.booleans())
    values = finite(0, 100) if ordinary else None
    masses = finite(-1, 200) if ordinary else None
    events = draw(collision_events(values=values, masses=masses, **sizes))
    if draw(st.booleans()):
        return events
    name = draw(st.sampled_from(["eb", "ee", "hcal"]))
    ragged = getattr(events, name)
    cells = draw(arrays.arrays(np.uint16, len(ragged.cell)))
    changed = dataclasses.replace(ragged, columns={**ragged.columns, "cell": cells})
    return dataclasses.replace(events, **{name: changed})


def check_predictions(name, events):
    bad = validity.is_invalid(events, hgg.TASK, classifier(name).inputs)
    scored = classifier(name).predict(events, invalid="nan")
    np.testing.assert_array_equal(np.isnan(scored), np.repeat(bad[:, None], 3, axis=1))
    np.testing.assert_allclose(scored[~bad].sum(axis=1), 1, rtol=1e-5)
    batch_bad = validity.is_invalid(events.to_batch(), hgg.TASK, classifier(name).inputs)
    np.testing.assert_array_equal(batch_bad, bad)
    if bad.any():
        with pytest.raises(ValueError, match=r"^Event \d"):
            classifier(name).predict(events)
    else:
        np.testing.assert_array_equal(classifier(name).predict(events), scored)


@pytest.mark.slow
@quick(60)
@given(any_events())
def test_any_event_of_two_photons_has_probabilities_or_nan(events):
    check_predictions("kinematics", events)


@pytest.mark.slow
@quick(15)
@given(any_events())
def test_any_image_has_probabilities_or_nan(events):
    check_predictions("image", events)


@pytest.mark.stress
@quick(400)
@given(st.sampled_from(sorted(CONFIGS)), any_events(max_size=8))
def test_any_event_has_probabilities_or_nan_in_a_long_run(name, events):
    check_predictions(name, events)


@functools.cache
def exported(name):
    shapes = signature.input_shapes(classifier(name), "hits")
    return shapes, stablehlo.scorer(stablehlo.to_bytes(classifier(name), shapes))


@pytest.mark.slow
@quick(15)
@given(any_events(min_size=4, max_size=4))
def test_an_exported_file_agrees_with_predict_on_any_event(events):
    shapes, score = exported("image")
    batch = events.to_batch(dict.fromkeys(events.COLLECTIONS, MOST))
    scored = np.asarray(score(signature.as_inputs(batch, shapes)))
    # The file gets only its inputs, and so does this batch.
    seen = {name: batch[name] for name in shapes}
    np.testing.assert_allclose(scored, classifier("image").predict(seen, invalid="nan"), atol=1e-5)


@quick(40)
@given(collision_events(values=finite(-MAX_ENERGY, MAX_ENERGY), max_size=2))
def test_the_images_of_any_event_hold_the_energy_of_its_hits(events):
    batch = events.to_batch(dict.fromkeys(events.COLLECTIONS, MOST))
    made = images.make_images(batch, "hcal_centric", ("ecal",))["full"]
    expected = sum(
        np.maximum(batch[name]["energy"], 0).astype(np.float64).sum(axis=1) for name in ("eb", "ee")
    )
    found = np.asarray(made, np.float64).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-30)
