"""Squares, marks, ticks and text of a picture are at the positions in the detector."""

import os
import pathlib

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.text import Text

from e2e_jax.detector import geometry, images, projections
from e2e_jax.detector.pixels import table_canvas
from e2e_jax.display import figure as drawing
from e2e_jax.display.panels import BARREL, FULL, PANELS
from e2e_jax.display.showers import Shower, find_showers
from e2e_jax.events.diphotons import leading
from e2e_jax.sources.root import aodsim
from e2e_jax.studies import hgg
from tests.display.shower_events import crystal, shower_event

BARREL_PAIRS = [
    (("eb", 40, 100), ("eb", -40, 200)),
    (("eb", -84, 191), ("eb", 60, 360)),
    (("eb", 1, 1), ("eb", -1, 190)),
]
ENDCAP_PAIR = ("ee", 30, 70, 1), ("ee", 60, 20, -1)
REAL_FILE = "cms_aodsim_2011_hzz4l_10events.root"


def layers(axes):
    """Channel -> (centres of the squares `[n, 2]`, values `[n]`) of drawn axes."""
    found = {}
    for layer in axes.collections:
        if isinstance(layer, PolyCollection) and layer.get_label() in drawing.LAYERS:
            corners = np.array([path.vertices[:4] for path in layer.get_paths()]).reshape(-1, 4, 2)
            found[layer.get_label()] = corners.mean(axis=1), np.asarray(layer.get_array())
    return found


def rings(axes):
    """Centres of the marks."""
    return [p.center for p in axes.patches if isinstance(p, Circle) and p.radius == drawing.RING]


