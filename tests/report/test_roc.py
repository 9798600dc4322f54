import json

import numpy as np
import pytest

from e2e_jax.evaluation.metrics import roc_auc
from e2e_jax.report import decorrelation, quality, roc
from e2e_jax.report.runs import read_runs
from tests.report.evaluated_run import BINARY, write_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "a", "cms_b")
    write_run(folder / "b", "four_momentum", seed=1)
    return read_runs([folder / "a", folder / "b"])


def test_the_drawn_curve_has_the_area_of_the_scores():
    random = np.random.default_rng(0)
    is_signal = random.random(20_000) < 0.4
    scores = random.normal(size=20_000) + is_signal
    made = roc.curve("x", "#000000", scores, is_signal)
    assert len(made.efficiency) <= 2 * roc.POINTS
    assert (made.efficiency[0], made.rejection[0]) == (0, 1)
    assert (made.efficiency[-1], made.rejection[-1]) == (1, 0)
    assert np.trapezoid(made.rejection, made.efficiency) == pytest.approx(
        roc_auc(scores, is_signal), abs=1e-3
    )
    assert made.area == roc_auc(scores, is_signal)
    # A cut at a point's threshold has the point's efficiency.
    assert np.mean(scores[is_signal] >= made.threshold[100]) == pytest.approx(made.efficiency[100])


def test_the_band_has_the_width_of_repeated_samples():
    """The interval of one sample is as wide as the scatter of the rejection over many."""
    random, curves = np.random.default_rng(1), []
    for _ in range(200):
        is_signal = np.arange(1000) < 500
        scores = np.round(random.normal(size=1000) + is_signal, 2)
        false, true, _ = roc.metrics.roc_curve(scores, is_signal)
        curves.append(np.interp(roc.EFFICIENCIES, true, 1 - false))
    low, high = roc.band(scores, is_signal)
    middle = slice(20, 81)
    np.testing.assert_allclose(
        np.mean((high - low)[middle]), 2 * np.std(curves, axis=0)[middle].mean(), rtol=0.2
    )
    inside = (low <= curves[-1]) & (curves[-1] <= high)
    assert inside[middle].mean() > 0.95


def test_legends_hold_the_areas_of_the_results(runs):
    (one,) = [c for c in roc.comparisons(runs[:1]) if c.name == "roc_vs_rest"]
    for name, curve in zip(("gamma_gamma", "h", "gamma_jet"), one.curves):
        area = runs[0].results["auc_vs_rest"][name]
        assert curve.legend.endswith(f"{area['value']:.3f} ± {area['uncertainty']:.3f}")


def test_several_runs_stand_beside_each_other_in_every_figure(runs):
    made = roc.comparisons(runs)
    names = ["roc_gamma_gamma_vs_rest", "roc_h_vs_rest", "roc_gamma_jet_vs_rest"]
    assert [one.name for one in made] == [*names, "roc_h_vs_gamma_gamma", "roc_h_vs_gamma_jet"]
    for one in made:
        assert [curve.name for curve in one.curves] == ["CMS-B", "4-mom"]
        assert len({curve.colour for curve in one.curves}) == 2
    area = runs[1].results["auc_pairwise"]["h_vs_gamma_jet"]["value"]
    assert made[-1].curves[1].area == area


def test_a_binary_classifier_has_its_own_classes_and_both_backgrounds(tmp_path, runs):
    write_run(tmp_path, "mine", classes=BINARY)
    (binary,) = read_runs([tmp_path])
    alone = roc.comparisons([binary])
    assert [one.name for one in alone] == ["roc_vs_rest", "roc_h_vs_gamma_gamma", "roc_h_vs_gamma_jet"]
    assert [curve.name for curve in alone[0].curves] == ["background", "H"]
    # Beside another it is where it has the class, and the legend says nothing where it has not.
    compared = {one.name: [curve.name for curve in one.curves] for one in roc.comparisons([runs[0], binary])}
    assert compared["roc_gamma_jet_vs_rest"] == ["CMS-B"]
    assert compared["roc_h_vs_rest"] == compared["roc_h_vs_gamma_jet"] == ["CMS-B", "mine"]


def test_the_legend_covers_no_curve(runs):
    for comparison in roc.comparisons(runs):
        figure = roc.draw(comparison, "fast simulation")
        figure.canvas.draw()
        (axes,) = figure.axes
        box = axes.get_legend().get_window_extent()
        for one in comparison.curves:
            points = axes.transData.transform(np.stack([one.efficiency, one.rejection], axis=-1))
            assert not any(box.contains(*point) for point in points)
        assert axes.get_xlabel() == "Signal efficiency"
        assert axes.get_ylabel() == "Background rejection"


def test_the_interactive_curve_is_that_of_the_picture(runs):
    one = roc.comparisons(runs)[0]
    made = json.loads(roc.interactive(one))
    names = [trace["name"] for trace in made["data"] if trace.get("showlegend", True)]
    assert names == [curve.legend for curve in one.curves]
    # plotly's own looks, which would be another 7 kB a figure and not the page's.
    assert not made["layout"]["template"].get("data", {}).get("heatmap")
    assert len(json.dumps(made)) < 40_000


@pytest.mark.slow
def test_a_name_with_dollar_signs_is_drawn_letter_by_letter(tmp_path):
    """Between two dollar signs matplotlib would read a formula, and fail on this one."""
    name = r"cms$\nothing{$b"
    write_run(tmp_path / "a", name)
    write_run(tmp_path / "b", "eb", seed=1, classes=("x$=gamma_gamma", "h", r"y$\z=gamma_jet"))
    first, second = read_runs([tmp_path / "a", tmp_path / "b"])
    for run in ([first, second], [second]):
        for picture in (*roc.pictures(run), *decorrelation.pictures(run), *quality.pictures(run[0])):
            picture.write(tmp_path)
