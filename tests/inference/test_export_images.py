"""Exported jets and crops are one NHWC tensor with any number of events, scaled in the file or before it."""

import numpy as np
import pytest

from e2e_jax.configs import jets_resnet, tops_resnet
from e2e_jax.errors import ExportError
from e2e_jax.inference.export import signature
from e2e_jax.models import preprocessing
from tests.objects import classifier_of
from tests.synthetic import image_config
from tests.synthetic_showers import vgg_config

onnx_file = pytest.importorskip(
    "e2e_jax.inference.export.onnx_file", reason="the package onnx is not installed"
)
onnxruntime = pytest.importorskip("onnxruntime")


def tops_config():
    config = tops_resnet.get_config()
    config.model.widths = (2, 4)
    return config


def jets_config():
    config = jets_resnet.get_config()
    config.model.widths = (2, 4)
    return config


CONFIGS = {
    "jets": (jets_config, "jet", (125, 125, 3)),
    "tops": (tops_config, "jet", (125, 125, 8)),
    "crops": (vgg_config, "crop", (32, 32, 1)),
}


@pytest.mark.slow
@pytest.mark.parametrize(("config", "name", "shape"), CONFIGS.values(), ids=CONFIGS)
def test_a_file_takes_one_tensor_and_scores_as_predict_does(config, name, shape):
    classifier = classifier_of(config())
    shapes = signature.input_shapes(classifier, "images")
    content = onnx_file.to_bytes(classifier, shapes)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (given,), (output,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape[1:], given.type) == (name, list(shape), "tensor(float)")
    assert isinstance(given.shape[0], str)
    assert output.name == "probabilities"
    for events in (1, 3):
        images = signature.probe(shapes, events)
        np.testing.assert_allclose(onnx_file.scorer(content)(images), classifier.predict(images), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("config", "name", "shape"), CONFIGS.values(), ids=CONFIGS)
def test_scaling_outside_gives_the_same_for_images_that_were_scaled(config, name, shape):
    classifier = classifier_of(config())
    images = signature.probe(signature.input_shapes(classifier, "images"), 2)
    scaled = preprocessing.model_inputs(images, classifier.inputs)
    outside = signature.scaled_outside(classifier)
    content = onnx_file.to_bytes(outside, signature.input_shapes(outside, "images"))
    np.testing.assert_allclose(onnx_file.scorer(content)(scaled), classifier.predict(images), atol=1e-5)


def test_what_cannot_be_exported_so_is_told():
    with pytest.raises(ExportError, match="outside"):
        signature.scaled_outside(classifier_of(image_config()))
    for config in (jets_config, vgg_config):
        with pytest.raises(ExportError, match="images"):
            signature.input_shapes(classifier_of(config()), "hits")
