"""A symmetry of the hits gives the same symmetry of their images, in every geometry."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from e2e_jax.datasets.layout import Layout
from e2e_jax.detector import geometry
from e2e_jax.detector.images import make_images
from e2e_jax.detector.symmetries import QUARTER, TURNS, Symmetry, transform, views
from e2e_jax.events.base import Ragged
from e2e_jax.events.diphotons import leading
from e2e_jax.training.augmentation import augment
from tests.synthetic import existing_cells, sample

EVENTS = 6


def spread_sample():
    """Events with hits all over the detector, and tracks along the middles of crystals."""
    rng = np.random.default_rng(0)
    events = sample(per_class=EVENTS // 3)
    made = {}
    for name in ("eb", "ee", "hcal"):
        counts = rng.integers(20, 30, EVENTS)
        cells = rng.choice(existing_cells(name), counts.sum()).astype(np.uint16)
        energy = rng.uniform(1, 5, counts.sum()).astype(np.float32)
        made[name] = Ragged.from_counts(counts, {"cell": cells, "energy": energy})
    counts = rng.integers(20, 30, EVENTS)
    crystals = geometry.ee_crystals()
    barrel = rng.integers(0, geometry.EB_CELLS, counts.sum())
    endcap = rng.choice(np.flatnonzero(abs(crystals.eta) < 2.9), counts.sum())
    inside = rng.random(counts.sum()) < 0.5
    row, column = np.divmod(barrel, geometry.EB_COLUMNS)
    eta = np.where(inside, geometry.eb_eta_centres()[row], crystals.eta[endcap]).astype(np.float32)
    phi = np.where(inside, geometry.eb_phi_centres()[column], crystals.phi[endcap]).astype(np.float32)
    pt = rng.uniform(1, 5, counts.sum()).astype(np.float32)
    made["tracks"] = Ragged.from_counts(counts, {"pt": pt, "eta": eta, "phi": phi})
    return dataclasses.replace(events, **made)


SAMPLE = spread_sample()


def padded():
    return Layout.padded(SAMPLE).batch(SAMPLE)


def flat():
    return Layout.flat(SAMPLE, [np.arange(EVENTS)[None]], EVENTS // 2).batch(SAMPLE)


def same(turn=0, reflected=False, mirrored=False):
    """One symmetry for all events."""
    full = (turn, reflected, mirrored), (np.int32, bool, bool)
    return Symmetry(*(jnp.full(EVENTS, value, dtype) for value, dtype in zip(*full)))


def images(batch, name):
    return {key: np.asarray(image) for key, image in make_images(batch, name).items()}


def assert_images(got, expected):
    for name, image in expected.items():
        exact = slice(0, 2) if "endcap" in name else slice(None)
        np.testing.assert_allclose(got[name][..., exact], image[..., exact], rtol=1e-5, atol=1e-5)
        # A crystal whose middle lies on the edge of a tower belongs to the tower on one side of it.
        hcal, other = got[name][..., 2], image[..., 2]
        assert abs(hcal - other).sum() < 0.3 * other.sum()


@pytest.mark.slow
@pytest.mark.parametrize("batch", [padded, flat])
@pytest.mark.parametrize("turn", [1, 7, TURNS - 1])
def test_a_rotation_rolls_the_barrel(batch, turn):
    rolled = np.roll(images(batch(), "barrel")["barrel"], 5 * turn, axis=2)
    assert_images(images(transform(batch(), same(turn)), "barrel"), {"barrel": rolled})


@pytest.mark.slow
@pytest.mark.parametrize("batch", [padded, flat])
def test_a_reflection_flips_rows_and_swaps_endcaps(batch):
    plain, got = batch(), transform(batch(), same(reflected=True))
    before = images(plain, "ecal_centric")
    minus, plus = before["endcap_minus"], before["endcap_plus"]
    swapped = {"barrel": before["barrel"][:, ::-1], "endcap_minus": plus, "endcap_plus": minus}
    assert_images(images(got, "ecal_centric"), swapped)
    assert_images(images(got, "hcal_centric"), {"full": images(plain, "hcal_centric")["full"][:, ::-1]})


@pytest.mark.slow
def test_a_mirror_image_flips_columns_about_phi_zero():
    before, got = images(padded(), "ecal_centric"), transform(padded(), same(mirrored=True))
    columns = (19 - np.arange(360)) % 360
    expected = {"barrel": before["barrel"][:, :, columns]}
    expected |= {name: before[name][:, ::-1] for name in ("endcap_minus", "endcap_plus")}
    assert_images(images(got, "ecal_centric"), expected)
    full = images(padded(), "hcal_centric")["full"][:, :, columns]
    assert_images(images(got, "hcal_centric"), {"full": full})


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_rotate_the_endcaps(quarters):
    before, got = images(padded(), "ecal_centric"), transform(padded(), same(quarters * QUARTER))
    expected = {"barrel": np.roll(before["barrel"], 90 * quarters, axis=2)}
    # Rows are y and columns x, so that a turn from x to y is against the sense of `rot90`.
    for name in ("endcap_minus", "endcap_plus"):
        expected[name] = np.rot90(before[name], -quarters, axes=(1, 2))
    assert_images(images(got, "ecal_centric"), expected)
    full = np.roll(images(padded(), "hcal_centric")["full"], 90 * quarters, axis=2)
    turned = images(got, "hcal_centric")["full"]
    np.testing.assert_allclose(turned[:, 55:225], full[:, 55:225], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(turned[..., 2], full[..., 2], rtol=1e-5, atol=1e-5)
    # Endcap crystals on the edge of a pixel lie on one side of it.
    np.testing.assert_allclose(turned.sum((1, 2)), full.sum((1, 2)), rtol=1e-5)


@pytest.mark.slow
def test_every_event_has_its_own_symmetry_in_flat_and_padded_batches():
    keys = jax.random.split(jax.random.key(1), EVENTS)
    names = ("rotation", "reflection", "mirror")
    first, second = (images(augment(batch(), keys, names, "barrel"), "barrel") for batch in (padded, flat))
    assert_images(first, second)
    alone = images(augment(padded(), keys[::-1], names, "barrel"), "barrel")
    assert not np.allclose(first["barrel"], alone["barrel"])


def test_rotations_of_endcaps_are_quarter_turns_and_photons_move_along():
    keys = jax.random.split(jax.random.key(2), EVENTS)
    got = augment(padded(), keys, ("rotation",), "ecal_centric")
    moved = np.asarray(geometry.delta_phi(got["photons"][..., 2], leading(SAMPLE.photons)[..., 2]))
    quarters = np.round(moved / (np.pi / 2))
    np.testing.assert_allclose(moved, quarters * np.pi / 2, atol=1e-5)
    assert len(np.unique(quarters[:, 0] % 4)) > 1
    np.testing.assert_array_equal(quarters[:, 0] % 4, quarters[:, 1] % 4)
    np.testing.assert_array_equal(got["photons"][..., :2], leading(SAMPLE.photons)[..., :2])


def test_cells_keep_their_type_and_exist_after_all_exact_symmetries():
    got = transform(padded(), same(QUARTER, True, True))
    for name, exists in (("ee", geometry.ee_exists()), ("hcal", np.tile(geometry.hcal_exists(), 7))):
        cells, energy = np.asarray(got[name]["cell"]), np.asarray(got[name]["energy"])
        assert cells.dtype == np.uint16
        assert exists[cells[energy > 0]].all()


@pytest.mark.parametrize(("number", "name"), [(1, "barrel"), (8, "barrel"), (8, "ecal_centric")])
def test_views_are_different_symmetries_of_the_geometry(number, name):
    made = views(number, name)
    assert made[0] == (0, False, False)
    assert len(set(made)) == number
    assert all(turn % (1 if name == "barrel" else QUARTER) == 0 for turn, _, _ in made)


def test_what_cannot_be_augmented_is_refused():
    keys = jax.random.split(jax.random.key(0), EVENTS)
    with pytest.raises(ValueError, match="'shift'"):
        augment(padded(), keys, ("shift",), "barrel")
    with pytest.raises(ValueError, match="augment"):
        augment({"mass": jnp.ones(EVENTS)}, keys, ("reflection",), "barrel")
    with pytest.raises(ValueError, match="symmetrize"):
        views(9, "ecal_centric")
