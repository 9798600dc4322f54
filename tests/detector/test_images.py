"""Images are a linear map of the hits: every channel keeps its energy, where the detector has it."""

import dataclasses

import jax
import numpy as np
import pytest

from e2e_jax.datasets.layout import Layout
from e2e_jax.detector import geometry as g
from e2e_jax.detector import images
from e2e_jax.detector.drawing import Drawing, in_blocks
from e2e_jax.detector.pixels import BARREL, table_canvas
from tests.synthetic import sample

OF_COLLISIONS = [name for name in images.geometries() if name != "jet"]


def padded(hits, columns, length):
    """One event's list of tuples as columns `[1, length]`."""
    table = np.zeros((length, len(columns)))
    table[: len(hits)] = np.array(hits).reshape(-1, len(columns))
    dtypes = {"cell": np.uint16}
    return {name: table[None, :, k].astype(dtypes.get(name, np.float32)) for k, name in enumerate(columns)}


def barrel(batch, channels=images.CHANNELS):
    return images.make_images(batch, "barrel", channels)["barrel"]


def one_event(eb=(), hcal=(), tracks=(), padding=0):
    return {
        "eb": padded(eb, ("cell", "energy"), len(eb) + padding),
        "hcal": padded(hcal, ("cell", "energy"), len(hcal) + padding),
        "tracks": padded(tracks, ("pt", "eta", "phi"), len(tracks) + padding),
    }


@pytest.fixture(scope="module")
def batch():
    """Three events of random hits over the whole detector, some of them with energy <= 0."""
    random = np.random.default_rng(0)

    def hits(cells, length):
        return {
            "cell": random.choice(cells, (3, length)).astype(np.uint16),
            "energy": random.normal(1, 1, (3, length)).astype(np.float32),
        }

    tracks = {"pt": random.exponential(1, (3, 30)), "eta": random.uniform(-2.5, 2.5, (3, 30))}
    tracks["phi"] = random.uniform(-np.pi, np.pi, (3, 30))
    tracks = {name: column.astype(np.float32) for name, column in tracks.items()}
    return {"eb": hits(g.EB_CELLS, 40), "hcal": hits(g.HCAL_CELLS, 20), "tracks": tracks}


def test_sums_are_conserved(batch):
    tracks, ecal, hcal = np.moveaxis(np.asarray(barrel(batch), np.float64).sum((1, 2)), -1, 0)

    def positive(values, where=True):
        return np.where((values > 0) & where, values, 0).sum(1, dtype=np.float64)

    ieta = g.hcal_coordinates(batch["hcal"]["cell"])[0]
    np.testing.assert_allclose(tracks, positive(batch["tracks"]["pt"], abs(batch["tracks"]["eta"]) <= 1.479))
    np.testing.assert_allclose(ecal, positive(batch["eb"]["energy"]), rtol=1e-6)
    np.testing.assert_allclose(hcal / 25, positive(batch["hcal"]["energy"], abs(ieta) <= 17), rtol=1e-6)


def test_ecal_hits_land_on_their_crystal():
    cells = g.eb_cell([-85, -1, 1, 85], [1, 360, 1, 360])
    image = barrel(one_event(eb=list(zip(cells, [1, 2, 3, 4], strict=True))), ("ecal",))
    assert image.shape == (1, 170, 360, 1)
    assert image.dtype == np.float32
    assert [float(image[0, r, c, 0]) for r, c in [(0, 0), (84, 359), (85, 0), (169, 359)]] == [1, 2, 3, 4]


def test_hcal_tower_one_covers_crystals_11_to_15():
    image = barrel(one_event(hcal=[(g.hcal_cell(1, 1, 1), 2.0)]), ("hcal",))[0, :, :, 0]
    ieta, iphi = g.eb_coordinates(np.flatnonzero(image))
    assert sorted(set(ieta)) == [1, 2, 3, 4, 5]
    assert sorted(set(iphi)) == [11, 12, 13, 14, 15]
    assert set(np.unique(image)) == {0, 2}


@pytest.mark.parametrize(
    ("ieta", "iphi", "rows", "columns"), [(-17, 71, (0, 5), (0, 5)), (17, 70, (165, 170), (355, 360))]
)
def test_hcal_towers_wrap_in_phi_and_fill_the_corners(ieta, iphi, rows, columns):
    image = barrel(one_event(hcal=[(g.hcal_cell(ieta, iphi, 1), 2.0)]), ("hcal",))[0, :, :, 0]
    assert image.sum() == 50
    assert (image[slice(*rows), slice(*columns)] == 2).all()


