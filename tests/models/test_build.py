"""`build` makes the module of a network by name, and lists the networks for an unknown name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from e2e_jax.models.building import Network, build
from e2e_jax.models.preprocessing import Inputs


def built(name, channels=("tracks", "ecal", "hcal"), geometry="barrel", classes=3, **sizes):
    return build(Network(name, classes, **sizes), Inputs(channels=channels, geometry=geometry))


def test_resnet15_takes_its_channels_from_the_inputs():
    network = built("resnet15", channels=("ecal",))
    logits, _ = jax.eval_shape(
        network.init_with_output, jax.random.key(0), {"barrel": jnp.zeros((2, 170, 360, 1))}
    )
    assert logits.shape == (2, 3)
    with pytest.raises(ValueError, match="built for 1"):
        network.init(jax.random.key(0), {"barrel": jnp.zeros((2, 170, 360, 3))})


def test_a_geometry_has_a_resnet_for_each_of_its_images():
    network = built("resnet15", geometry="ecal_centric", head=(16, 8), dropout=0.5)
    assert network.images == ("barrel", "endcap_minus", "endcap_plus")
    assert (network.head, network.dropout, network.channels) == ((16, 8), 0.5, 3)
    one = built("resnet15", geometry="hcal_centric")
    inputs = {"full": jnp.zeros((2, 280, 360, 3))}
    logits, _ = jax.eval_shape(one.init_with_output, jax.random.key(0), inputs)
    assert logits.shape == (2, 3)
    with pytest.raises(ValueError, match=r"'sphere'.*'hcal_centric'"):
        built("resnet15", geometry="sphere")


def test_the_number_of_classes_is_that_of_the_logits():
    network = built("resnet15", classes=2)
    logits, _ = jax.eval_shape(
        network.init_with_output, jax.random.key(0), {"barrel": jnp.zeros((2, 170, 360, 3))}
    )
    assert logits.shape == (2, 2)


@pytest.mark.slow
def test_four_momentum_is_three_hidden_layers_of_256():
    network, x = built("four_momentum"), np.ones((4, 5), np.float32)
    logits, variables = network.init_with_output(jax.random.key(0), {"kinematics": x})
    assert logits.shape == (4, 3)
    count = sum(leaf.size for leaf in jax.tree.leaves(variables))
    assert count == (5 + 1) * 256 + 2 * (256 + 1) * 256 + (256 + 1) * 3

    hidden = x
    for layer in range(3):
        weights = variables["params"][f"hidden{layer}"]
        hidden = np.maximum(hidden @ np.asarray(weights["kernel"]) + np.asarray(weights["bias"])[None], 0)
    head = variables["params"]["head"]
    expected = hidden @ np.asarray(head["kernel"]) + np.asarray(head["bias"])[None]
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_widths_are_those_of_the_layers():
    network = built("four_momentum", widths=(8, 4))
    params = network.init(jax.random.key(0), {"kinematics": jnp.ones((1, 5))})["params"]
    assert params["hidden0"]["kernel"].shape == (5, 8)
    assert params["hidden1"]["kernel"].shape == (8, 4)


def test_four_momentum_refuses_another_shape():
    with pytest.raises(ValueError, match="leading photon first"):
        built("four_momentum").init(jax.random.key(0), {"kinematics": jnp.ones((4, 6))})


def test_unknown_name_lists_the_networks():
    with pytest.raises(ValueError, match=r"'vgg'.*four_momentum, high_level, .*resnet15"):
        built("vgg")


def test_high_level_takes_any_number_of_inputs_an_event():
    network = built("high_level", widths=(8, 8))
    logits, variables = network.init_with_output(jax.random.key(0), {"high_level": np.ones((4, 23))})
    assert logits.shape == (4, 3)
    assert variables["params"]["hidden0"]["kernel"].shape == (23, 8)
    with pytest.raises(ValueError, match=r"has shape \(4, 2, 9\), but the high-level network takes"):
        network.init(jax.random.key(0), {"high_level": np.ones((4, 2, 9))})
