"""A crop is the window of the barrel around its brightest crystal; its images hold each hit once."""

import dataclasses

import jax
import numpy as np
import pytest

from e2e_jax.detector import crops, geometry, shower_images
from e2e_jax.events.base import Ragged
from tests.showers_of_cells import showers_of

ROW, COLUMN = crops.SHAPES["barrel"]


def barrel_showers(places, seed=0):
    """A bright crystal at each (row, column), and others anywhere within 40 crystals of it, if they exist."""
    random = np.random.default_rng(seed)
    cells, energies = [], []
    for row, column in places:
        near = np.unique(random.integers(-40, 41, (300, 2)), axis=0)
        rows, columns = row + near[:, 0], (column + near[:, 1]) % COLUMN
        there = (rows >= 0) & (rows < ROW) & near.any(axis=1)
        cells.append(np.append(rows[there] * COLUMN + columns[there], row * COLUMN + column))
        energies.append(np.append(random.uniform(0.1, 5, there.sum()), 40))
    return showers_of(cells, energies)


PLACES = [(84, 180), (85, 0), (60, 359), (2, 5), (0, 0), (169, 340), (150, 31)]


def test_a_crop_is_the_window_of_the_barrels_image():
    showers = barrel_showers(PLACES)
    crop = crops.crop(showers).validate(view="crop")
    barrel = np.asarray(shower_images.shower_images(showers, "barrel", crops.CHANNELS))
    images = np.asarray(shower_images.shower_images(crop, "crop", crops.CHANNELS))
    for image, whole, (row, column) in zip(images, barrel, PLACES):
        first = min(max(row - crops.SEED, 0), ROW - crops.SIDE)
        rolled = np.roll(whole, crops.SEED - column, axis=1)[first : first + crops.SIDE, : crops.SIDE]
        np.testing.assert_array_equal(image, rolled)
        assert image[row - first, crops.SEED, 0] == 40


def test_in_the_middle_the_brightest_crystal_has_one_place():
    crop = crops.crop(barrel_showers(PLACES[:3]))
    np.testing.assert_array_equal(crops.seeds(crop), crops.SEED * crops.SIDE + crops.SEED)


def test_digis_are_cut_with_their_crystals():
    showers = barrel_showers(PLACES)
    crop = crops.crop(showers)
    np.testing.assert_array_equal(crop.digis.cell, crop.crystals.cell)
    np.testing.assert_array_equal(crop.digis.samples[:, 5], 200 + 10 * np.round(crop.crystals.energy))


def test_of_equal_crystals_the_first_is_the_seed_whatever_lies_beside():
    showers = showers_of([[500, 700, 900], [30000]], [[1, 3, 3], [2]])
    np.testing.assert_array_equal(crops.seeds(showers), [700, 30000])


def test_no_showers_have_no_crops():
    assert len(crops.crop(showers_of([[1]], [[1]])[:0])) == 0


def test_an_event_without_hits_is_named():
    with pytest.raises(ValueError, match=r"Event 1 \(run 1, lumi 1, event 1\) has no hit"):
        crops.crop(showers_of([[5], [], []], [[1], [], []]))


@pytest.mark.parametrize("first", [-1, ROW - crops.SIDE + 1])
def test_a_window_that_leaves_the_barrel_is_refused(first):
    showers = showers_of([[5], [7]], [[1], [1]])
    with pytest.raises(ValueError, match=r"Event 1 .* leaves the barrel: its rows are .* of 0 to 169"):
        crops.cut(showers, [0, first], [0, 0])


def test_a_cell_outside_the_barrel_is_refused():
    with pytest.raises(ValueError, match=r"Event 0 .*crystals.cell = 61200 is no crystal of the barrel"):
        crops.crop(showers_of([[geometry.EB_CELLS]], [[1]]))


def test_images_hold_each_hit_once_and_no_padding():
    crop = crops.crop(barrel_showers(PLACES))
    energy = crop.crystals.energy.copy()
    energy[3] = -1
    columns = {**crop.crystals.columns, "energy": energy}
    crop = dataclasses.replace(crop, crystals=Ragged(crop.crystals.offsets, columns))
    batch = crop.to_batch({"crystals": 1000, "digis": 900})
    drawn = np.asarray(shower_images.shower_images(batch, "crop", ("time", "energy")))
    event, shown = crop.crystals.event_index, energy > 0
    for channel, values in enumerate((crop.crystals.time, energy)):
        sums = np.bincount(event[shown], values[shown], minlength=len(crop))
        np.testing.assert_allclose(drawn[..., channel].sum((1, 2)), sums, rtol=1e-5)
    within = jax.jit(lambda of: shower_images.shower_images(of, "crop", ("time", "energy")))
    np.testing.assert_array_equal(within(batch), drawn)


def test_digis_are_energies_over_the_pedestal():
    crop = crops.crop(barrel_showers(PLACES))
    image = np.asarray(shower_images.digi_images(crop.to_batch({"digis": 900})))
    assert image.shape == (len(crop), 10, 32, 32)
    expected = np.zeros((len(crop), 10, 32 * 32), np.float32)
    energy = (crop.digis.samples - np.float32(crops.PEDESTAL)) * np.float32(crops.GEV_PER_COUNT)
    expected[crop.digis.event_index, :, crop.digis.cell] = energy
    np.testing.assert_allclose(image, expected.reshape(image.shape), rtol=1e-6)


@pytest.mark.parametrize(
    ("view", "channels", "message"),
    [
        ("endcap", ("energy",), "No view 'endcap'.*'crop', 'barrel'"),
        ("crop", ("charge",), r"name at least one of \('energy', 'time'\)"),
        ("crop", (), "name at least one"),
        ("crop", ("time", "time"), "each once"),
    ],
)
def test_what_there_is_no_image_of_is_refused(view, channels, message):
    with pytest.raises(ValueError, match=message):
        shower_images.shower_images(showers_of([[1]], [[1]]), view, channels)


def test_a_batch_without_crystals_or_digis_is_refused():
    batch = showers_of([[1]], [[1]]).to_batch()
    with pytest.raises(ValueError, match=r"no 'crystals' with 'cell', 'energy'.*Showers.to_batch"):
        shower_images.shower_images({"label": batch["label"]})
    with pytest.raises(ValueError, match="no 'digis' with 'samples'"):
        shower_images.digi_images(batch | {"digis": {"cell": batch["digis"]["cell"]}})
