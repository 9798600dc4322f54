"""Stored showers are read back as crystals or as images, with and without TensorFlow."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from e2e_jax.datasets.features import MANTISSA_BITS
from e2e_jax.datasets.shower_features import ShowerImages
from e2e_jax.detector import shower_images
from e2e_jax.events.showers import Showers
from tests.showers_of_cells import showers_of

HITS = {"detector": tfds.decode.SkipDecoding()}


def some():
    random = np.random.default_rng(1)
    cells = [np.sort(random.choice(1024, k, replace=False)) for k in (1, 200, 30)]
    return showers_of(cells, [random.exponential(3, len(c)) + 0.1 for c in cells])


def features_of(**options):
    return tfds.features.FeaturesDict({"detector": ShowerImages(**options)})


def stored(features, showers):
    return [features.serialize_example({"detector": e["detector"]}) for e in showers.examples()]


def read(features, showers):
    """The showers as they come back from their bytes."""
    hits = [features.deserialize_example_np(r, decoders=HITS) for r in stored(features, showers)]
    return Showers.from_examples([e | h for e, h in zip(showers.examples(), hits)])


@pytest.mark.parametrize("digis", [True, False])
def test_crystals_come_back_rounded_and_digis_as_they_are(digis):
    showers = some() if digis else some().without(("digis",))
    back = read(features_of(digis=digis), showers)
    for name, columns in Showers.COLLECTIONS.items():
        for column in columns:
            given, got = (getattr(of, name).columns[column] for of in (showers, back))
            assert (got.dtype, got.shape) == (given.dtype, given.shape)
            allowed = 2.0 ** -(MANTISSA_BITS + 1) if given.dtype.kind == "f" else 0
            np.testing.assert_allclose(got, given, rtol=allowed)


def test_decoded_images_are_those_of_the_device():
    features = features_of(channels=("time", "energy"), digis=True)
    decoded = [features.deserialize_example_np(r)["detector"] for r in stored(features, some())]
    back = read(features, some())
    images = shower_images.shower_images(back, "crop", ("time", "energy"))
    np.testing.assert_allclose(np.stack([d["crop"] for d in decoded]), images, rtol=1e-6)
    digis = shower_images.digi_images(back)
    np.testing.assert_allclose(np.stack([d["digis"] for d in decoded]), digis, rtol=1e-6)


def test_a_barrel_is_decoded_whole():
    features = features_of(view="barrel", channels=("energy",))
    showers = showers_of([[0, 61199]], [[2, 4]]).without(("digis",))
    (record,) = stored(features, showers)
    image = features.deserialize_example_np(record)["detector"]["barrel"]
    assert image.shape == (170, 360, 1)
    assert (image[0, 0, 0], image[-1, -1, 0], image.sum()) == (2, 4, 6)


@pytest.mark.slow
def test_tensorflow_decodes_the_same():
    tf = pytest.importorskip("tensorflow")
    features = features_of(digis=True)
    records = stored(features, some())
    stream = tf.data.Dataset.from_tensor_slices(records).map(features.deserialize_example)
    assert stream.element_spec["detector"]["digis"].shape == (10, 32, 32)
    for example, record in zip(stream.as_numpy_iterator(), records, strict=True):
        for name, image in features.deserialize_example_np(record)["detector"].items():
            np.testing.assert_array_equal(example["detector"][name], image)


def test_the_view_and_its_channels_survive_saving(tmp_path):
    chosen = features_of(channels=("time",), digis=True)
    chosen.save_config(tmp_path)
    loaded = tfds.features.FeatureConnector.from_config(tmp_path)
    (record,) = stored(chosen, some()[:1])
    for name, image in chosen.deserialize_example_np(record)["detector"].items():
        np.testing.assert_array_equal(loaded.deserialize_example_np(record)["detector"][name], image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"view": "endcap"}, "No view 'endcap'"),
        ({"channels": ("charge",)}, "name at least one"),
        ({"view": "barrel", "digis": True}, "the view 'crop' only"),
    ],
)
def test_what_cannot_be_shown_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ShowerImages(**options)


def test_a_column_that_lacks_is_named():
    (example,) = some()[:1].examples()
    lacking = {**example["detector"], "digis": {"cell": np.zeros(0, np.uint16)}}
    with pytest.raises(ValueError, match=r"'digis' hits lack \['samples'\]"):
        features_of().encode_example({"detector": lacking})
