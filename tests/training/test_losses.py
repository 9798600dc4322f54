import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from e2e_jax.models.decorrelation.cvm import cvm_penalty
from e2e_jax.studies import hgg, showers
from e2e_jax.study import Observable, Task
from e2e_jax.training.losses import Penalty, cross_entropy, loss

EVENTS = 96


def cvm(strength=0.15, reduction="sum", neighbors=12):
    return Penalty(strength, neighbors, reduction)


def toy_batch(seed=0):
    """Features [n, 4] and a batch whose classes and padding spread unevenly."""
    random = np.random.default_rng(seed)
    label = np.sort(random.integers(3, size=EVENTS)).astype(np.int32)
    mass = (90 + random.exponential(40, EVENTS)).astype(np.float32)
    features = np.stack([mass / 100, *random.normal(size=(3, EVENTS)) + label / 2], axis=1).astype(np.float32)
    return features, {"label": label, "mass": mass, "valid": random.random(EVENTS) < 0.9}


WEIGHTS = np.random.default_rng(5).normal(size=(4, 3)).astype(np.float32)


def network_loss(weights, features, batch, penalty, axis_name=None):
    return loss(jnp.tanh(features @ weights), batch, hgg.TASK, penalty, axis_name)


def test_cross_entropy_is_minus_log_of_the_true_class():
    logits = jnp.array([[0.0, 0.0, 0.0], [100.0, 0.0, -1000.0], [1.0, 2.0, 3.0]])
    probability = np.exp(3) / np.exp([1, 2, 3]).sum()
    expected = [np.log(3), 1100, -np.log(probability)]
    np.testing.assert_allclose(cross_entropy(logits, jnp.array([1, 2, 2])), expected, rtol=1e-6)


@pytest.mark.slow
def test_loss_is_cross_entropy_plus_strength_times_the_penalty():
    features, batch = toy_batch()
    logits = jnp.asarray(features @ WEIGHTS)
    keep = batch["valid"]
    ours, metrics = loss(logits, batch, hgg.TASK, cvm(strength=0.7))
    background = keep & (batch["label"] == 0)
    scores = jax.nn.softmax(logits)[:, 1]
    penalty = float(cvm_penalty(scores, jnp.asarray(batch["mass"]), jnp.asarray(background)))
    classification = np.mean(np.asarray(cross_entropy(logits, jnp.asarray(batch["label"])))[keep])
    assert ours == pytest.approx(classification + 0.7 * penalty, rel=1e-5)
    assert metrics["cvm_penalty"] == pytest.approx(penalty, rel=1e-5)
    assert metrics["cross_entropy"] == pytest.approx(classification, rel=1e-5)
    correct = np.argmax(np.asarray(logits), axis=1) == batch["label"]
    assert metrics["accuracy"] == pytest.approx(correct[keep].mean(), rel=1e-5)
    divided, _ = loss(logits, batch, hgg.TASK, cvm(strength=0.7, reduction="mean"))
    assert divided == pytest.approx(classification + 0.7 * penalty / background.sum(), rel=1e-5)


@pytest.mark.slow
def test_only_gamma_gamma_events_are_decorrelated():
    features, batch = toy_batch()
    logits = jnp.asarray(features @ WEIGHTS)

    def push(strength):
        return jax.grad(lambda x: loss(x, batch, hgg.TASK, cvm(strength))[0])(logits)

    pushed = np.any(np.asarray(push(0.5) - push(0.0)) != 0, axis=1)
    assert pushed.any()
    assert not pushed[(batch["label"] != 0) | ~batch["valid"]].any()


@pytest.mark.slow
def test_descent_lowers_a_gamma_gamma_score_that_grows_with_mass():
    """The sign, end to end: H scores of heavy events go down, those of light events up."""
    _, batch = toy_batch()
    batch["label"] = np.zeros(EVENTS, np.int32)
    logits = jnp.zeros((EVENTS, 3)).at[:, 1].set(jnp.asarray(batch["mass"]) / 100)
    with_penalty, without = (
        jax.grad(lambda x, c=c: loss(x, batch, hgg.TASK, c)[0])(logits) for c in (cvm(), cvm(0.0))
    )
    step = -(with_penalty - without)[:, 1] * batch["valid"]
    assert np.corrcoef(step, batch["mass"])[0, 1] < -0.5


def test_strength_zero_computes_no_penalty():
    logits = jnp.ones((6, 2))
    batch = {"label": jnp.arange(6) % 2}
    value, metrics = loss(logits, batch, showers.TASK, cvm(strength=0))
    assert value == pytest.approx(np.log(2))
    assert "cvm_penalty" not in metrics


