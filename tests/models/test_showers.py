"""The networks on crops of showers: their sizes and their use of the inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from e2e_jax.configs import showers_conv_lstm, showers_fcn, showers_vgg
from e2e_jax.models.building import build
from e2e_jax.models.showers import ShowerConvLSTM, ShowerFCN, ShowerVGG
from tests.objects import run_of

CROP, DIGIS = (3, 32, 32, 1), (3, 10, 32, 32)


def made(network, inputs, **options):
    """Logits and parameters of a network on inputs, with the key 0."""
    return network.init_with_output(jax.random.key(0), inputs, **options)


def count(network, inputs):
    shapes = jax.eval_shape(network.init, jax.random.key(0), inputs)
    return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))


def test_vgg_is_three_pairs_of_convolutions_and_a_head():
    maps = [(1, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 64)]
    expected = sum(9 * a * b + b for a, b in maps) + (4 * 4 * 64 + 1) * 128 + (128 + 1) * 2
    assert expected == 203_250
    assert count(ShowerVGG(), {"crop": jnp.zeros(CROP)}) == expected


def test_the_conv_lstm_has_four_gates_over_input_and_state():
    gates = 9 * 4 * (4 * 8) + 4 * 8 + 9 * 8 * (4 * 8) + 4 * 8
    expected = (16 * 1 * 4 + 4) + gates + (8 * 8 * 8 + 1) * 128 + (128 + 1) * 2
    assert expected == 69_510
    assert count(ShowerConvLSTM(), {"digis": jnp.zeros(DIGIS)}) == expected


def test_the_fcn_is_three_layers_on_every_number():
    expected = (10 * 32 * 32 + 1) * 256 + 2 * (256 + 1) * 256 + (256 + 1) * 2
    assert expected == 2_753_794
    assert count(ShowerFCN(), {"digis": jnp.zeros(DIGIS)}) == expected


@pytest.mark.slow
@pytest.mark.parametrize("config", [showers_vgg, showers_conv_lstm, showers_fcn])
def test_build_makes_what_the_config_says(config):
    config = config.get_config()
    digis = config.inputs.channels == ("digis",)
    inputs = {"digis": jnp.zeros(DIGIS)} if digis else {"crop": jnp.zeros(CROP)}
    config.model.widths = tuple(2 for _ in config.model.widths)
    run = run_of(config)
    logits, variables = made(build(run.network, run.inputs), inputs)
    assert logits.shape == (3, 2)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype("float32")}


@pytest.mark.slow
def test_the_conv_lstm_knows_the_order_of_the_samples():
    rng = np.random.default_rng(1)
    digis = rng.exponential(size=DIGIS).astype(np.float32)
    network = ShowerConvLSTM(widths=(2, 3), head=(4,))
    logits, variables = made(network, {"digis": digis})
    backwards = network.apply(variables, {"digis": digis[:, ::-1]})
    assert np.abs(np.asarray(logits - backwards)).max() > 1e-4
    # The state is the LSTM's of flax, step by step.
    import flax.linen as nn

    from e2e_jax.models.convolution import Convolution

    params = variables["params"]
    stem, cell = Convolution(2, kernel_size=4, stride=2), nn.ConvLSTMCell(3, kernel_size=(3, 3))
    carry = (jnp.zeros((3, 16, 16, 3)),) * 2
    for sample in range(10):
        x = stem.apply({"params": params["stem"]}, digis[:, sample, :, :, None])
        carry, _ = cell.apply({"params": params["lstm"]}, carry, x)
    pooled = np.asarray(carry[1]).reshape(3, 8, 2, 8, 2, 3).max(axis=(2, 4)).reshape(3, -1)
    weights = params["hidden0"], params["head"]
    hidden = np.maximum(pooled @ np.asarray(weights[0]["kernel"]) + np.asarray(weights[0]["bias"])[None], 0)
    expected = hidden @ np.asarray(weights[1]["kernel"]) + np.asarray(weights[1]["bias"])[None]
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_a_vgg_takes_the_samples_as_channels():
    digis = np.random.default_rng(2).normal(size=DIGIS).astype(np.float32)
    network = ShowerVGG(widths=(2, 2), head=(4,), image="digis")
    logits, variables = made(network, {"digis": digis})
    assert variables["params"]["maps0_1"]["kernel"].shape == (3, 3, 10, 2)
    same = ShowerVGG(widths=(2, 2), head=(4,)).apply(variables, {"crop": digis.transpose(0, 2, 3, 1)})
    np.testing.assert_array_equal(logits, same)


@pytest.mark.slow
def test_neurons_are_dropped_in_training_alone():
    x = {"crop": np.random.default_rng(3).exponential(size=CROP).astype(np.float32)}
    network = ShowerVGG(widths=(2, 2, 2), head=(32,), dropout=0.5)
    logits, variables = made(network, x)
    dropped = network.apply(variables, x, jax.random.split(jax.random.key(1), 3))
    assert not np.array_equal(dropped, logits)
    np.testing.assert_array_equal(network.apply(variables, x), logits)


def test_what_a_network_cannot_take_is_named():
    with pytest.raises(ValueError, match=r"VGG takes \[events, rows, columns, channels\].*crop: 32 x 32"):
        made(ShowerVGG(), {"crop": jnp.zeros((3, 4, 4, 1))})
    with pytest.raises(ValueError, match=r"through the samples of digis, but its inputs are crop"):
        made(ShowerConvLSTM(), {"crop": jnp.zeros(CROP)})
