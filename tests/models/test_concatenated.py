"""Three ResNet-15 and a head agree with PyTorch; dropout depends only on an event's key."""

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from e2e_jax.models.concatenated import ConcatenatedResNet15
from e2e_jax.models.fcn import hidden_layers

pytestmark = pytest.mark.slow

SHAPES = {"barrel": (170, 360), "endcap_minus": (100, 100), "endcap_plus": (100, 100)}
HALF = {name: (rows // 2, columns // 2) for name, (rows, columns) in SHAPES.items()}


def images(n, channels=3, shapes=SHAPES):
    """Sparse non-negative images like the detector's."""
    random = np.random.default_rng(7)
    made = {}
    for name, shape in shapes.items():
        size = (n, *shape, channels)
        made[name] = (random.exponential(size=size) * (random.random(size) < 0.1)).astype(np.float32)
    return made


def small(n):
    return images(n, channels=1, shapes=dict.fromkeys(SHAPES, (16, 16)))


@pytest.mark.parametrize(("channels", "expected"), [(1, 299_747), (3, 304_451)])
def test_parameter_count(channels, expected):
    inputs = {name: jnp.zeros((1, *shape, channels)) for name, shape in SHAPES.items()}
    params = jax.eval_shape(ConcatenatedResNet15().init, jax.random.key(0), inputs)["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected
    assert set(params) == {f"features_{name}" for name in SHAPES} | {"hidden0", "hidden1", "hidden2", "head"}
    assert params["hidden0"]["kernel"].shape == (96, 128)


def ours_and_pytorchs(x, labels, params):
    """(logits, {parameter: gradient}) of both libraries, in PyTorch's names and layout."""
    import torch

    from tests.models.torch_resnet import TorchConcatenated, to_torch_layout, to_torch_name

    model = ConcatenatedResNet15(channels=3)

    def loss_fn(params):
        logits = model.apply({"params": params}, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), logits

    gradients, logits = jax.jit(jax.grad(loss_fn, has_aux=True))(params)
    flat = flax.traverse_util.flatten_dict(gradients)
    ours = np.asarray(logits), {to_torch_name(p): to_torch_layout(v) for p, v in flat.items()}

    peer = TorchConcatenated(list(SHAPES), channels=3).eval()
    flat = flax.traverse_util.flatten_dict(params)
    images = {name: torch.tensor(image.transpose(0, 3, 1, 2)) for name, image in x.items()}
    peer = peer.to(next(iter(images.values())).dtype)
    peer.load_state_dict({to_torch_name(p): torch.tensor(to_torch_layout(v)) for p, v in flat.items()})
    logits = peer(images)
    torch.nn.functional.cross_entropy(logits, torch.tensor(labels)).backward()
    return ours, (logits.detach().numpy(), {n: p.grad.numpy() for n, p in peer.named_parameters()})


@pytest.mark.parametrize(("dtype", "of_logits", "of_gradients"), [("f4", 1e-5, 1e-3), ("f8", 1e-9, 1e-9)])
def test_logits_and_gradients_are_those_of_pytorch(dtype, of_logits, of_gradients):
    """In double precision the two agree to nine digits. In single precision the roundings differ, and where
    they turn a ReLU or move a maximum, so do gradients, by parts in ten thousand of the largest."""
    pytest.importorskip("torch")
    x = images(2, shapes=HALF)
    params = jax.jit(ConcatenatedResNet15().init)(jax.random.key(1), x)["params"]
    with jax.enable_x64(dtype == "f8"):
        x = {name: image.astype(dtype) for name, image in x.items()}
        params = jax.tree.map(lambda leaf: np.asarray(leaf, dtype), params)
        (logits, gradients), (peer_logits, peer_gradients) = ours_and_pytorchs(x, np.array([0, 1]), params)
    assert logits.dtype == peer_logits.dtype == dtype
    np.testing.assert_allclose(logits, peer_logits, atol=of_logits)
    assert gradients.keys() == peer_gradients.keys()
    for name, expected in peer_gradients.items():
        scale = np.abs(expected).max()
        assert scale > 0
        np.testing.assert_allclose(gradients[name], expected, atol=of_gradients * scale, rtol=0, err_msg=name)


def test_each_image_has_its_own_weights():
    model, x = ConcatenatedResNet15(widths=(2, 4), head=(8,)), small(2)
    params = model.init(jax.random.key(0), x)["params"]
    swapped = x | {"endcap_minus": x["endcap_plus"], "endcap_plus": x["endcap_minus"]}
    assert not np.allclose(model.apply({"params": params}, x), model.apply({"params": params}, swapped))
    exchanged = params | {
        "features_endcap_minus": params["features_endcap_plus"],
        "features_endcap_plus": params["features_endcap_minus"],
    }
    features = [
        model.apply({"params": p}, i, capture_intermediates=True)[1]["intermediates"]
        for p, i in ((params, x), (exchanged, swapped))
    ]
    np.testing.assert_array_equal(
        features[0]["features_endcap_minus"]["__call__"][0],
        features[1]["features_endcap_plus"]["__call__"][0],
    )


def keys(n, seed=0):
    return jax.vmap(lambda i: jax.random.fold_in(jax.random.key(seed), i))(jnp.arange(n))


def test_dropout_works_in_training_alone_and_goes_by_the_key():
    model, x = ConcatenatedResNet15(widths=(2, 4), head=(32, 32), dropout=0.5), small(4)
    variables = model.init(jax.random.key(0), x)
    calm = model.apply(variables, x)
    np.testing.assert_array_equal(calm, model.apply(variables, x, None))
    one, same, other = (model.apply(variables, x, keys(4, seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, calm)
    assert not np.allclose(one, other)
    # An event's neurons do not depend on who else is in the batch.
    later = model.apply(variables, {name: image[2:] for name, image in x.items()}, keys(4)[2:])
    np.testing.assert_allclose(later, one[2:], rtol=1e-5, atol=1e-6)
    without = ConcatenatedResNet15(widths=(2, 4), head=(32, 32), dropout=0.0)
    np.testing.assert_array_equal(without.apply(variables, x, keys(4)), calm)


def test_dropout_drops_its_fraction_and_keeps_the_mean():
    class Layer(nn.Module):
        @nn.compact
        def __call__(self, x, keys):
            return hidden_layers(x, (500,), 0.2, keys)

    n = 400
    x = np.ones((n, 3), np.float32)
    params = Layer().init(jax.random.key(0), x, None)
    params["params"]["hidden0"]["bias"] = jnp.full(500, 2.0)  # so that every neuron is lit
    calm, dropped = (np.asarray(Layer().apply(params, x, given)) for given in (None, keys(n)))
    kept = dropped > 0
    assert np.mean(~kept) == pytest.approx(0.2, abs=0.01)
    np.testing.assert_allclose(dropped[kept], calm[kept] / 0.8, rtol=1e-5)
    # Masks differ between events and between neurons.
    assert np.std(kept.mean(0)) < 0.05
    assert np.std(kept.mean(1)) < 0.05


def test_what_cannot_be_is_named():
    with pytest.raises(
        ValueError, match=r"inputs lack endcap_plus: take both from one config.inputs.geometry"
    ):
        ConcatenatedResNet15().init(
            jax.random.key(0), {k: v for k, v in small(1).items() if k != "endcap_plus"}
        )
    with pytest.raises(ValueError, match=r"config.model.dropout is 1.0"):
        ConcatenatedResNet15(dropout=1.0, widths=(2, 4)).init(jax.random.key(0), small(1))
