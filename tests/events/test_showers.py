"""Showers are a record as events are: what was cut can be joined, padded, stored and checked."""

import dataclasses

import numpy as np
import pytest

from e2e_jax.events.base import Ragged
from e2e_jax.events.showers import COLLECTIONS, Showers
from e2e_jax.execution import keeping
from e2e_jax.models.preprocessing import Inputs
from tests.showers_of_cells import showers_of


def some():
    return showers_of([[5, 900], [1023], [7, 8, 9]], [[1, 30], [4], [3, 2, 1]], label=1)


def assert_same(one, other):
    for name in ("run", "lumi", "event", "label", "particles"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in COLLECTIONS:
        first, second = getattr(one, name), getattr(other, name)
        np.testing.assert_array_equal(first.offsets, second.offsets)
        for column, values in first.columns.items():
            np.testing.assert_array_equal(values, second.columns[column])
            assert values.dtype == second.columns[column].dtype


def test_samples_stay_with_their_crystal(tmp_path):
    showers = some()
    assert_same(Showers.concatenate([showers[:1], showers[1:1], showers[1:]]), showers)
    assert_same(Showers.from_examples(showers.examples()), showers)
    assert_same(showers[[2, 0]], Showers.concatenate([showers[2:], showers[:1]]))
    keeping.write_events(tmp_path / "kept.npz", showers)
    assert_same(keeping.kept_as(Showers).read(tmp_path / "kept.npz"), showers)
    assert keeping.read_events(tmp_path / "kept.npz") is None  # these are no events of collisions


def test_a_padded_batch_has_what_the_step_needs():
    batch = some().to_batch({"digis": 4})
    assert set(batch) == {"label", "crystals", "digis"}
    assert batch["digis"]["samples"].shape == (3, 4, 10)
    np.testing.assert_array_equal(batch["digis"]["samples"][0, :2], some().digis.samples[:2])
    assert not batch["digis"]["samples"][0, 2:].any()


def test_no_examples_give_no_showers():
    empty = Showers.from_examples([]).validate()
    assert (len(empty), empty.digis.samples.shape, empty.particles.shape) == (0, (0, 10), (0, 2, 3))


def test_only_digis_that_are_seen_are_read():
    assert Showers.unread(Inputs("showers", channels=("energy", "time"))) == ("digis",)
    assert Showers.unread(Inputs("showers", channels=("digis",))) == ()
    left = some().without(("digis",))
    assert_same(left, dataclasses.replace(some(), digis=left.digis))
    np.testing.assert_array_equal(left.digis.counts, 0)
    assert left.to_batch()["digis"]["samples"].shape == (3, 0, 10)


def test_a_cell_belongs_to_its_view():
    showers = showers_of([[5], [1024]], [[1], [1]])
    assert showers.validate() is showers
    with pytest.raises(ValueError, match=r"Event 1 .*crystals.cell = 1024 is outside the crop"):
        showers.validate(view="crop")
    with pytest.raises(ValueError, match="cell = 61200 is outside the detector"):
        showers_of([[61200]], [[1]]).validate()


def test_an_event_without_hits_is_refused():
    with pytest.raises(ValueError, match=r"Event 1 .* has no hit.* 2 such events in these 3"):
        showers_of([[5], [], []], [[1], [], []]).validate()


@pytest.mark.parametrize(("column", "value"), [("energy", np.nan), ("time", np.inf)])
def test_a_hit_that_is_not_finite_is_named(column, value):
    showers = some()
    values = showers.crystals.columns[column].copy()
    values[4] = value
    crystals = Ragged(showers.crystals.offsets, {**showers.crystals.columns, column: values})
    with pytest.raises(ValueError, match=f"Event 2 .*crystals.{column} = {value} is not finite"):
        dataclasses.replace(showers, crystals=crystals).validate()