@pytest.mark.slow
def test_padding_counts_nowhere_and_an_empty_batch_is_finite():
    features, batch = toy_batch()
    logits = jnp.asarray(features @ WEIGHTS)
    kept = {name: column[batch["valid"]] for name, column in batch.items() if name != "valid"}
    unpadded, _ = loss(logits[batch["valid"]], kept, hgg.TASK, cvm())
    assert loss(logits, batch, hgg.TASK, cvm())[0] == pytest.approx(float(unpadded), rel=1e-5)
    empty, _ = loss(logits, batch | {"valid": np.zeros(EVENTS, bool)}, hgg.TASK, cvm())
    assert empty == 0


@pytest.mark.slow
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("way", ["pmap", "shard_map", "jit"])
def test_four_devices_give_one_devices_loss_and_gradient(way, reduction):
    features, batch = toy_batch()
    config = cvm(strength=1.0, reduction=reduction)
    function = jax.value_and_grad(network_loss, has_aux=True)
    (alone, alone_metrics), alone_gradient = function(WEIGHTS, features, batch, config)

    devices = jax.devices()[:4]
    mesh = jax.make_mesh(
        (len(devices),), ("batch",), devices=devices, axis_types=(jax.sharding.AxisType.Auto,)
    )

    def mapped(weights, features, batch):
        (value, metrics), gradient = function(weights, features, batch, config, "batch")
        return jax.lax.pmean((value, gradient), "batch"), metrics

    if way == "pmap":
        split = functools.partial(jax.tree.map, lambda x: x.reshape(len(devices), -1, *x.shape[1:]))
        parallel = jax.pmap(mapped, "batch", in_axes=(None, 0, 0), out_axes=None, devices=devices)
        (value, gradient), metrics = parallel(WEIGHTS, split(features), split(batch))
    elif way == "shard_map":
        row, everywhere = PartitionSpec("batch"), PartitionSpec()
        parallel = jax.jit(
            jax.shard_map(
                mapped, mesh=mesh, in_specs=(everywhere, row, row), out_specs=everywhere, check_vma=False
            )
        )
        (value, gradient), metrics = parallel(WEIGHTS, features, batch)
    else:
        sharding = jax.NamedSharding(mesh, PartitionSpec("batch"))
        (value, metrics), gradient = jax.jit(lambda *args: function(*args, config))(
            WEIGHTS, *jax.device_put((features, batch), sharding)
        )
    assert value == pytest.approx(float(alone), rel=1e-5)
    np.testing.assert_allclose(gradient, alone_gradient, atol=2e-6)
    for name in alone_metrics:
        assert metrics[name] == pytest.approx(float(alone_metrics[name]), rel=1e-5)


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match=r"config\.decorrelation\.reduction is 'median'"):
        cvm(reduction="median")
    with pytest.raises(ValueError, match=r"config\.decorrelation\.strength is -1"):
        cvm(strength=-1)


def test_a_task_without_decorrelation_has_no_penalty():
    logits, batch = jnp.zeros((4, 2)), {"label": jnp.array([0, 1, 0, 1])}
    value, metrics = loss(logits, batch, showers.TASK, cvm(0.5))
    assert value == pytest.approx(np.log(2), rel=1e-6)
    assert "cvm_penalty" not in metrics


@pytest.mark.slow
def test_any_observable_in_any_labels_is_decorrelated():
    """Five labels in four classes; the score of class "c" is pushed in the events of "a" and "d" alone."""
    observables = (Observable("mass"), Observable("ht"))
    classes = {"a": "a", "b": ("b", "e"), "c": "c", "d": "d"}
    fields = {"decorrelate": "ht", "of": ("a", "d"), "classes": classes, "labels": tuple("abcde")}
    task = Task(signal="c", observables=observables, **fields)
    random, label = np.random.default_rng(0), np.arange(60) % 5
    logits = jnp.asarray(random.normal(size=(60, 4)), jnp.float32)
    batch = {"label": label, "ht": random.uniform(100, 500, 60).astype(np.float32)}

    def push(strength):
        return jax.grad(lambda x: loss(x, batch, task, cvm(strength, neighbors=6))[0])(logits)

    pushed = np.any(np.asarray(push(0.5) - push(0.0)) != 0, axis=1)
    assert pushed.any()
    assert not pushed[(label != 0) & (label != 3)].any()
    value, metrics = loss(logits, batch, task, cvm(0.7, neighbors=6))
    chosen = (label == 0) | (label == 3)
    penalty = cvm_penalty(jax.nn.softmax(logits)[:, 2], jnp.asarray(batch["ht"]), jnp.asarray(chosen), 6)
    targets = jnp.asarray([0, 1, 2, 3, 1])[label]
    assert metrics["cvm_penalty"] == pytest.approx(float(penalty), rel=1e-5)
    assert value == pytest.approx(float(jnp.mean(cross_entropy(logits, targets)) + 0.7 * penalty), rel=1e-5)
