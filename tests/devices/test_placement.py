"""A sample on the device or streamed gives the same batches and the same training."""

import dataclasses

import jax
import numpy as np
import pytest

from e2e_jax.datasets.layout import Layout
from e2e_jax.devices import parallel, placement
from e2e_jax.events.diphotons import COLLECTIONS
from e2e_jax.runs.checkpoints import host_copy
from tests.objects import fed, new_state, parallel_step
from tests.synthetic import image_config, kinematics_config, sample

pytestmark = pytest.mark.slow


def run(config, feed_of, epochs=((0, 0), (1, 0)), devices=None):
    """Losses of the steps of some epochs, given as (epoch, first step), and the parameters after them."""
    made = parallel_step(config, devices)
    feed = feed_of(made, *fed(config, sample(20)))
    state = made.place(host_copy(new_state(config)))
    losses = []
    for epoch, first in epochs:
        for piece in feed(state, epoch, first):
            state = piece[0]
            losses += [float(metrics["loss"]) for metrics in piece[1]]
    return losses, host_copy(state.params)


LAYOUTS = {"padded": Layout.padded(sample(20)), "flat": Layout(dict.fromkeys(COLLECTIONS, 128), group=2)}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_a_picked_batch_is_the_one_the_host_makes(layout):
    events = sample(20)
    packed = jax.device_put(placement.pack(events))
    rows = np.array([5, 0, 59, 5], np.int32)
    picked = jax.jit(layout.take)(packed, rows)
    expected = layout.batch(events[rows])
    assert jax.tree.structure(picked) == jax.tree.structure(expected)
    for ours, host in zip(jax.tree.leaves(picked), jax.tree.leaves(expected)):
        assert ours.dtype == host.dtype
        np.testing.assert_array_equal(ours, host)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_a_collection_without_any_hit_is_picked_as_padding(layout):
    events = sample(20)
    bare = dataclasses.replace(events, ee=events.ee.filter(np.zeros(len(events.ee.energy), bool)))
    picked = layout.take(placement.pack(bare), np.array([0, 1]))
    assert not np.any(picked["ee"]["energy"])


@pytest.mark.parametrize("way", parallel.WAYS)
@pytest.mark.parametrize("make_config", [kinematics_config, image_config])
def test_both_places_train_the_same(make_config, way):
    config = make_config()
    config.parallel = way
    streamed, expected = run(config, placement.streamed)
    losses, params = run(config, placement.resident)
    np.testing.assert_allclose(losses, streamed, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), params, expected)


def test_a_resumed_epoch_ends_in_the_same_bits():
    config = kinematics_config()
    losses, params = run(config, placement.resident, epochs=[(0, 0)])
    made = parallel_step(config)
    state, first = host_copy(new_state(config)), 0
    while first < len(losses):  # a new process after each piece
        feed = placement.resident(made, *fed(config, sample(20)))
        new, metrics = next(feed(made.place(state), 0, first))
        state, first = host_copy(new), first + len(metrics)
    jax.tree.map(np.testing.assert_array_equal, state.params, params)


@pytest.mark.parametrize("feed_of", [placement.streamed, placement.resident])
def test_pieces_are_single_steps_where_each_is_saved(feed_of):
    config = kinematics_config()
    made = parallel_step(config)
    state = made.place(host_copy(new_state(config)))
    pieces = [
        len(metrics) for _, metrics in feed_of(made, *fed(config, sample(20)), single=True)(state, 0, 0)
    ]
    assert pieces == [1] * len(pieces)
    assert len(pieces) > 1


def test_auto_goes_by_the_free_memory(monkeypatch):
    events, devices = sample(20), jax.devices()[:1]
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(placement.pack(events)))
    monkeypatch.setattr(placement, "_free_memory", lambda devices: (2.1 * size, "a test"))
    assert placement.choose("auto", events, devices)[0] == "device"
    monkeypatch.setattr(placement, "_free_memory", lambda devices: (1.9 * size, "a test"))
    for wish in ("auto", "device"):
        place, why = placement.choose(wish, events, devices)
        assert place == "stream"
        assert "free in a test" in why
    assert placement.choose("stream", events, devices)[0] == "stream"
    assert placement.choose("disk", events, devices)[0] == "disk"
    monkeypatch.setattr(placement, "_host_memory", lambda: 1.9 * size)
    assert placement.choose("auto", events, devices)[0] == "disk"


def test_an_unknown_place_is_named():
    with pytest.raises(ValueError, match=r"config\.data\.placement is 'tape'"):
        placement.choose("tape", sample(2), jax.devices())


class Pending(np.ndarray):
    """A metric of a step, which notes when somebody waits for it."""

    def block_until_ready(self):
        WAITING.clear()
        return self


WAITING: list[int] = []
"""Steps that were called and not waited for."""


def test_few_steps_wait_for_the_devices():
    """More of them, when they are short, ended in a deadlock of two CPU devices."""
    config = image_config(batch_size=3)
    most = 0

    def run_step(state, packed, rows):
        nonlocal most
        WAITING.append(1)
        most = max(most, len(WAITING))
        return state, {"loss": np.zeros(len(rows)).view(Pending)}

    step = parallel.ParallelStep(lambda x: x, lambda x: x, None, lambda pick: run_step, jax.devices()[:1])
    WAITING.clear()
    feed = placement.resident(step, *fed(config, sample(200)))
    pieces = []
    for _, metrics in feed(None, 0, 0):
        pieces.append(len(metrics))
        WAITING.clear()
    assert max(pieces) > placement.IN_FLIGHT
    assert most <= placement.IN_FLIGHT
