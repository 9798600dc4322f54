"""Network inputs are computed from the hits by the formulas of the config."""

import jax
import ml_collections
import numpy as np
import pytest

from e2e_jax.configs import default
from e2e_jax.detector import shower_images
from e2e_jax.detector.images import make_images
from e2e_jax.detector.shower_shapes import NAMES, shower_shapes
from e2e_jax.models.preprocessing import dense_shapes, kinematics, model_inputs
from tests.synthetic import sample
from tests.synthetic_showers import fcn_config, shower_sample, vgg_config


@pytest.fixture
def inputs():
    return default.get_config().inputs


@pytest.fixture
def batch():
    return sample(per_class=2).to_batch()


@pytest.mark.slow
@pytest.mark.parametrize("normalization", ["mass", "sum_pt", "none"])
def test_images_are_scaled_and_normalized(inputs, batch, normalization):
    inputs.normalization = normalization
    inputs.scale = {"tracks": 2.0, "ecal": 3.0, "hcal": 5.0}
    divisor = {"mass": batch["mass"], "sum_pt": batch["photons"][:, :, 0].sum(axis=1), "none": np.ones(6)}
    raw = np.asarray(make_images(batch)["barrel"])
    expected = raw * np.array([2, 3, 5]) / divisor[normalization][:, None, None, None]
    got = jax.jit(lambda b: model_inputs(b, inputs))(batch)
    assert list(got) == ["barrel"]
    np.testing.assert_allclose(got["barrel"], expected, rtol=1e-6)


def test_the_threshold_is_in_gev_before_any_scaling(inputs):
    inputs.channels = ("ecal",)
    image = np.zeros((1, 170, 360, 1), np.float32)
    image[0, 0, :3, 0] = 0.9e-3, 1e-3, 2.0
    got = model_inputs({"barrel": image, "mass": np.full(1, 100, np.float32)}, inputs)["barrel"]
    np.testing.assert_allclose(got[0, 0, :3, 0], [0, 50 * 1e-5, 1.0], rtol=1e-6)


def test_each_channel_has_its_own_threshold(inputs):
    image = np.full((1, 170, 360, 3), 0.5, np.float32)
    inputs.threshold = {"tracks": 0.1, "ecal": 0.5, "hcal": 1.0}
    got = model_inputs({"barrel": image, "mass": np.full(1, 50, np.float32)}, inputs)["barrel"]
    np.testing.assert_allclose(got[0, 0, 0], [0.5, 0.5, 0], rtol=1e-6)
    # A run of a time when there was one threshold for all has a number in its place.
    number = ml_collections.ConfigDict({**inputs.to_dict(), "threshold": 1.0})
    assert not model_inputs({"barrel": image, "mass": np.ones(1, np.float32)}, number)["barrel"].any()


@pytest.mark.slow
@pytest.mark.parametrize("geometry", ["ecal_centric", "hcal_centric"])
def test_every_image_of_a_geometry_is_scaled_and_ready_images_may_stand_for_hits(inputs, batch, geometry):
    inputs.geometry = geometry
    inputs.scale = {"tracks": 2.0, "ecal": 3.0, "hcal": 5.0}
    raw = make_images(batch, geometry)
    from_hits = model_inputs(batch, inputs)
    from_images = model_inputs({**raw, "mass": batch["mass"]}, inputs)
    assert set(from_hits) == set(raw) == set(from_images)
    for name, image in raw.items():
        expected = np.asarray(image) * np.array([2, 3, 5]) / batch["mass"][:, None, None, None]
        expected[np.asarray(image) < 1e-3] = 0
        np.testing.assert_allclose(from_hits[name], expected, rtol=1e-6)
        np.testing.assert_array_equal(from_images[name], from_hits[name])


def test_an_image_that_is_missing_beside_others_is_named(inputs, batch):
    inputs.geometry = "ecal_centric"
    ready = {"barrel": np.zeros((1, 170, 360, 3), np.float32), "mass": np.ones(1)}
    with pytest.raises(ValueError, match=r"no 'endcap_minus', which config.inputs.geometry = 'ecal_centric'"):
        model_inputs(ready, inputs)


def test_the_images_do_not_grow_with_the_mass_scale(inputs, batch):
    heavier = jax.tree.map(lambda x: x, batch)
    heavier["mass"] = batch["mass"] * 2
    for name, column in (("eb", "energy"), ("hcal", "energy"), ("tracks", "pt")):
        heavier[name] = {**batch[name], column: batch[name][column] * 2}
    inputs.threshold = {"tracks": 0.0, "ecal": 0.0, "hcal": 0.0}
    one, two = (model_inputs(b, inputs)["barrel"] for b in (batch, heavier))
    np.testing.assert_allclose(one, two, rtol=1e-6)


def test_kinematics(inputs, batch):
    inputs.kind = "kinematics"
    got = model_inputs(batch, inputs)["kinematics"]
    pt, eta, phi = np.moveaxis(batch["photons"], -1, 0)
    m = batch["mass"]
    expected = [pt[:, 0] / m, pt[:, 1] / m, eta[:, 0], eta[:, 1], np.cos(phi[:, 0] - phi[:, 1])]
    np.testing.assert_allclose(got, np.stack(expected, axis=1), rtol=1e-5)


