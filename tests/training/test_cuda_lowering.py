"""The training step, lowered for a CUDA GPU, has no operations that are slow or inexact there.

No GPU is needed: JAX lowers for CUDA on any machine. The tests read the operations from the StableHLO text.
"""

import functools
import re

import jax
import numpy as np
import pytest

from e2e_jax.configs import showers_conv_lstm, showers_vgg
from e2e_jax.datasets.layout import Layout
from e2e_jax.detector import images
from e2e_jax.detector.drawing import Drawing
from e2e_jax.devices import parallel, placement
from e2e_jax.models import building
from e2e_jax.models.forward import logits_function
from tests.objects import new_state, parallel_step, run_of, train_step
from tests.synthetic import image_config, kinematics_config, sample

EVENTS = sample(2)
SMALL = Layout.padded(EVENTS)
PRODUCTS = ("convolution", "dot_general")
CONVOLUTIONS = 16
OF_COLLISIONS = [name for name in images.geometries() if name != "jet"]
"""Those of a ResNet-15: 15 and the shortcut's."""


def lowered(function, *arguments):
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda",)).as_text()


@functools.cache
def step_for_cuda(make_config=image_config, precision="float32"):
    """StableHLO of a training step: on images of three channels, unless another config is made."""
    config = make_config()
    config.precision = precision
    if make_config is image_config:
        config.inputs.channels = images.CHANNELS
    state = jax.eval_shape(lambda: new_state(config))
    return lowered(train_step(config, platform="gpu"), state, SMALL.batch(EVENTS))


def operations(text, *names):
    """The lines of some operations, each with its attributes and the types of its operands and result."""
    return [line for line in text.splitlines() if any(f"stablehlo.{name}" in line for name in names)]


def precisions(line):
    return set(re.findall(r"\b(HIGHEST|HIGH|DEFAULT)\b", line)) or {"DEFAULT"}


def test_the_pooling_of_a_resnet_is_no_scatter():
    assert "select_and_scatter" not in step_for_cuda()


@pytest.mark.parametrize(
    ("make_config", "name", "shape"),
    [
        (showers_vgg.get_config, "crop", (2, 32, 32, 1)),
        (showers_conv_lstm.get_config, "digis", (2, 10, 32, 32)),
    ],
)
def test_the_pooling_of_a_network_of_showers_is_no_scatter(make_config, name, shape):
    run = run_of(make_config())
    network, inputs = building.build(run.network, run.inputs, "gpu"), {name: np.zeros(shape, np.float32)}
    params = jax.eval_shape(network.init, jax.random.key(0), inputs)
    gradient = jax.grad(lambda params: network.apply(params, inputs).sum())
    assert "select_and_scatter" not in lowered(gradient, params)


def test_nothing_of_this_machines_processor_is_called_and_no_platform_is_asked_for():
    config = image_config()
    run, state = run_of(config), jax.eval_shape(lambda: new_state(config))
    for platform in ("gpu", "any"):
        logits = logits_function(run.network, run.inputs, platform)
        text = lowered(logits, state.params, SMALL.batch(EVENTS))
        assert "e2e_resnet" not in text
        assert "platform_index" not in str(jax.make_jaxpr(logits)(state.params, SMALL.batch(EVENTS)))


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "wanted"), [("float32", "HIGHEST"), ("tf32", "DEFAULT")])
def test_every_product_of_float32_has_the_precision_asked_for(precision, wanted):
    text = step_for_cuda(precision=precision)
    # Each convolution has three, but the stem no gradient of its image.
    assert len(operations(text, "convolution")) == 3 * CONVOLUTIONS - 1
    for line in operations(text, *PRODUCTS):
        assert precisions(line) == {wanted}, line
        assert "bf16" not in line
    products = operations(step_for_cuda(kinematics_config, precision), *PRODUCTS)
    assert products
    assert all(precisions(line) == {wanted} for line in products)


def test_bfloat16_has_kernel_gradients_and_a_head_in_float32():
    text = step_for_cuda(precision="bfloat16")
    operands, results = zip(
        *(line.rsplit(" : ", 1)[1].split("->") for line in operations(text, "convolution"))
    )
    assert all(types.count("bf16") == 2 for types in operands)
    # The maps and, but for the stem, the gradient of the image; the gradient of the kernel.
    assert sum("bf16" in result for result in results) == 2 * CONVOLUTIONS - 1
    assert sum("xf32" in result for result in results) == CONVOLUTIONS
    assert all(precisions(line) == {"HIGHEST"} for line in operations(text, "dot_general"))


def test_the_stem_is_a_4x4_convolution_on_blocks():
    kernels = [
        re.findall(r"tensor<([x\d]+)x", line)[1] for line in operations(step_for_cuda(), "convolution")
    ]
    assert kernels[0] == "4x4x12x2"
    assert not any(kernel.startswith("7x7") for kernel in kernels)


def test_a_hit_is_scattered_once():
    of_images = re.findall(r"\(tensor<[x\d]+xf32>, tensor<6x(\d+)x\dxi32>, .*-> tensor<6x1x", step_for_cuda())
    assert sum(map(int, of_images)) == sum(SMALL.lengths[name] for name in ("tracks", "eb", "hcal"))


@pytest.mark.parametrize("geometry", OF_COLLISIONS)
def test_deterministic_images_are_written_to_places_of_their_own(geometry):
    for deterministic in (False, True):
        drawing = Drawing(deterministic=deterministic)
        text = lowered(
            functools.partial(images.make_images, geometry=geometry, drawing=drawing), SMALL.batch(EVENTS)
        )
        assert set(re.findall(r"unique_indices = (\w+)", text)) == {str(deterministic).lower()}


@pytest.mark.parametrize("way", parallel.WAYS)
def test_a_loop_of_steps_has_a_fixed_length(way):
    config, events = kinematics_config(), sample(20)
    config.parallel, config.devices = way, 1
    made = parallel_step(config, platform="gpu")
    run = made.loop(Layout.padded(events).take)
    state = jax.eval_shape(lambda: new_state(config))
    rows = np.zeros((placement.LOOP, config.train.batch_size), np.int32)
    text = lowered(run, state, placement.pack(events), rows)
    conditions = re.findall(r"cond \{(.*?)stablehlo.return", text, re.DOTALL)
    assert any(f"dense<{placement.LOOP}>" in condition for condition in conditions)
    assert all("stablehlo.constant dense" in condition for condition in conditions)
