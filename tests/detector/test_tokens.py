"""Tokens are the strongest local maxima, and symmetries of the detector change their momenta alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from e2e_jax.detector import geometry, images
from e2e_jax.detector.surfaces import surface
from e2e_jax.detector.tokens import CORE, TOWERS, WINDOW, find_tokens

CHANNELS = ("tracks", "ecal", "hcal")
COUNTS = {"ecal": 6, "tracks": 3, "hcal": 3}


def planes(name="barrel", seed=0, showers=8):
    """Images of some showers: a high crystal among lower ones; towers and tracks."""
    rng = np.random.default_rng(seed)
    made = {channel: {} for channel in CHANNELS}
    exists = geometry.ee_exists().reshape(2, 100, 100)
    for image, (rows, columns) in images.shapes(name).items():
        inside = exists[int(image == "endcap_plus")] if "endcap" in image else np.ones((rows, columns), bool)
        ecal, tracks = np.zeros((2, 3, rows, columns), np.float32)
        for event in range(3):
            places = rng.choice(np.flatnonzero(inside), showers, replace=False)
            for row, column in zip(*np.divmod(places, columns)):
                height = rng.uniform(5, 60)
                shower = np.exp(-abs(np.arange(-2, 3))[:, None] - abs(np.arange(-2, 3))[None]) * height
                shower *= rng.uniform(0.9, 1, (5, 5))
                for i, di in enumerate(range(-2, 3)):
                    for j, dj in enumerate(range(-2, 3)):
                        if 0 <= row + di < rows and 0 <= column + dj < columns:
                            ecal[event, row + di, column + dj] += shower[i, j]
                tracks[event, row, column] = rng.uniform(1, 20)
        grid = 3, rows // 5, columns // 5
        towers = rng.exponential(2, grid) * (rng.random(grid) < 0.1)
        hcal = np.repeat(np.repeat(towers, 5, axis=1), 5, axis=2)
        for channel, values in zip(CHANNELS, (tracks, ecal, hcal)):
            made[channel][image] = jnp.asarray(np.where(inside, values, 0), jnp.float32)
    return made


@functools.partial(jax.jit, static_argnums=1)
def _arrays(made, name):
    return find_tokens(made, name, CHANNELS, COUNTS)._replace(channel=None)


def found(made, name="barrel"):
    return _arrays(made, name)


def everywhere(change, made):
    return jax.tree.map(change, made)


def plain_maxima(image):
    """Crystals that none of the 5 x 5 around them exceeds, at most one a block, by transverse energy."""
    closed = np.pad(np.pad(image, ((0, 0), (2, 2)), mode="wrap"), ((2, 2), (0, 0)))
    around = np.lib.stride_tricks.sliding_window_view(closed, (5, 5)).max((2, 3))
    transverse = image / np.cosh(geometry.eb_eta_centres())[:, None]
    blocks = image.reshape(34, 5, 72, 5).max((1, 3))
    highest = image == np.repeat(np.repeat(blocks, 5, axis=0), 5, axis=1)
    is_maximum = (image >= around) & (image >= 0.5) & highest
    places = np.flatnonzero(is_maximum)
    return places[np.argsort(-transverse.ravel()[places])]


def test_the_ecal_tokens_are_the_highest_local_maxima():
    made, tokens = planes(), found(planes())
    image = np.asarray(made["ecal"]["barrel"])
    for event in range(3):
        expected = plain_maxima(image[event])[: COUNTS["ecal"]]
        middle = np.asarray(tokens.windows[event, : COUNTS["ecal"], WINDOW // 2, WINDOW // 2, 1])
        np.testing.assert_allclose(middle, image[event].ravel()[expected], rtol=1e-6)


def test_windows_hold_what_lies_around_away_from_the_middle_of_the_detector():
    made = planes(showers=1)
    tokens, image = found(made), np.asarray(made["ecal"]["barrel"])
    for event in range(3):
        row, column = np.unravel_index(image[event].argmax(), image[event].shape)
        half, sign = WINDOW // 2, 1 if row >= 85 else -1
        rows = row + sign * np.arange(-half, half + 1)
        inside = (rows >= 0) & (rows < 170)
        columns = (column + np.arange(-half, half + 1)) % 360
        expected = np.where(inside[:, None], image[event][np.clip(rows, 0, 169)][:, columns], 0)
        np.testing.assert_allclose(tokens.windows[event, 0, :, :, 1], expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["barrel", "hcal_centric"])
def test_a_rotation_by_towers_and_a_reflection_change_the_momenta_alone(name):
    made = planes(name)
    before = found(made, name)
    turned = found(everywhere(lambda x: jnp.roll(x, 35, axis=2), made), name)
    reflected = found(everywhere(lambda x: x[:, ::-1], made), name)
    angle = np.deg2rad(35)
    rotation = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    for after, change in ((turned, rotation), (reflected, np.diag([1, 1, -1]))):
        assert (np.asarray(after.filled) == before.filled).all()
        for field in ("offset", "windows", "towers"):
            np.testing.assert_allclose(getattr(after, field), getattr(before, field), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(after.momentum, np.asarray(before.momentum) @ change, rtol=1e-4, atol=1e-3)


@pytest.mark.slow
def test_the_endcaps_swap_under_reflection():
    made = planes("ecal_centric")
    swapped = {
        channel: {
            "barrel": of["barrel"][:, ::-1],
            "endcap_minus": of["endcap_plus"],
            "endcap_plus": of["endcap_minus"],
        }
        for channel, of in made.items()
    }
    before, after = found(made, "ecal_centric"), found(swapped, "ecal_centric")
    assert np.asarray(before.endcap).any()
    for field in ("endcap", "windows", "towers"):
        np.testing.assert_allclose(getattr(after, field), getattr(before, field), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        after.momentum, np.asarray(before.momentum) * np.array([1, 1, -1]), rtol=1e-4, atol=1e-3
    )


@pytest.mark.slow
def test_no_energy_counts_in_two_momenta():
    image = np.zeros((1, 170, 360), np.float32)
    image[0, 100, 53], image[0, 100, 56] = 40.0, 10.0
    made = {channel: {"barrel": jnp.zeros((1, 170, 360))} for channel in CHANNELS}
    made["ecal"]["barrel"] = jnp.asarray(image)
    tokens = found(made)
    energy = np.linalg.norm(np.asarray(tokens.momentum[0]), axis=1)
    assert CORE[1] // 2 >= 3
    np.testing.assert_allclose(energy[:2], [50.0, 0.0], rtol=1e-3)
    assert np.asarray(tokens.filled[0]).sum() == 2


def test_towers_hold_the_energy_of_blocks_and_that_of_a_repeated_tower_once():
    made = planes()
    tokens = found(made)
    first = sum(COUNTS[name] for name in ("ecal", "tracks"))
    towers = np.asarray(made["hcal"]["barrel"])[:, ::5, ::5]
    middle = np.asarray(tokens.towers[:, first, TOWERS // 2, TOWERS // 2, 2])
    transverse = towers / np.cosh(geometry.eb_eta_centres()[2::5])[None, :, None]
    for event in range(3):
        place = transverse[event].argmax()
        np.testing.assert_allclose(middle[event], towers[event].ravel()[place], rtol=1e-5)


@pytest.mark.parametrize("name", ["barrel", "ecal_centric", "hcal_centric"])
def test_an_event_without_hits_has_no_tokens_and_all_zeros(name):
    empty = everywhere(jnp.zeros_like, planes(name))
    tokens = found(empty, name)
    assert not np.asarray(tokens.filled).any()
    for field in ("momentum", "offset", "windows", "towers"):
        assert not np.asarray(getattr(tokens, field)).any()


def test_directions_are_those_of_the_crystals_and_axes_lead_outwards():
    for name in ("barrel", "ecal_centric", "hcal_centric"):
        on = surface(name)
        length = np.linalg.norm(on.direction, axis=1)
        assert np.isclose(length, 1, atol=1e-5).sum() > 0.7 * len(length)
        for image, start, (rows, columns) in zip(on.names, on.starts, on.shapes):
            direction = on.direction[start : start + rows * columns].reshape(rows, columns, 3)
            axes = on.axes[start : start + rows * columns].reshape(rows, columns, 2, 2)
            some = (slice(20, -20, 7), slice(20, -20, 7))
            row, column = np.indices((rows, columns))[:, some[0], some[1]]
            step = axes[some][..., 0, :]
            here = direction[some]
            there = direction[row + step[..., 0], column + step[..., 1]]
            seen = (np.linalg.norm(here, axis=-1) > 0) & (np.linalg.norm(there, axis=-1) > 0)
            if "endcap" in image:  # away from the beam
                assert (abs(there[..., 2]) < abs(here[..., 2]))[seen].all()
            else:
                assert (abs(there[..., 2]) > abs(here[..., 2]))[seen].all()


def test_the_gradient_by_the_energies_of_an_image_is_finite():
    made = planes()

    def total(made):
        tokens = found(made)
        return jnp.sum(tokens.momentum**2) + jnp.sum(tokens.windows) + jnp.sum(tokens.towers)

    gradient = jax.jit(jax.grad(total))(made)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert np.asarray(gradient["ecal"]["barrel"]).any()


def test_counts_of_channels_that_are_not_there_are_refused():
    made = planes()
    with pytest.raises(ValueError, match="muons"):
        find_tokens(made, "barrel", CHANNELS, {"muons": 2})
    with pytest.raises(ValueError, match="tokens"):
        find_tokens(made, "barrel", CHANNELS, {})
    with pytest.raises(ValueError, match="geometry"):
        find_tokens(made, "forward", CHANNELS, COUNTS)
