"""bfloat16 changes only the rounding of a network; parameters, loss and head stay float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from e2e_jax.models import building
from tests.objects import new_state, run_of, train_step
from tests.synthetic import image_config

pytestmark = pytest.mark.slow

SIZE = 24, 32


def in_precision(precision, **fields):
    config = image_config(**fields)
    config.precision = precision
    return config


def batch_of_images():
    """Ready images [12, *SIZE, 2] whose patterns tell the classes apart."""
    random, label = np.random.default_rng(0), np.arange(12) % 3
    pixels = random.exponential(1, (12, *SIZE, 2)) * (random.random((12, *SIZE, 2)) < 0.1)
    mass = random.uniform(90, 180, 12)
    images = pixels * (1 + 3 * label)[:, None, None, None]
    return {"barrel": images.astype(np.float32), "mass": mass.astype(np.float32), "label": label}


@pytest.fixture(scope="module")
def trainings():
    """{precision: (losses of 20 steps on one batch, the gradient of the first of them)}."""
    done, batch = {}, batch_of_images()
    for precision in ("float32", "bfloat16"):
        config = in_precision(precision, learning_rate=3e-3)
        step = jax.jit(train_step(config))
        state, losses, gradient = new_state(config), [], None
        for _ in range(20):
            state, metrics = step(state, batch)
            losses.append(float(metrics["loss"]))
            if gradient is None:
                # Adam's first moment after one step is a tenth of the gradient.
                gradient = 10 * np.concatenate([m.ravel() for m in jax.tree.leaves(state.opt_state[0].mu)])
        done[precision] = losses, gradient
    return done


def test_a_steps_gradient_is_that_of_float32_to_the_precision_of_bfloat16(trainings):
    plain, rounded = (trainings[name][1] for name in ("float32", "bfloat16"))
    assert 0 < np.linalg.norm(rounded - plain) < 0.05 * np.linalg.norm(plain)


def test_a_short_training_falls_alike(trainings):
    plain, rounded = (trainings[name][0] for name in ("float32", "bfloat16"))
    assert plain[-1] < 0.9 * plain[0]
    assert rounded[0] == pytest.approx(plain[0], rel=0.02)
    assert rounded[0] - rounded[-1] == pytest.approx(plain[0] - plain[-1], rel=0.2)


def test_parameters_moments_logits_and_loss_stay_float32_and_convolutions_do_not():
    config, batch = in_precision("bfloat16"), batch_of_images()
    state = jax.eval_shape(lambda: new_state(config))
    new, metrics = jax.eval_shape(train_step(config), state, batch)
    floats = [leaf for leaf in jax.tree.leaves((new, metrics)) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert {leaf.dtype for leaf in floats} == {jnp.dtype("float32")}

    run = run_of(config)
    traced = jax.make_jaxpr(building.build(run.network, run.inputs).apply)(
        {"params": state.params}, {"barrel": batch["barrel"]}
    )
    assert [result.dtype for result in traced.out_avals] == [jnp.float32]
    lines = [line for line in str(traced).splitlines() if "= conv_general_dilated" in line]
    assert lines
    assert all(":bf16[" in line.split("=")[0] for line in lines), lines


def test_an_unknown_precision_is_named():
    with pytest.raises(ValueError, match=r"'float8'; it is one of float32, tf32, bfloat16"):
        new_state(in_precision("float8"))
