"""The first losses of three classifiers, recorded at commit 7b6b3f5 on an AMD Zen 4 core."""

import jax
import pytest

from e2e_jax.configs import cms_b, four_momentum, showers_vgg
from e2e_jax.datasets.batches import Sampling, epoch_batches
from tests.objects import new_state, run_of, train_step
from tests.synthetic import sample
from tests.synthetic_showers import shower_sample

RECORDED = {
    "cms_b": (1.1001646518707275, 1.1143542528152466, 1.0879572629928589, 1.1052236557006836),
    "four_momentum": (1.0995616912841797, 1.0954540967941284, 1.086916446685791, 1.0846794843673706),
    "showers_vgg": (0.6943439841270447, 0.6930010914802551, 0.6929688453674316, 0.6921209096908569),
}
"""Losses of the steps of the first epoch."""

NORMS = {"cms_b": 11.6920166015625, "four_momentum": 16.549297332763672, "showers_vgg": 10.963926315307617}
"""Norm of the parameters after them."""

TOLERANCE = 2e-5
"""Relative: four steps in float32 with another order of the sums. The C++ kernels differed by 2e-7."""

RUNS = {
    "cms_b": (cms_b, lambda: sample(16, seed=1), 12),
    "four_momentum": (four_momentum, lambda: sample(48, seed=1), 36),
    "showers_vgg": (showers_vgg, lambda: shower_sample(32, seed=1), 16),
}
"""Name -> config, training events, batch size."""


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["any", "cpu"])
@pytest.mark.parametrize("name", RUNS)
def test_the_same_seed_gives_the_recorded_losses(name, platform):
    module, make_events, size = RUNS[name]
    config, events = module.get_config("quick"), make_events()
    config.train.batch_size, steps = size, len(RECORDED[name])
    step = jax.jit(train_step(config, steps=steps, platform=platform))
    state, losses = new_state(config, seed=3), []
    for batch in epoch_batches(events, run_of(config).task, Sampling(size, seed=5)):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    assert losses == pytest.approx(RECORDED[name], rel=TOLERANCE)
    assert float(metrics["parameter_norm"]) == pytest.approx(NORMS[name], rel=TOLERANCE)