def test_hcal_depths_are_summed_and_the_endcap_is_left_out():
    depths = [(g.hcal_cell(16, 5, depth), energy) for depth, energy in [(1, 1.0), (2, 2.0), (3, 4.0)]]
    outside = [(g.hcal_cell(ieta, 5, 1), 8.0) for ieta in (-29, -18, 18, 29)]
    image = barrel(one_event(hcal=depths + outside), ("hcal",))
    assert set(np.unique(image)) == {0, 7}


def test_tracks_land_where_they_point():
    track = (3.0, float(g.eb_eta_centres()[100]), float(g.eb_phi_centres()[17]))
    image = barrel(one_event(tracks=[track, track, (5.0, 1.5, 0.0)]), ("tracks",))
    assert image[0, 100, 17, 0] == 6 == image.sum()


def test_hits_without_energy_are_skipped():
    hits = [(7, -1.0), (7, 3.0), (8, 0.0)]
    image = barrel(one_event(hits, hits, [(-1.0, 0.0, 0.0)]))
    assert image.min() == 0
    assert image[0, 0, 7, 1] == 3


@pytest.mark.slow
def test_padding_adds_nothing():
    hits = {"eb": [(5, 1.0)], "hcal": [(g.hcal_cell(3, 3, 1), 1.0)], "tracks": [(1.0, 0.3, 0.3)]}
    short, long = (barrel(one_event(**hits, padding=n)) for n in (0, 50))
    np.testing.assert_array_equal(short, long)
    assert not barrel(one_event(padding=3)).any()
    assert not barrel(one_event()).any()


def test_a_permutation_of_the_events_permutes_the_images(batch):
    order = np.array([2, 0, 1])
    permuted = jax.tree.map(lambda column: column[order], batch)
    np.testing.assert_array_equal(barrel(permuted), np.asarray(barrel(batch))[order])


def plain_loop(batch):
    """The images hit by hit, from the recipe in CMS's own coordinates."""
    image = np.zeros((len(batch["eb"]["cell"]), 170, 360, 3), np.float32)

    def rows_of(collection):
        columns = batch[collection].values()
        return ((i, *hit) for i in range(len(image)) for hit in zip(*(c[i] for c in columns), strict=True))

    for i, pt, eta, phi in rows_of("tracks"):
        if abs(eta) <= np.float32(1.479) and pt > 0:
            image[i, *divmod(int(g.barrel_cell(eta, phi)), 360), 0] += pt
    for i, cell, energy in rows_of("eb"):
        image[i, *divmod(int(cell), 360), 1] += max(energy, 0)
    for i, cell, energy in rows_of("hcal"):
        ieta, iphi, _ = (int(value) for value in g.hcal_coordinates(cell))
        if abs(ieta) <= 17:
            row, column = 5 * ((ieta - 1 if ieta > 0 else ieta) + 17), 5 * ((iphi + 1) % 72)
            image[i, row : row + 5, column : column + 5, 2] += max(energy, 0)
    return image


def test_images_are_those_of_a_plain_loop_also_inside_jit(batch):
    expected = plain_loop(batch)
    assert expected.any(axis=(0, 1, 2)).all()
    np.testing.assert_allclose(barrel(batch), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(barrel)(batch), expected, rtol=1e-6)


def test_channels_come_in_the_order_asked_and_need_no_more(batch):
    full = barrel(batch)
    needed = {name: batch[name] for name in ("eb", "hcal")}
    some = barrel(needed, ["hcal", "ecal"])
    np.testing.assert_array_equal(some, full[..., [2, 1]])


def test_make_images_takes_a_batch_or_events(batch):
    class Record:
        def to_batch(self):
            return batch

    for given in (batch, Record()):
        made = images.make_images(given, "barrel", ("ecal",))
        assert list(made) == ["barrel"]
        np.testing.assert_array_equal(made["barrel"], barrel(batch, ("ecal",)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"geometry": "ecal"},
            "No image geometry 'ecal'; there are 'barrel', 'ecal_centric', 'hcal_",
        ),
        ({"channels": ("muons",)}, "No image channel 'muons'; there are 'tracks', 'ecal', 'hcal'"),
        ({"channels": ()}, "at least one"),
        ({"channels": ("ecal", "ecal")}, "each once"),
    ],
)
def test_unknown_names_are_answered_with_what_exists(batch, arguments, message):
    with pytest.raises(ValueError, match=message):
        images.make_images(batch, **arguments)


def test_an_unfit_batch_is_refused(batch):
    with pytest.raises(ValueError, match=r"no 'hcal' with 'cell', 'energy'; it holds \['eb'\]"):
        barrel({"eb": batch["eb"]}, ("hcal",))
    single = {"eb": {name: column[0] for name, column in batch["eb"].items()}}
    with pytest.raises(ValueError, match=r"must all be \[events, length\]"):
        barrel(single, ("ecal",))


