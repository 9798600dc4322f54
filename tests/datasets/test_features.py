"""Stored hits are read back as hits or as images, with and without TensorFlow."""

import dataclasses

import numpy as np
import pytest
import tensorflow_datasets as tfds

from e2e_jax.datasets.features import MANTISSA_BITS, DetectorImages, round_mantissa
from e2e_jax.detector import geometry, images
from e2e_jax.events.base import Ragged
from e2e_jax.events.diphotons import COLLECTIONS, Events
from tests.hgg_jobs import jobs
from tests.synthetic_tasks import produce

HITS = {"detector": tfds.decode.SkipDecoding()}


@pytest.fixture(scope="module")
def events():
    return Events.concatenate([produce(task) for task in jobs(2, seed=5)])


@pytest.fixture(scope="module")
def features():
    return tfds.features.FeaturesDict({"detector": DetectorImages()})


def stored(features, events):
    """Each event as the bytes that lie on disk."""
    return [features.serialize_example({"detector": e["detector"]}) for e in events.examples()]


def test_hits_come_back_in_their_types_rounded_once(features, events):
    for record, example in zip(stored(features, events), events.examples()):
        back = features.deserialize_example_np(record, decoders=HITS)["detector"]
        again = features.deserialize_example_np(features.serialize_example({"detector": back}), decoders=HITS)
        for name, columns in COLLECTIONS.items():
            for column, dtype in columns.items():
                given = example["detector"][name][column]
                assert back[name][column].dtype == dtype
                if column == "cell":
                    np.testing.assert_array_equal(back[name][column], given)
                else:
                    np.testing.assert_allclose(back[name][column], given, rtol=2.0 ** -(MANTISSA_BITS + 1))
                np.testing.assert_array_equal(again["detector"][name][column], back[name][column])


def test_decoded_images_are_those_of_the_device(features, events):
    records = stored(features, events)
    hits = [features.deserialize_example_np(record, decoders=HITS) for record in records]
    rounded = Events.from_examples([e | h for e, h in zip(events.examples(), hits)], ["mass"])
    expected = np.asarray(images.make_images(rounded)["barrel"])
    decoded = [features.deserialize_example_np(record)["detector"]["barrel"] for record in records]
    assert decoded[0].dtype == np.float32
    np.testing.assert_allclose(np.stack(decoded), expected, rtol=1e-6)


@pytest.mark.slow
def test_tensorflow_decodes_the_same(features, events):
    tf = pytest.importorskip("tensorflow")
    records = stored(features, events[:3])
    dense = [features.deserialize_example_np(record)["detector"]["barrel"] for record in records]
    stream = tf.data.Dataset.from_tensor_slices(records).map(features.deserialize_example)
    assert stream.element_spec["detector"]["barrel"].shape == (170, 360, 3)
    for example, expected in zip(stream.as_numpy_iterator(), dense):
        np.testing.assert_array_equal(example["detector"]["barrel"], expected)
    hits = features.deserialize_example(records[0], decoders=HITS)["detector"]
    assert hits["eb"]["cell"].dtype == tf.uint16


GEOMETRIES = ("ecal_centric", "hcal_centric")


@pytest.fixture(scope="module")
def forward(events):
    """The events with tracks and endcap hits up to |eta| = 3, of cells that there are."""
    random = np.random.default_rng(6)

    def among(ragged, cells):
        return Ragged(ragged.offsets, ragged.columns | {"cell": random.choice(cells, ragged.offsets[-1])})

    tracks = events.tracks.columns
    wide = {**tracks, "eta": random.uniform(-3.1, 3.1, len(tracks["eta"])).astype(np.float32)}
    cells = geometry.ee_crystals().cell, np.flatnonzero(geometry.hcal_exists()).astype(np.uint16)
    return dataclasses.replace(
        events,
        ee=among(events.eb, cells[0]),
        hcal=among(events.hcal, cells[1]),
        tracks=Ragged(events.tracks.offsets, wide),
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", GEOMETRIES)
def test_every_geometry_is_decoded_as_the_device_draws_it(forward, name):
    feature = tfds.features.FeaturesDict({"detector": DetectorImages(geometry=name)})
    records = stored(feature, forward)
    hits = [feature.deserialize_example_np(record, decoders=HITS) for record in records]
    rounded = Events.from_examples([e | h for e, h in zip(forward.examples(), hits)], ["mass"])
    expected = images.make_images(rounded, name)
    decoded = [feature.deserialize_example_np(record)["detector"] for record in records]
    assert set(decoded[0]) == set(expected) == set(images.shapes(name))
    for image in expected:
        assert np.asarray(expected[image]).any((0, 1, 2)).all()
        made = np.stack([event[image] for event in decoded])
        np.testing.assert_allclose(made, expected[image], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", GEOMETRIES)
def test_tensorflow_decodes_every_geometry(forward, name):
    tf = pytest.importorskip("tensorflow")
    feature = tfds.features.FeaturesDict(
        {"detector": DetectorImages(geometry=name, channels=("ecal", "hcal"))}
    )
    records = stored(feature, forward[:2])
    stream = tf.data.Dataset.from_tensor_slices(records).map(feature.deserialize_example)
    for image, shape in images.shapes(name).items():
        assert stream.element_spec["detector"][image].shape == (*shape, 2)
    for example, record in zip(stream.as_numpy_iterator(), records, strict=True):
        for image, dense in feature.deserialize_example_np(record)["detector"].items():
            np.testing.assert_array_equal(example["detector"][image], dense)


def test_events_without_hits_are_empty_images(features):
    nothing = {name: {c: np.zeros(0, t) for c, t in columns.items()} for name, columns in COLLECTIONS.items()}
    record = features.serialize_example({"detector": nothing})
    assert not features.deserialize_example_np(record)["detector"]["barrel"].any()
    assert features.deserialize_example_np(record, decoders=HITS)["detector"]["tracks"]["pt"].shape == (0,)


def test_channels_and_their_order_survive_saving(tmp_path, events):
    chosen = tfds.features.FeaturesDict({"detector": DetectorImages(channels=("hcal", "ecal"))})
    chosen.save_config(tmp_path)
    loaded = tfds.features.FeatureConnector.from_config(tmp_path)
    (record,) = stored(chosen, events[:1])
    image = loaded.deserialize_example_np(record)["detector"]["barrel"]
    full = tfds.features.FeaturesDict({"detector": DetectorImages()}).deserialize_example_np(record)
    np.testing.assert_array_equal(image, full["detector"]["barrel"][..., [2, 1]])


def test_rounding_is_to_the_nearest():
    values = np.array([0, 1, -1, 1 + 2.0**-13 * 0.99, 1 + 2.0**-13 * 1.01, np.inf, 0.1], np.float32)
    rounded = round_mantissa(values, 12)
    np.testing.assert_array_equal(rounded[:6], np.array([0, 1, -1, 1, 1 + 2.0**-12, np.inf], np.float32))
    assert abs(rounded[6] - 0.1) < 0.1 * 2.0**-13
    assert np.isnan(round_mantissa(np.array([np.nan], np.float32)))[0]
    np.testing.assert_array_equal(round_mantissa(values, 23), values)


def test_what_does_not_exist_is_named():
    with pytest.raises(ValueError, match=r"'sphere'.*'barrel'"):
        DetectorImages(geometry="sphere")
    with pytest.raises(ValueError, match="muons"):
        DetectorImages(channels=("muons",))
    with pytest.raises(ValueError, match=r"'eb' hits lack \['energy'\]"):
        DetectorImages().encode_example({"eb": {"cell": np.zeros(1, np.uint16)}})