def test_high_level_inputs_are_kinematics_and_standardized_shapes(inputs, batch):
    inputs.kind, inputs.shapes = "high_level", ("h_over_e", "sigma_ieta_ieta")
    inputs.standard.h_over_e, inputs.standard.sigma_ieta_ieta = (0.0, 0.5), (0.01, 0.002)
    shapes = np.zeros((6, 2, len(NAMES)), np.float32)
    shapes[:, :, NAMES.index("h_over_e")] = np.linspace(0, 1, 12).reshape(6, 2)
    shapes[:, 1, NAMES.index("sigma_ieta_ieta")] = 0.03
    got = model_inputs({**batch, "shower_shapes": shapes}, inputs)["high_level"]
    np.testing.assert_array_equal(got[:, :5], kinematics(batch["photons"], batch["mass"]))
    over = np.arcsinh(np.linspace(0, 1, 12).reshape(6, 2) / 0.5)
    width = np.broadcast_to(np.arcsinh([-5.0, 10.0]), (6, 2))
    # Of the leading photon, then of the other.
    expected = np.stack([over[:, 0], width[:, 0], over[:, 1], width[:, 1]], axis=1)
    np.testing.assert_allclose(got[:, 5:], expected, rtol=1e-4)


@pytest.mark.slow
def test_shapes_come_from_the_hits_where_they_are_not_given(inputs, batch):
    inputs.kind = "high_level"
    given = {name: batch[name] for name in ("photons", "mass")} | {"shower_shapes": shower_shapes(batch)}
    from_hits = jax.jit(lambda b: model_inputs(b, inputs))(batch)["high_level"]
    np.testing.assert_allclose(from_hits, model_inputs(given, inputs)["high_level"], rtol=1e-5, atol=1e-6)
    assert from_hits.shape == (6, 5 + 2 * len(NAMES))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"shapes": ("r9", "s4")}, "names 's4', but the shapes are: sigma_ieta_ieta"),
        ({"standard": {"r9": (0.9, 0.0)}, "shapes": ("r9",)}, "no .center, width. with a width above 0"),
    ],
)
def test_a_shape_that_cannot_be_is_named(inputs, batch, change, match):
    inputs.kind = "high_level"
    inputs.update(change)
    with pytest.raises(ValueError, match=match):
        model_inputs(batch, inputs)


def test_shower_shapes_of_one_photon_are_refused(inputs, batch):
    inputs.kind = "high_level"
    with pytest.raises(ValueError, match=r"has the shape \(6, 9\).*two photons, \[n, 2, 9\]"):
        model_inputs({**batch, "shower_shapes": np.zeros((6, 9), np.float32)}, inputs)


def test_events_that_fill_up_a_batch_stay_finite(inputs, batch):
    empty = jax.tree.map(np.zeros_like, batch)
    assert np.all(np.asarray(model_inputs(empty, inputs)["barrel"]) == 0)
    for kind in ("kinematics", "high_level"):
        inputs.kind = kind
        assert np.all(np.isfinite(model_inputs(empty, inputs)[kind]))


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("kind", "pictures", "kind is 'pictures'; it is one of images, tokens, kinematics, high_level"),
        ("normalization", "energy", "no 'energy', which config.inputs.normalization = 'energy' needs"),
        ("geometry", "sphere", "'sphere'"),
        ("channels", ("muons",), "muons"),
    ],
)
def test_an_unknown_choice_is_named(inputs, batch, field, value, match):
    inputs[field] = value
    with pytest.raises(ValueError, match=match):
        model_inputs(batch, inputs)


def test_what_the_batch_lacks_is_named(inputs, batch):
    del batch["mass"]
    with pytest.raises(ValueError, match=r"no 'mass', which config.inputs.normalization = 'mass' needs"):
        model_inputs(batch, inputs)


def test_an_image_of_other_channels_is_refused(inputs):
    with pytest.raises(ValueError, match="has 1 channels, but this classifier sees 3: tracks, ecal, hcal"):
        model_inputs({"barrel": np.zeros((1, 170, 360, 1), np.float32), "mass": np.ones(1)}, inputs)


def test_showers_are_their_crystals_times_the_scale():
    config, sample = vgg_config(), shower_sample(2)
    config.inputs.channels = ("energy", "time")
    config.inputs.scale = {"energy": 0.5, "time": 2.0}
    (image,) = model_inputs(sample.to_batch(), config.inputs).values()
    raw = np.asarray(shower_images.shower_images(sample, "crop", ("energy", "time")))
    np.testing.assert_allclose(image, raw * np.array([0.5, 2.0], np.float32), rtol=1e-6)
    assert dense_shapes(config.inputs) == {"crop": (32, 32, 2)}
    same = model_inputs({"crop": raw}, config.inputs)["crop"]
    np.testing.assert_allclose(same, image, rtol=1e-6)
    with pytest.raises(ValueError, match=r"'crop' has the shape \(4, 32, 32, 1\).*of energy, time"):
        model_inputs({"crop": raw[..., :1]}, config.inputs)


def test_digis_are_images_of_every_sample():
    config, sample = fcn_config(), shower_sample(2)
    config.inputs.scale.digis = 0.25
    made = model_inputs(sample.to_batch(), config.inputs)["digis"]
    np.testing.assert_allclose(made, np.asarray(shower_images.digi_images(sample)) * 0.25, rtol=1e-6)
    assert dense_shapes(config.inputs) == {"digis": made.shape[1:]}
    for channels, geometry in ((("digis", "energy"), "crop"), (("digis",), "barrel")):
        config.inputs.channels, config.inputs.geometry = channels, geometry
        with pytest.raises(ValueError, match=r"digis stand alone, .*and in crops"):
            dense_shapes(config.inputs)
