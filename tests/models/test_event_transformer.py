"""The event transformer: size, invariances, and construction from a config."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from e2e_jax.configs import whole_event
from e2e_jax.datasets.layout import Layout
from e2e_jax.detector.geometry import eb_eta_centres
from e2e_jax.detector.images import make_images
from e2e_jax.detector.symmetries import Symmetry, transform
from e2e_jax.models.building import Network, build
from e2e_jax.models.event_transformer import EventTransformer
from e2e_jax.models.forward import logits_function
from e2e_jax.models.preprocessing import Inputs, model_inputs
from tests.objects import run_of
from tests.synthetic import sample


def config_of(**inputs):
    config = whole_event.get_config()
    config.inputs.tokens = {"ecal": 4, "tracks": 2, "hcal": 2}
    config.model.widths, config.model.head = (8, 4), (8,)
    config.inputs.update(inputs)
    return config


def built(config):
    run = run_of(config)
    return build(run.network, run.inputs)


def logits_of_run(config):
    run = run_of(config)
    return logits_function(run.network, run.inputs)


def logits_of(config, batch, keys=None):
    params = jax.jit(lambda: run_of(config).initial_params(jax.random.key(0)))()
    return np.asarray(jax.jit(logits_of_run(config))(params, batch, keys))


@pytest.fixture(scope="module")
def events():
    return sample(per_class=2, hits=40)


def test_the_network_of_the_config_has_its_size():
    params = jax.eval_shape(lambda: run_of(whole_event.get_config()).initial_params(jax.random.key(0)))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 56_667
    assert isinstance(built(whole_event.get_config()), EventTransformer)


@pytest.mark.slow
@pytest.mark.parametrize("geometry", ["barrel", "ecal_centric", "hcal_centric"])
def test_flat_batches_padded_batches_and_images_have_the_same_logits(events, geometry):
    config = config_of(geometry=geometry)
    padded = events.to_batch()
    flat = Layout.flat(events, [np.arange(len(events))[None]], 3).batch(events)
    images = {**make_images(padded, geometry), "mass": padded["mass"], "photons": padded["photons"]}
    expected = logits_of(config, padded)
    assert np.ptp(expected, axis=0).min() > 0
    for batch in (flat, images):
        np.testing.assert_allclose(logits_of(config, batch), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("normalization", ["mass", "sum_pt", "none"])
def test_rotated_and_reflected_events_have_the_same_logits(events, normalization):
    config, batch, n = config_of(normalization=normalization), events.to_batch(), len(events)
    # Tracks on the edge of a crystal may fall to either side of it.
    batch["tracks"]["eta"] = np.float32(0.5) + 0 * batch["tracks"]["eta"]
    batch["tracks"]["phi"] = np.deg2rad(np.floor(np.rad2deg(batch["tracks"]["phi"])) + np.float32(0.5))
    change = Symmetry(jnp.arange(n) * 7, jnp.arange(n) % 2 == 0, jnp.zeros(n, bool))
    moved = logits_of(config, transform(batch, change))
    np.testing.assert_allclose(moved, logits_of(config, batch), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("normalization", ["mass", "sum_pt"])
def test_an_event_of_twice_the_energy_looks_the_same_where_it_is_divided_by_its_scale(events, normalization):
    config = config_of(normalization=normalization)
    config.inputs.threshold = {"tracks": 0.0, "ecal": 0.0, "hcal": 0.0}
    batch = events.to_batch()
    double = {
        **batch,
        "mass": 2 * batch["mass"],
        "photons": batch["photons"] * np.array([2, 1, 1], np.float32),
    }
    for name, column in (("eb", "energy"), ("hcal", "energy"), ("tracks", "pt")):
        # Above the energies that a token has at least, in both.
        strong = np.where(batch[name][column] > 0, batch[name][column] + 1, 0).astype(np.float32)
        batch[name] = {**batch[name], column: strong}
        double[name] = {**batch[name], column: 2 * strong}
    inputs, doubled = (jax.jit(lambda b: model_inputs(b, run_of(config).inputs))(b) for b in (batch, double))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), inputs, doubled)


def test_the_pair_of_photons_has_the_mass_of_the_event():
    """Two showers of 60 GeV, opposite in phi at the same eta, have twice 60 GeV / cosh(eta) of mass."""
    image = np.zeros((1, 170, 360, 1), np.float32)
    image[0, 100, 10], image[0, 100, 190] = 60, 60
    config = config_of(normalization="none", channels=("ecal",))
    with config.unlocked():
        config.inputs.tokens = {"ecal": 2}
    pairs = np.asarray(jax.jit(lambda b: model_inputs(b, run_of(config).inputs))({"barrel": image})["pairs"])[
        0, 0, 1
    ]
    mass = 120 / np.cosh(eb_eta_centres()[100])
    np.testing.assert_allclose(pairs[:2], [0, -1], atol=1e-4)
    np.testing.assert_allclose(pairs[3], np.log1p((mass / 125) ** 2), rtol=1e-4)


@pytest.mark.slow
def test_the_order_of_tokens_does_not_matter():
    rng = np.random.default_rng(0)
    inputs = {
        "tokens": jnp.asarray(rng.normal(size=(3, 6, 5)), jnp.float32),
        "shapes": jnp.asarray(rng.normal(size=(3, 6, 7)), jnp.float32),
        "pairs": jnp.asarray(rng.normal(size=(3, 6, 6, 4)), jnp.float32),
        "filled": jnp.asarray(rng.random((3, 6)) < 0.7).at[2].set(False),
    }
    network = EventTransformer(widths=(8, 4), head=(8,))
    variables = network.init(jax.random.key(0), inputs)
    order = rng.permutation(6)
    moved = {name: values[:, order] for name, values in inputs.items()}
    moved["pairs"] = moved["pairs"][:, :, order]
    expected = network.apply(variables, inputs)
    np.testing.assert_allclose(network.apply(variables, moved), expected, rtol=1e-4, atol=1e-5)
    # What is not filled counts nowhere, and an event may have no token at all.
    hidden = inputs["filled"][..., None]
    changed = {**inputs, "tokens": jnp.where(hidden, inputs["tokens"], 5), "shapes": inputs["shapes"]}
    np.testing.assert_allclose(network.apply(variables, changed), expected, rtol=1e-4, atol=1e-5)
    assert np.isfinite(expected).all()


@pytest.mark.slow
def test_tokens_are_left_out_in_training_by_the_key_of_the_event(events):
    config, batch = config_of(), events.to_batch()
    config.model.dropout = 0.5
    keys = jax.random.split(jax.random.key(3), len(events))
    plain, first, again = (logits_of(config, batch, k) for k in (None, keys, keys))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, plain)
    swapped = logits_of(config, batch, keys[::-1])
    assert not np.allclose(swapped, first)


@pytest.mark.slow
def test_gradients_by_hits_are_finite_and_find_the_hits(events):
    config, batch = config_of(), events.to_batch()
    params = jax.jit(lambda: run_of(config).initial_params(jax.random.key(0)))()
    logits = logits_of_run(config)

    def score(energy):
        return jnp.sum(logits(params, {**batch, "eb": {**batch["eb"], "energy": energy}})[:, 1])

    gradient = np.asarray(jax.jit(jax.grad(score))(jnp.asarray(batch["eb"]["energy"])))
    assert np.isfinite(gradient).all()
    assert gradient.any()


@pytest.mark.parametrize(("field", "value"), [("widths", (10, 4)), ("dropout", 1.0)])
def test_sizes_that_make_no_network_are_refused(field, value):
    inputs = {"tokens": jnp.ones((1, 2, 3)), "shapes": jnp.ones((1, 2, 3)), "pairs": jnp.ones((1, 2, 2, 3))}
    network = EventTransformer(**{field: value})
    with pytest.raises(ValueError, match=field):
        network.init(jax.random.key(0), {**inputs, "filled": jnp.ones((1, 2), bool)})


@pytest.mark.parametrize(("name", "kind"), [("event_transformer", "images"), ("resnet15", "tokens")])
def test_a_network_of_other_inputs_is_refused(name, kind):
    with pytest.raises(ValueError, match=r"config\.inputs\.kind"):
        build(Network(name, 3), Inputs(kind=kind))