def text(figure):
    return " ".join(t.get_text() for t in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def draw(events, geometry_name="barrel", image=""):
    axes = Figure().subplots()
    drawing.draw_event(axes, events, 0, geometry_name, image)
    return axes


@pytest.mark.slow
@pytest.mark.parametrize(("name", "image"), [(g, i) for g in PANELS for i in PANELS[g]])
def test_every_pixel_of_an_image_is_drawn_in_its_place_with_its_value(name, image):
    events = shower_event(("eb", 40, 100), ("ee", 30, 70, 1))
    panel, drawn = PANELS[name][image], layers(draw(events, name, image))
    pixels = np.asarray(images.make_images(events, name)[image][0])
    assert panel.shape == pixels.shape[:2]
    for channel, (centres, values) in drawn.items():
        again = np.zeros(panel.shape)
        column, row = np.rint(centres - (panel.left, panel.bottom)).astype(int).T
        again[row, column] = values / (panel.hcal_factor if channel == "hcal" else 1)
        np.testing.assert_allclose(again, pixels[..., images.CHANNELS.index(channel)], rtol=1e-6)
    assert set(drawn) == set(images.CHANNELS)


def test_each_built_in_geometry_has_panels_for_its_images():
    for name, panels in PANELS.items():
        assert list(panels) == list(images.shapes(name))


def test_a_registered_geometry_is_drawn_in_plain_panels():
    table = np.arange(geometry.EB_CELLS) // geometry.EB_COLUMNS // 17
    canvas = table_canvas("slices", (10, 1), {"ecal": {"eb": table}})
    images.register("display_slices", canvas)
    events = shower_event(("eb", 40, 100))
    (drawn,) = [layers(draw(events, "display_slices", "slices"))["ecal"]]
    assert drawn[1].sum() == pytest.approx(events.eb.energy[events.eb.energy > 0].sum(), rel=1e-5)


@pytest.mark.parametrize("seeds", [*BARREL_PAIRS, ENDCAP_PAIR])
@pytest.mark.parametrize("name", list(PANELS))
def test_marks_sit_on_the_showers(seeds, name):
    events = shower_event(*seeds, vertex=(0.05, -0.02))
    marked = 0
    for image in PANELS[name]:
        axes = draw(events, name, image)
        centres, energies = layers(axes)["ecal"]
        left, right = axes.get_xlim()
        for ring in rings(axes):
            if left < ring[0] < right:
                near = np.hypot(*(centres - ring).T) < drawing.RING
                brightest = centres[near][energies[near].argmax()]
                # Where endcap crystals are smeared over 2 x 2 pixels, one of the four.
                allowed = 1.0 if image == "full" and seeds is ENDCAP_PAIR else 1e-9
                np.testing.assert_allclose(ring, brightest, atol=allowed)
                marked += 1
    assert marked == (0 if name == "barrel" and seeds is ENDCAP_PAIR else 2)


def test_a_mark_across_the_end_of_iphi_is_drawn_at_both_ends():
    places = sorted(rings(draw(shower_event(("eb", 60, 360)))))
    np.testing.assert_allclose(places, [(0, 59.5), (360, 59.5)])


@pytest.mark.parametrize("iphi", [360, 1, 180])
def test_an_enlarged_shower_is_whole_at_the_end_of_iphi_too(iphi):
    events = shower_event(("eb", -60, iphi), noise=dict.fromkeys(("eb", "ee", "hcal", "tracks"), 0))
    _, enlarged, *_ = drawing.event_figure(events, 0).axes
    (low, high), (bottom, top) = enlarged.get_xlim(), enlarged.get_ylim()
    centres, energies = layers(enlarged)["ecal"]
    seen = (low < centres[:, 0]) & (centres[:, 0] < high) & (bottom < centres[:, 1]) & (centres[:, 1] < top)
    np.testing.assert_allclose(energies[seen].sum(), events.eb.energy.sum(), rtol=1e-6)
    written = {int(label.get_text()) for label in enlarged.get_xticklabels()}
    assert written <= set(range(1, 361))


def test_ticks_stand_at_the_crystals_they_name():
    for place, name in BARREL.ticks[1](-85, 85):
        row = divmod(crystal("eb", int(name.replace("−", "-")), 1), 360)[0]
        assert place == BARREL.bottom + row
    for place, name in BARREL.ticks[0](0.5, 360.5):
        assert place == BARREL.left + crystal("eb", 1, int(name)) % 360


@pytest.mark.parametrize("panel", [BARREL, FULL])
def test_eta_and_phi_ticks_stand_where_a_direction_points(panel):
    phi = {"0": 0.0, "π/2": np.pi / 2, "±π": np.pi, "−π/2": -np.pi / 2}
    eta_ticks = panel.ticks[3](-140, 140)
    for (across, phi_name), (up, eta_name) in [(p, e) for p in panel.ticks[2](0, 360) for e in eta_ticks]:
        # Just below and above the tick in eta and phi lie the pixels on its two sides.
        for side in (-1, 1):
            eta, angle = float(eta_name.replace("−", "-")) + side * 1e-3, phi[phi_name] + side * 1e-3
            if abs(eta) >= 3:
                continue
            shower = _pointed(eta, angle)
            x, y = panel.position(shower)
            # Crystals of the endcap have no rows in eta and phi, and near the beam span degrees.
            columns, rows = (1, 1.5) if shower.collection == "eb" else (4, 2.5)
            assert abs(x - across) <= columns
            assert abs(y - up) <= rows


def _pointed(eta, phi):
    if (cell := int(geometry.barrel_cell(eta, phi))) >= 0:
        return Shower(50, eta, phi, "eb", cell)
    return Shower(50, eta, phi, "ee", int(projections.endcap_cell(eta, phi)))


@pytest.mark.parametrize("image", ["endcap_minus", "endcap_plus"])
def test_dotted_circles_on_a_disc_are_of_constant_eta(image):
    panel, crystals = PANELS["ecal_centric"][image], geometry.ee_crystals()
    ix, iy, _ = geometry.ee_coordinates(crystals.cell)
    for radius, eta in zip(panel.circles(), (2.0, 2.5)):
        on = abs(np.hypot(ix - 50.5, iy - 50.5) - radius) < 0.5
        np.testing.assert_allclose(abs(crystals.eta[on]), eta, atol=0.06)


@pytest.mark.slow
def test_what_is_known_of_the_event_is_written():
    events = shower_event(("eb", 40, 100), ("eb", -40, 200), label=1)
    written = text(drawing.event_figure(events, 0, origin="somewhere", task=hgg.TASK))
    pt, eta, phi = leading(events.photons)[0, 1]
    numbers = [f"{pt:.1f} GeV", f"η = {eta:.2f}".replace("-", "−"), f"ϕ = {phi:.2f}".replace("-", "−")]
    assert all(
        word in written
        for word in [*numbers, "H", "Diphoton mass: 125.0 GeV", "somewhere", "run 1, lumi 1, event 1"]
    )
    unknown = text(drawing.event_figure(shower_event(("eb", 40, 100), label=-1), 0, task=hgg.TASK))
    assert not any(unknown.startswith(title) for title in hgg.TASK.titles.values())


def test_a_photon_outside_the_image_and_none_at_all_are_said():
    assert text(drawing.event_figure(shower_event(*ENDCAP_PAIR), 0)).count("not in this image") == 2
    assert "no photons" in text(drawing.event_figure(shower_event(), 0))


def test_pictures_of_the_same_scale_can_be_compared():
    soft, hard = (shower_event(seed) for seed in (("eb", 40, 100), ("eb", -40, 200)))
    hard.eb.energy[:] *= 20
    limits = [
        [
            (layer.norm.vmin, layer.norm.vmax)
            for layer in draw(events).collections
            if layer.get_label() in drawing.LAYERS
        ]
        for events in (soft, hard)
    ]
    assert limits[0] == limits[1]


@pytest.mark.parametrize("name", list(PANELS))
def test_no_text_lies_on_another_or_outside_the_picture(name, monkeypatch):
    figure = drawing.event_figure(shower_event(("eb", -84, 191), ("eb", 60, 360)), 0, name, "fast simulation")
    texts, draw_text = [], Text.draw

    def record(self, renderer):
        if self.get_visible() and self.get_text().strip():
            texts.append(self)
        draw_text(self, renderer)

    monkeypatch.setattr(Text, "draw", record)
    figure.draw_without_rendering()
    boxes, page = [label.get_window_extent() for label in texts], figure.bbox
    assert len(boxes) > 30
    for box, label in zip(boxes, texts):
        assert page.x0 <= box.x0, label
        assert box.x1 <= page.x1, label
        assert page.y0 <= box.y0, label
        assert box.y1 <= page.y1, label
    for i, box in enumerate(boxes):
        overlapping = [texts[j] for j in range(i) if box.overlaps(boxes[j])]
        assert not overlapping, (texts[i], overlapping)


def real_file():
    beside = pathlib.Path(__file__).parents[3] / "shared/data" / REAL_FILE
    path = pathlib.Path(os.environ.get("E2E_AODSIM_SAMPLE", beside))
    if not path.is_file():
        pytest.skip(f"needs E2E_AODSIM_SAMPLE, the path of {REAL_FILE}")
    return path


def test_marks_sit_on_the_showers_of_real_photons():
    events = aodsim.read_events(real_file())
    seen = 0
    for index in range(len(events)):
        for shower in find_showers(events, index):
            if shower.pt < 15 or not shower.collection:
                continue
            hits = getattr(events, shower.collection).event(index)
            seed = hits["energy"][hits["cell"] == shower.cell]
            # The seed of a photon holds a fair part of its energy, pT cosh(eta).
            assert seed[0] > 0.1 * shower.pt * np.cosh(shower.eta)
            seen += 1
    assert seen >= 5
