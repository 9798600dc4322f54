"""ResNet-15 matches the published network: size, maps, and logits and gradients in PyTorch."""

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from e2e_jax.models.resnet import ResNet15, ResNetFeatures


def images(n, rows=170, columns=360, channels=3, occupancy=0.1):
    """Sparse non-negative images like the detector's, mostly zeros, so that pooling meets ties."""
    rng = np.random.default_rng(7)
    shape = (n, rows, columns, channels)
    return (rng.exponential(size=shape) * (rng.random(shape) < occupancy)).astype(np.float32)


@pytest.mark.parametrize(("channels", "expected"), [(1, 84_739), (3, 86_307)])
def test_parameter_count(channels, expected):
    model = ResNet15(classes=3)
    shapes = jax.eval_shape(model.init, jax.random.key(0), {"barrel": jnp.zeros((1, 170, 360, channels))})
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == expected


@pytest.mark.parametrize(
    ("image", "after_stem", "after_pool", "after_downsampling"),
    [
        ((170, 360), (83, 178), (41, 89), (21, 45)),
        ((100, 100), (48, 48), (24, 24), (12, 12)),
        ((280, 360), (138, 178), (69, 89), (35, 45)),
    ],
)
def test_map_sizes(image, after_stem, after_pool, after_downsampling):
    def trace(x):
        _, state = ResNetFeatures().init_with_output(
            jax.random.key(0), x, capture_intermediates=True, mutable=["params", "intermediates"]
        )
        return state["intermediates"]

    maps = jax.eval_shape(trace, jnp.zeros((2, *image, 3)))
    assert maps["stem"]["__call__"][0].shape == (2, *after_stem, 16)
    assert maps["narrow2"]["__call__"][0].shape == (2, *after_pool, 16)
    assert maps["wide2"]["__call__"][0].shape == (2, *after_downsampling, 32)
    assert maps["__call__"][0].shape == (2, 32)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
def test_logits_and_gradients_are_those_of_pytorch(channels):
    torch = pytest.importorskip("torch")
    from tests.models.torch_resnet import TorchResNet15, to_torch_layout, to_torch_name

    x = images(3, channels=channels)
    labels = np.array([0, 1, 2])
    model = ResNet15(classes=3, channels=channels)
    params = model.init(jax.random.key(1), {"barrel": x[:1]})["params"]

    def loss_fn(params, x):
        logits = model.apply({"params": params}, {"barrel": x})
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), logits

    (_, logits), (gradients, image_gradient) = jax.jit(
        jax.value_and_grad(loss_fn, argnums=(0, 1), has_aux=True)
    )(params, x)

    peer = TorchResNet15(channels)
    flat = flax.traverse_util.flatten_dict(params)
    peer.load_state_dict({to_torch_name(p): torch.tensor(to_torch_layout(v)) for p, v in flat.items()})
    peer_x = torch.tensor(x.transpose(0, 3, 1, 2)).requires_grad_()
    peer_logits = peer(peer_x)
    torch.nn.functional.cross_entropy(peer_logits, torch.tensor(labels)).backward()

    np.testing.assert_allclose(logits, peer_logits.detach().numpy(), atol=1e-5)
    peer_gradients = {name: parameter.grad.numpy() for name, parameter in peer.named_parameters()}
    for path, gradient in flax.traverse_util.flatten_dict(gradients).items():
        expected = peer_gradients[to_torch_name(path)]
        scale = np.abs(expected).max()
        np.testing.assert_allclose(to_torch_layout(gradient), expected, atol=1e-4 * scale, err_msg=str(path))
    expected = peer_x.grad.numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(image_gradient, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow
def test_the_same_key_and_images_give_the_same_bits():
    model, x = ResNet15(), {"barrel": images(2, 48, 64)}
    first, second = (model.init(jax.random.key(3), x) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, first, second)
    np.testing.assert_array_equal(model.apply(first, x), model.apply(second, x))


@pytest.mark.slow
def test_initialisation_is_uniform_within_one_over_root_fan_in():
    params = ResNet15().init(jax.random.key(0), {"barrel": images(1, 16, 16)})["params"]["features"]
    for name, fan_in in (("stem", 7 * 7 * 3), ("narrow0", 9 * 16), ("wide0", 9 * 32)):
        layer = params[name] if name == "stem" else params[name]["conv1"]
        kernel = np.asarray(layer["kernel"]) * np.sqrt(fan_in)
        assert np.abs(kernel).max() <= 1
        assert np.abs(layer["bias"]).max() * np.sqrt(fan_in) <= 1
        assert kernel.std() == pytest.approx(1 / np.sqrt(3), rel=0.05)


@pytest.mark.parametrize("shape", [(170, 360, 3), (2, 4, 360, 3)])
def test_wrong_shape_is_refused(shape):
    with pytest.raises(ValueError, match="rows, columns, channels"):
        ResNet15().init(jax.random.key(0), {"barrel": jnp.zeros(shape)})


def test_wrong_channels_are_refused():
    with pytest.raises(ValueError, match="built for 3"):
        ResNet15(channels=3).init(jax.random.key(0), {"barrel": jnp.zeros((2, 170, 360, 1))})
