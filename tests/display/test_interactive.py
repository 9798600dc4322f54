"""Interactive pictures show every hit of an event at its position in the detector."""

import numpy as np
import pytest

from e2e_jax.detector import geometry
from e2e_jax.display import cells as placing
from e2e_jax.display.figure import MARK
from e2e_jax.display.interactive import SALIENCY, plane, space
from e2e_jax.display.page import Explained, page
from e2e_jax.studies import hgg
from tests.display.shower_events import shower_event
from tests.synthetic import sample

PAIR = ("eb", 40, 100), ("ee", 30, 70, 1)


def test_the_cells_hold_the_energy_of_all_hits():
    events = sample(2, hits=30)
    made = placing.cells(events, 1)
    for one, names in zip(made, ("hcal", "eb", "ee")):
        assert one.strength.sum() == pytest.approx(getattr(events, names).event(1)["energy"].sum(), rel=1e-5)
    assert len(made[3].strength) == events.tracks.counts[1]


def test_barrel_cells_tile_the_barrel():
    eta, phi, width, start = placing.PLACES["eb"](np.arange(geometry.EB_CELLS))
    assert width.prod(axis=1).sum() == pytest.approx(2 * geometry.EB_MAX_ETA * 2 * np.pi)
    np.testing.assert_allclose(np.hypot(start[:, 0], start[:, 1]), placing.EB_RADIUS)
    np.testing.assert_allclose(np.arctan2(start[:, 1], start[:, 0]), phi)
    np.testing.assert_allclose(np.arcsinh(start[:, 2] / placing.EB_RADIUS), eta)


def test_towers_tile_the_hcal():
    towers = np.flatnonzero(geometry.hcal_exists())
    eta, phi, width, start = placing.PLACES["hcal"](towers)
    assert width.prod(axis=1).sum() == pytest.approx(2 * geometry.HCAL_ETA_EDGES[-1] * 2 * np.pi)
    np.testing.assert_allclose(np.arcsinh(start[:, 2] / np.hypot(start[:, 0], start[:, 1])), eta)
    # A tower's centre points into the tower.
    ieta, iphi = geometry.hcal_tower(eta, phi)
    np.testing.assert_array_equal([ieta, iphi], geometry.hcal_coordinates(towers)[:2])


def test_endcap_cells_cover_the_endcaps():
    crystals = geometry.ee_crystals()
    eta, _, width, start = placing.PLACES["ee"](crystals.cell.astype(int))
    # In (eta, phi) two annuli; the rims of the discs are steps.
    assert width.prod(axis=1).sum() == pytest.approx(2 * np.ptp(abs(eta)) * 2 * np.pi, rel=0.03)
    assert abs(start[:, 2]).mean() == pytest.approx(placing.EE_Z, rel=0.01)
    assert np.hypot(start[:, 0], start[:, 1]).max() == pytest.approx(placing.EE_RADIUS, rel=0.01)


def test_bars_of_the_plane_lie_on_their_cells_and_photons_are_ringed():
    events = shower_event(*PAIR)
    made = plane(events, 0)
    for one, trace in zip(placing.cells(events, 0)[:3], made.data):
        np.testing.assert_allclose(trace.base.astype(float) + trace.y / 2, one.eta)
        np.testing.assert_allclose(trace.x, one.phi)
        assert len(trace.marker.color) == len(one.eta)
    assert [shape.line.color for shape in made.layout.shapes] == [MARK] * 2


def test_a_hit_in_space_points_away_from_the_origin():
    events = shower_event(*PAIR)
    for one, trace in zip(placing.cells(events, 0)[:3], space(events, 0).data):
        points = np.stack([trace.y, trace.z, trace.x], axis=1).reshape(-1, 3, 3)
        assert np.isnan(points[:, 2]).all()
        np.testing.assert_allclose(points[:, 0], one.start, rtol=1e-5)
        steps = points[:, 1] - points[:, 0]
        cosine = np.sum(steps * one.start, axis=1) / np.linalg.norm(steps, axis=1)
        np.testing.assert_allclose(cosine, np.linalg.norm(one.start, axis=1), rtol=1e-4)


def test_saliency_colours_the_sign_of_the_gradients():
    events = shower_event(*PAIR)
    gradients = {name: np.ones(getattr(events, name).counts[0]) for name in ("eb", "ee", "hcal", "tracks")}
    gradients["eb"] = -gradients["eb"]
    for draw in (plane, space):
        traces = draw(events, 0, gradients).data
        shown = [trace for trace in traces if trace.visible is False]
        assert len(shown) == 4
        colours = [(trace.marker if draw is plane else trace.line).color for trace in shown]
        assert set(colours[1]) == {SALIENCY[0]}
        assert set(colours[2]) == {SALIENCY[-1]}


@pytest.mark.slow
def test_the_page_has_its_program_once_and_asks_nothing_of_a_network():
    events = shower_event(*PAIR)
    gradients = {name: np.ones(getattr(events, name).counts[0]) for name in ("eb", "ee", "hcal", "tracks")}
    text = page(events[[0, 0]], "<b>fast</b>", hgg.TASK, Explained("H", ["P(H) = 0.5"] * 2, [gradients] * 2))
    assert text.count("plotly.js v") == 1
    assert text.count('class="plots"') == 2
    assert "&lt;b&gt;fast&lt;/b&gt;" in text
    assert "<script src" not in text
    assert "P(H) = 0.5" in text
