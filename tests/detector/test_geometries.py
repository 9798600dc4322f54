"""The images of the whole detector keep its energy, where it is; the barrel is the same in each geometry."""

import functools
import itertools

import jax
import numpy as np
import pytest

from e2e_jax.detector import geometry as g
from e2e_jax.detector import images
from e2e_jax.detector import projections as p

CRYSTALS = g.ee_crystals()
LENGTH = 80
TOWERS = np.flatnonzero(g.hcal_exists())
OUTERMOST = CRYSTALS.cell[np.isin(p.stitched_pixels()[CRYSTALS.cell] // 360, (0, 279))]


def event(eb=(), ee=(), hcal=(), tracks=()):
    """A batch of one event from lists of (cell, energy) and (pt, eta, phi), padded to one length."""
    batch = {}
    for name, hits in (("eb", eb), ("ee", ee), ("hcal", hcal), ("tracks", tracks)):
        width = 3 if name == "tracks" else 2
        table = np.zeros((1, LENGTH, width), np.float32)
        table[0, : len(hits)] = np.array(hits).reshape(-1, width)
        names = ("pt", "eta", "phi") if name == "tracks" else ("cell", "energy")
        batch[name] = {column: table[..., k] for k, column in enumerate(names)}
        if "cell" in names:
            batch[name]["cell"] = batch[name]["cell"].astype(np.uint16)
    return batch


def make_images(*arguments, **options):
    """`images.make_images` as numpy arrays."""
    return jax.device_get(images.make_images(*arguments, **options))


@functools.cache
def random_batch():
    """Three events of random hits over the whole detector, some of them with energy <= 0."""
    random = np.random.default_rng(4)

    def hits(cells, length):
        cell = random.choice(cells, (3, length)).astype(np.uint16)
        return {"cell": cell, "energy": random.normal(1, 1, (3, length)).astype(np.float32)}

    depth = random.integers(3, size=len(TOWERS)) * g.HCAL_TOWERS
    tracks = {"pt": random.exponential(1, (3, 60)), "eta": random.uniform(-3.2, 3.2, (3, 60))}
    tracks["phi"] = random.uniform(-np.pi, np.pi, (3, 60))
    return {
        "eb": hits(g.EB_CELLS, 40),
        "ee": hits(np.append(CRYSTALS.cell, np.repeat(OUTERMOST, 50)), 60),
        "hcal": hits(TOWERS + depth, 50),
        "tracks": {name: column.astype(np.float32) for name, column in tracks.items()},
    }


def positive(values, where=True):
    return np.where((values > 0) & where, values, 0).sum(1, dtype=np.float64)


def sums(image):
    """Energy of each channel, `[channels, n]`."""
    return np.moveaxis(np.asarray(image, np.float64).sum((-3, -2)), -1, 0)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [images.CHANNELS, ("ecal",), ("hcal", "tracks")])
def test_the_barrel_is_the_same_array_alone_and_in_the_ecal_centric_geometry(channels):
    alone = make_images(random_batch(), "barrel", channels)["barrel"]
    both = make_images(random_batch(), "ecal_centric", channels)["barrel"]
    assert np.asarray(alone).tobytes() == np.asarray(both).tobytes()
    # ... and so for an event of the central category, whose endcaps hold hits as well or none.
    central = random_batch() | {"ee": {name: np.zeros_like(c) for name, c in random_batch()["ee"].items()}}
    without = make_images(central, "ecal_centric", channels)
    np.testing.assert_array_equal(without["barrel"], alone)


def test_ecal_centric_images_keep_the_energy():
    batch = random_batch()
    made = make_images(batch, "ecal_centric")
    assert {name: image.shape for name, image in made.items()} == {
        "barrel": (3, 170, 360, 3),
        "endcap_minus": (3, 100, 100, 3),
        "endcap_plus": (3, 100, 100, 3),
    }
    assert {image.dtype for image in made.values()} == {np.dtype(np.float32)}
    barrel, minus, plus = (sums(image) for image in made.values())
    eta, pt = batch["tracks"]["eta"], batch["tracks"]["pt"]
    np.testing.assert_allclose((barrel + minus + plus)[0], positive(pt, abs(eta) <= 3), rtol=1e-6)
    np.testing.assert_allclose(plus[0], positive(pt, (eta > 1.479) & (eta <= 3)), rtol=1e-6)
    ee, side = batch["ee"], batch["ee"]["cell"] // 10000
    np.testing.assert_allclose(minus[1], positive(ee["energy"], side == 0), rtol=1e-6)
    np.testing.assert_allclose(plus[1], positive(ee["energy"], side == 1), rtol=1e-6)
    ieta = g.hcal_coordinates(batch["hcal"]["cell"])[0]
    np.testing.assert_allclose(minus[2], positive(batch["hcal"]["energy"], ieta < -17), rtol=1e-6)
    np.testing.assert_allclose(plus[2], positive(batch["hcal"]["energy"], ieta > 17), rtol=1e-6)


def test_hcal_centric_images_keep_the_energy():
    batch = random_batch()
    made = make_images(batch, "hcal_centric")
    assert made["full"].shape == (3, 280, 360, 3)
    tracks, ecal, hcal = sums(made["full"])
    np.testing.assert_allclose(
        tracks, positive(batch["tracks"]["pt"], abs(batch["tracks"]["eta"]) <= 3), rtol=1e-6
    )
    np.testing.assert_allclose(
        ecal, positive(batch["eb"]["energy"]) + positive(batch["ee"]["energy"]), rtol=1e-6
    )
    np.testing.assert_allclose(hcal / 25, positive(batch["hcal"]["energy"]), rtol=1e-6)


def test_the_authors_arithmetic_loses_half_of_the_outermost_rows():
    batch = random_batch()
    lost = sums(make_images(batch, "hcal_centric")["full"])
    lost -= sums(make_images(batch, "hcal_centric", matches_authors=True)["full"])
    outermost = np.isin(batch["ee"]["cell"], OUTERMOST)
    expected = positive(batch["ee"]["energy"], outermost) / 2
    assert expected.all()
    np.testing.assert_allclose(lost[1], expected, rtol=1e-4)
    np.testing.assert_allclose(lost[[0, 2]], 0, atol=1e-4)


def plain_full(batch):
    """The stitched image hit by hit, from the recipe in CMS's own coordinates."""
    image = np.zeros((len(batch["eb"]["cell"]), 280, 360, 3))
    edges = [1.479, 1.566, 1.653, 1.74, 1.83, 1.93, 2.043, 2.172, 2.332, 2.5, 2.65, 3.0]
    edges = np.concatenate([np.linspace(low, high, 6)[:-1] for low, high in itertools.pairwise(edges)])

    def rows_of(collection):
        columns = batch[collection].values()
        return ((i, *hit) for i in range(len(image)) for hit in zip(*(c[i] for c in columns), strict=True))

    def endcap_pixel(cell):
        k = np.searchsorted(CRYSTALS.cell, cell)
        ring = np.searchsorted(edges, abs(CRYSTALS.eta[k]), side="right") - 1
        return 225 + ring if cell >= 10000 else 54 - ring, int(np.rad2deg(CRYSTALS.phi[k]) // 1 + 10) % 360

    for i, pt, eta, phi in rows_of("tracks"):
        if abs(eta) <= np.float32(1.479):
            row, column = divmod(int(g.barrel_cell(eta, phi)), 360)
            image[i, row + 55, column, 0] += pt
        elif abs(eta) <= 3:
            image[i, *endcap_pixel(p.endcap_cell(eta, phi)), 0] += pt
    for i, cell, energy in rows_of("eb"):
        row, column = divmod(int(cell), 360)
        image[i, row + 55, column, 1] += max(energy, 0)
    endcap = np.zeros((len(image), 280, 360))
    for i, cell, energy in rows_of("ee"):
        endcap[i, *endcap_pixel(cell)] += max(energy, 0)
    for side in (endcap[:, 225:], endcap[:, 54::-1]):
        paired = side[:, :54].reshape(len(image), 27, 2, 180, 2).mean((2, 4), keepdims=True)
        side[:, :54] = np.broadcast_to(paired, (len(image), 27, 2, 180, 2)).reshape(len(image), 54, 360)
        side[:, 54] = side[:, 54].reshape(-1, 180, 2).mean(2).repeat(2, axis=1)
    image[..., 1] += endcap
    for i, cell, energy in rows_of("hcal"):
        ieta, iphi, _ = (int(value) for value in g.hcal_coordinates(cell))
        ieta = max(-28, min(28, ieta))
        row, column = (ieta - 1 if ieta > 0 else ieta) + 28, (iphi + 1) % 72
        width = 2 if abs(ieta) > 20 else 1
        image[i, 5 * row : 5 * row + 5, 5 * column : 5 * (column + width), 2] += max(energy, 0) / width
    return image


def test_the_stitched_image_is_that_of_a_plain_loop_also_inside_jit():
    expected = plain_full(random_batch())
    assert expected.any(axis=(0, 1, 2)).all()
    full = functools.partial(images.make_images, geometry="hcal_centric")
    for make in (full, jax.jit(full)):
        np.testing.assert_allclose(make(random_batch())["full"], expected, rtol=1e-5, atol=1e-7)


def test_endcap_hits_land_on_their_crystal():
    hits = [(g.ee_cell(30, 40, -1), 1.0), (g.ee_cell(100, 50, 1), 2.0)]
    made = make_images(event(ee=hits), "ecal_centric", ("ecal",))
    assert made["endcap_minus"][0, 39, 29, 0] == 1 == made["endcap_minus"].sum()
    assert made["endcap_plus"][0, 49, 99, 0] == 2 == made["endcap_plus"].sum()
    assert not made["barrel"].any()


def test_an_endcap_tower_is_shared_over_its_crystals_across_the_turn_in_phi():
    """Tower 21 at iphi = 71 spans -10 to 0 degrees, and its crystals have positive x."""
    hits = [(g.hcal_cell(21, 71, depth), 1.0) for depth in (1, 2)]
    made = make_images(event(hcal=hits), "ecal_centric", ("hcal",))
    minus, plus = (np.asarray(made[name])[0, :, :, 0] for name in ("endcap_minus", "endcap_plus"))
    assert not minus.any()
    lit = np.flatnonzero(plus) + 10000
    where = np.searchsorted(CRYSTALS.cell, lit)
    eta, phi = CRYSTALS.eta[where], np.rad2deg(CRYSTALS.phi[where])
    assert eta.min() >= 1.74
    assert eta.max() < 1.83
    assert phi.min() >= -10
    assert phi.max() < 0
    np.testing.assert_allclose(plus[plus > 0], 2 / len(lit), rtol=1e-6)


def test_tower_29_counts_as_28():
    for geometry in ("ecal_centric", "hcal_centric"):
        hits = [event(hcal=[(g.hcal_cell(ieta, 3, 1), 1.0)]) for ieta in (28, 29)]
        one, other = (make_images(of, geometry, ("hcal",)) for of in hits)
        jax.tree.map(np.testing.assert_array_equal, one, other)
        assert any(np.asarray(image).any() for image in one.values())


@pytest.mark.slow
def test_hits_of_one_endcap_alone_leave_the_other_empty():
    cells = CRYSTALS.cell[CRYSTALS.z < 0][::100]
    tower = g.hcal_cell(-25, 1, 1)
    batch = event(ee=[(cell, 1.0) for cell in cells], hcal=[(tower, 3.0)], tracks=[(2.0, -2.0, 1.0)])
    made = make_images(batch, "ecal_centric")
    np.testing.assert_allclose(sums(made["endcap_minus"])[:, 0], [2, len(cells), 3], rtol=1e-6)
    assert not made["endcap_plus"].any()
    full = make_images(batch, "hcal_centric")["full"]
    assert not full[:, 55:].any()
    np.testing.assert_allclose(sums(full)[:, 0], [2, len(cells), 75], rtol=1e-6)


@pytest.mark.parametrize("geometry", ["ecal_centric", "hcal_centric"])
def test_no_tracks_and_no_hits_at_all_are_empty_images(geometry):
    hits = {"eb": [(5, 1.0)], "ee": [(int(CRYSTALS.cell[7]), 1.0)], "hcal": [(g.hcal_cell(20, 1, 1), 1.0)]}
    for image in make_images(event(**hits), geometry).values():
        assert not image[..., 0].any()
        assert np.isfinite(image).all()
    for image in make_images(event(), geometry).values():
        assert not image.any()


def test_cells_that_no_detector_has_are_drawn_in_no_geometry():
    """A place without a crystal, a cell beyond the endcaps, a tower of even iphi where there are odd ones."""
    batch = event(
        ee=[(0, 1.0), (5050, 1.0), (g.EE_CELLS, 1.0), (65535, 1.0)],
        hcal=[(g.hcal_cell(25, 1, 1) + 1, 4.0)],
    )
    for geometry in ("ecal_centric", "hcal_centric"):
        for image in make_images(batch, geometry).values():
            assert not image.any()


def test_the_collections_that_a_geometry_needs_are_named():
    batch = {"eb": random_batch()["eb"]}
    assert make_images(batch, "barrel", ("ecal",))["barrel"].any()
    for geometry in ("ecal_centric", "hcal_centric"):
        with pytest.raises(ValueError, match="no 'ee' with 'cell', 'energy'"):
            make_images(batch, geometry, ("ecal",))


def test_channels_come_in_the_order_asked():
    made, some = (
        make_images(random_batch(), "hcal_centric", c)["full"] for c in (images.CHANNELS, ("hcal", "ecal"))
    )
    np.testing.assert_array_equal(some, made[..., [2, 1]])


@pytest.mark.slow
def test_a_batch_over_four_devices_gives_the_same_images():
    four = jax.tree.map(lambda column: np.concatenate([column, column[:1]]), random_batch())
    grid = jax.make_mesh((4,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.device_put(four, jax.NamedSharding(grid, jax.sharding.PartitionSpec("batch")))
    for geometry in ("ecal_centric", "hcal_centric"):
        for name, image in make_images(spread, geometry).items():
            np.testing.assert_array_equal(image, make_images(four, geometry)[name])