@pytest.fixture(scope="module")
def crowded():
    """Events whose hits share few pixels, of all collections."""
    events = sample(3, hits=60)
    return dataclasses.replace(
        events,
        **{
            name: dataclasses.replace(
                ragged, columns={c: v % 40 if c == "cell" else v for c, v in ragged.columns.items()}
            )
            for name, ragged in ((name, getattr(events, name)) for name in ("eb", "hcal"))
        },
    )


@pytest.mark.slow
@pytest.mark.parametrize("geometry", OF_COLLISIONS)
@pytest.mark.parametrize("group", [1, 3, 9])
def test_hits_in_a_row_make_the_same_images(crowded, geometry, group):
    layout = Layout.flat(crowded, [np.arange(len(crowded))[None, :]], group)
    padded, flat = (images.make_images(batch, geometry) for batch in (crowded, layout.batch(crowded)))
    jax.tree.map(np.testing.assert_array_equal, flat, padded)


@pytest.mark.slow
@pytest.mark.parametrize("geometry", OF_COLLISIONS)
def test_blocks_and_a_fixed_order_make_the_same_images(crowded, geometry):
    plain = images.make_images(crowded, geometry, matches_authors=True)
    for drawing in (Drawing(True, False), Drawing(False, True), Drawing(True, True)):
        made = images.make_images(crowded, geometry, matches_authors=True, drawing=drawing)
        for name, image in plain.items():
            expected = in_blocks(image) if drawing.blocks else image
            np.testing.assert_allclose(made[name], expected, rtol=1e-5)


def test_a_block_holds_its_four_pixels_row_by_row():
    image = np.arange(4 * 6 * 2).reshape(1, 4, 6, 2)
    blocks = in_blocks(image)
    assert blocks.shape == (1, 2, 3, 8)
    np.testing.assert_array_equal(blocks[0, 1, 2], image[0, 2:4, 4:6].reshape(-1))


def test_a_registered_table_is_a_geometry():
    """Quarters of the barrel in a 2 x 2 image, without the first crystal."""
    crystals = np.arange(g.EB_CELLS)
    row, column = np.divmod(crystals, g.EB_COLUMNS)
    quarter = 2 * (row >= g.EB_ROWS // 2) + (column >= g.EB_COLUMNS // 2)
    table = np.where(crystals == 0, -1, quarter)
    images.register("quarters", table_canvas("quarters", (2, 2), {"ecal": {"eb": table}}))
    last = g.EB_CELLS - 1
    made = images.make_images(
        one_event(eb=[(0, 5.0), (1, 1.0), (last, 2.0), (last, -3.0)]), "quarters", ["ecal"]
    )
    np.testing.assert_array_equal(made["quarters"][0, :, :, 0], [[1, 0], [0, 2]])
    assert images.shapes("quarters") == {"quarters": (2, 2)}
    with pytest.raises(ValueError, match="'tracks'"):
        images.make_images(one_event(), "quarters", ["tracks"])


def test_a_table_sums_the_depths_of_towers():
    towers = np.arange(g.HCAL_TOWERS) // g.HCAL_COLUMNS
    canvas = table_canvas("rings", (g.HCAL_ROWS, 1), {"hcal": {"hcal": towers}})
    images.register("rings", canvas)
    hits = [(g.hcal_cell(-3, 7, depth), 1.0) for depth in (1, 2)]
    made = images.make_images(one_event(hcal=hits), "rings", ["hcal"])["rings"][0, :, 0, 0]
    assert made.max() == made.sum() == 2


@pytest.mark.parametrize("table", [np.zeros(3), np.full(g.EB_CELLS, 4), np.full(g.EB_CELLS, -2)])
def test_a_table_that_does_not_fit_is_refused(table):
    with pytest.raises(ValueError, match="'small'"):
        table_canvas("small", (2, 2), {"ecal": {"eb": table}})


def test_a_table_for_tracks_is_refused():
    with pytest.raises(ValueError, match="'tracks'"):
        table_canvas("small", (2, 2), {"tracks": {"tracks": np.zeros(3)}})


def test_a_geometry_is_registered_once_and_has_images():
    with pytest.raises(ValueError, match="'barrel'"):
        images.register("barrel", BARREL)
    with pytest.raises(ValueError, match="'none'"):
        images.register("none")
    with pytest.raises(ValueError, match="'twice'"):
        images.register("twice", BARREL, BARREL)
