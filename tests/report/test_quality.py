import numpy as np
import pytest

from e2e_jax.report import quality
from e2e_jax.report.runs import read_run
from e2e_jax.report.scored import Scored
from e2e_jax.studies import hgg
from tests.report.evaluated_run import write_run


def test_the_confusion_matrix_counts_each_event_once():
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7]])
    scored = Scored(probabilities, np.array([0, 1, 1, 2]), {}, hgg.TASK)
    np.testing.assert_array_equal(quality.confusion(scored), [[1, 0, 0], [1, 1, 0], [0, 0, 1]])


def test_labels_of_one_class_are_one_row_and_those_left_out_none():
    task = hgg.TASK.changed(classes=("background=gamma_gamma", "h"))
    scored = Scored(np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]]), np.array([0, 1, 2]), {}, task)
    np.testing.assert_array_equal(quality.confusion(scored), [[1, 0], [0, 1]])


def test_a_true_probability_is_reliable_and_a_sharpened_one_is_not():
    random = np.random.default_rng(0)
    probability = random.random(40_000)
    is_true = random.random(40_000) < probability
    good = quality.reliability(probability, is_true)
    assert good.calibration_error < 0.01
    assert np.all(abs(good.predicted - good.observed) < 5 * good.error)
    sharp = quality.reliability(np.clip(2 * probability - 0.5, 0, 1), is_true)
    assert sharp.calibration_error > 0.05


def test_the_curve_of_few_events_has_errors():
    made = quality.reliability(np.array([0.1, 0.9, 0.5]), np.array([False, True, True]))
    assert len(made.predicted) == 3
    assert np.all(made.error > 0.2)


@pytest.mark.parametrize("epochs", [1, 3])
def test_training_curves_count_whole_epochs_and_mark_the_chosen_one(tmp_path, epochs):
    write_run(tmp_path, epochs=epochs)
    figure = quality.draw_training(read_run(tmp_path))
    figure.canvas.draw()
    assert [axes.get_ylabel() for axes in figure.axes] == ["Cross-entropy", "ROC AUC vs rest", "CVM"]
    low, high = figure.axes[2].get_xlim()
    ticks = [tick for tick in figure.axes[2].get_xticks() if low <= tick <= high]
    assert ticks == list(range(1, epochs + 1))
    for axes in figure.axes:
        box = axes.get_legend().get_window_extent()
        for line in axes.get_lines()[: len(axes.get_legend().get_texts())]:
            x, y = line.get_data()
            if len(x) == epochs:
                assert not any(
                    box.contains(*point) for point in axes.transData.transform(np.stack([x, y], axis=-1))
                )


def test_without_epochs_there_are_no_training_curves(tmp_path):
    write_run(tmp_path)
    assert [picture.name for picture in quality.pictures(read_run(tmp_path))] == [
        "training",
        "confusion",
        "calibration",
    ]
    (tmp_path / "metrics.jsonl").unlink()
    assert [picture.name for picture in quality.pictures(read_run(tmp_path))] == ["confusion", "calibration"]
