import numpy as np
import pytest

from e2e_jax.report import decorrelation
from e2e_jax.report.runs import read_run
from e2e_jax.report.scored import Scored
from e2e_jax.studies import hgg
from tests.report.evaluated_run import write_run


def scored(follows_mass, n=6000, seed=0):
    """gamma gamma, H and gamma+jet events whose H score knows the mass as much as is asked, 0 to 1."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    masses = np.where(labels == 1, random.normal(125, 2, n), 90 + random.exponential(40, n))
    near = np.exp(-(((masses - 125) / 6) ** 2))
    signal = np.clip(follows_mass * near * 0.8 + (1 - follows_mass) * random.beta(2, 3, n), 0.01, 0.98)
    rest = (1 - signal) / 2
    return Scored(np.stack([rest, signal, rest], axis=1), labels, {"mass": masses}, hgg.TASK)


def test_every_bin_of_mass_holds_enough_events_and_nothing_is_counted_twice():
    masses = 90 + np.random.default_rng(0).exponential(40, 5000)
    edges = decorrelation.bins(masses, 80, marked=125)
    counts = np.histogram(masses, edges)[0]
    assert counts.min() >= 80
    assert np.all(np.diff(edges) >= 5)
    assert np.all(edges % 5 == 0)
    assert edges[0] <= masses.min()
    assert counts.sum() > 0.9 * len(masses)


@pytest.mark.parametrize("masses", [np.full(30, 125.0), np.array([91.0])])
def test_few_or_equal_masses_have_a_bin(masses):
    edges = decorrelation.bins(masses, 20, marked=125)
    assert len(edges) >= 2
    assert edges[0] <= masses.min() <= edges[-1]


@pytest.mark.parametrize(("low", "high", "width"), [(90, 180, 5), (0, 1, 0.05), (0, 3000, 200), (7, 7, 1)])
def test_a_bin_is_a_round_number_wide(low, high, width):
    assert decorrelation.bin_width(low, high) == pytest.approx(width)


def test_each_column_of_the_map_adds_up_to_one_and_its_median_is_that_of_its_events():
    events = scored(0.5)
    scores, masses = (
        events.signal[events.of("gamma_gamma")],
        events.observables["mass"][events.of("gamma_gamma")],
    )
    made = decorrelation.score_map(scores, masses, marked=125)
    total = made.fraction.sum(axis=0)
    np.testing.assert_allclose(total, 1)
    inside = (masses >= made.observable[2]) & (masses < made.observable[3])
    assert made.quartiles[1, 2] == np.median(scores[inside])
    assert np.all(np.diff(made.quartiles, axis=0) >= 0)


def test_a_score_that_follows_the_mass_sculpts_a_peak_and_another_does_not():
    def ratio_at_125(follows_mass):
        events = scored(follows_mass)
        everything, *cuts = decorrelation.spectra(
            events, "gamma_gamma", "mass", np.array([90.0, 110, 120, 130, 150, 200])
        )
        fractions = [cut.counts / cut.counts.sum() for cut in (everything, *cuts)]
        assert [cut.efficiency for cut in cuts] == [0.7, 0.5, 0.3]
        return fractions[2][2] / fractions[0][2]

    assert ratio_at_125(0.9) > 3
    assert ratio_at_125(0.0) == pytest.approx(1, abs=0.2)


def test_a_cut_keeps_the_signal_that_it_is_called_by():
    events = scored(0.0)
    spectra = decorrelation.spectra(events, "h", "mass", np.array([0.0, 1000.0]))
    assert [s.counts[0] / spectra[0].counts[0] for s in spectra] == pytest.approx(
        [1, 0.7, 0.5, 0.3], abs=0.01
    )


def test_figures_name_their_axes_with_units_and_the_cvm(tmp_path):
    write_run(tmp_path)
    run = read_run(tmp_path)
    made = {picture.name: picture for picture in decorrelation.pictures([run])}
    labels = ("gamma_gamma", "gamma_jet")
    assert set(made) == {f"{kind}_{label}" for kind in ("score_mass", "mass_spectrum") for label in labels}
    value = f"{run.results['cvm']['value']:.4f}"
    for name, picture in made.items():
        axes = picture.figure.axes
        assert any("[GeV]" in one.get_xlabel() for one in axes)
        assert all(one.get_ylabel() for one in axes)
        texts = [text.get_text() for one in axes for text in one.texts]
        texts += [one.get_legend().get_title().get_text() for one in axes if one.get_legend()]
        assert any(value in text for text in texts) == ("gamma_gamma" in name)


def test_the_maps_legend_lies_above_the_highest_score():
    figure = decorrelation.draw_score_map(
        scored(0.3), "gamma_gamma", hgg.MASS, "fast simulation", {"value": 0.1, "uncertainty": 0.01}
    )
    figure.canvas.draw()
    axes = figure.axes[0]
    top = axes.transData.transform((0, axes.collections[0].get_coordinates()[-1, 0, 1]))[1]
    assert axes.get_legend().get_window_extent().y0 > top
    assert axes.texts[0].get_window_extent().y0 > top
    assert axes.texts[0].get_window_extent().x1 < axes.get_legend().get_window_extent().x0


def test_a_cut_that_leaves_nothing_is_said():
    events = scored(0.0, n=60)
    figure = decorrelation.draw_spectrum(events, "gamma_jet", hgg.MASS, "fast simulation")
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert any("too few" in text for text in texts)


@pytest.mark.parametrize("follows_mass", [0.0, 0.9])
def test_the_spectrums_legend_covers_no_line(follows_mass):
    events = scored(follows_mass)
    # A rising spectrum, the worst case.
    events = Scored(
        events.probabilities, events.labels, {"mass": 250 - events.observables["mass"] / 2}, events.task
    )
    figure = decorrelation.draw_spectrum(
        events, "gamma_gamma", hgg.MASS, "fast simulation", {"value": 0.1, "uncertainty": 0.01}
    )
    figure.canvas.draw()
    axes = figure.axes[0]
    box = axes.get_legend().get_window_extent()
    for patch in axes.patches:
        values, edges, _ = patch.get_data()
        highest = axes.transData.transform(np.stack([edges[1:], values], axis=-1))
        assert highest[highest[:, 0] > box.x0, 1].max() < box.y0
