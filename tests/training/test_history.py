"""Choice of the best epoch, and early stopping."""

import json

import pytest

from e2e_jax.evaluation import selection
from e2e_jax.evaluation.selection import best_epoch
from e2e_jax.studies import hgg
from e2e_jax.study import Task
from e2e_jax.training.progress import Progress, write_metrics

LIMIT = 0.002


def rows(*pairs):
    return [{"auc_h": auc, "cvm": cvm} for auc, cvm in pairs]


@pytest.mark.parametrize(
    ("pairs", "index"),
    [
        ([(0.6, 0.001), (0.8, 0.0019), (0.9, 0.0021)], 1),
        ([(0.8, 0.001), (0.8, 0.0015)], 0),
        ([(0.7, 0.05), (0.5, 0.001)], 1),
    ],
)
def test_best_is_the_highest_auc_below_the_limit(pairs, index):
    best = best_epoch(rows(*pairs), LIMIT, hgg.TASK)
    assert best.index == index
    assert best.rule == "best AUC of H vs rest among the epochs with CVM < 0.002"


def test_where_no_epoch_keeps_the_limit_an_excess_costs_and_the_rule_says_so():
    best = best_epoch(rows((0.5, 0.0021), (0.8, 0.003), (0.9, 0.08)), LIMIT, hgg.TASK)
    assert best.index == 1
    assert best.rule.startswith("no epoch has CVM < 0.002")


def test_a_limit_of_one_admits_every_epoch():
    assert best_epoch(rows((0.7, 0.01), (0.9, 0.1)), 1.0, hgg.TASK) == (
        1,
        "best AUC of H vs rest among the epochs with CVM < 1",
    )


def test_progress_is_a_new_best_by_the_selection_or_by_the_auc():
    assert selection.epochs_without_progress([], LIMIT, hgg.TASK) == 0
    assert (
        selection.epochs_without_progress(rows((0.5, 0.001), (0.7, 0.01), (0.8, 0.01)), LIMIT, hgg.TASK) == 0
    )
    assert (
        selection.epochs_without_progress(rows((0.5, 0.001), (0.9, 0.01), (0.6, 0.001)), LIMIT, hgg.TASK) == 0
    )
    assert (
        selection.epochs_without_progress(rows((0.8, 0.001), (0.8, 0.001), (0.7, 0.0005)), LIMIT, hgg.TASK)
        == 2
    )


def test_stops_at_the_last_epoch_or_when_patience_ends():
    def finished(history):
        return selection.finished(history, hgg.TASK, LIMIT, epochs=9, patience=2)

    assert not finished([])
    assert not finished(rows((0.8, 0.001), (0.7, 0.001)))
    assert finished(rows((0.8, 0.001), (0.7, 0.001), (0.75, 0.001)))
    assert finished(rows(*[(0.5 + 0.01 * i, 0.001) for i in range(9)]))


def test_without_a_decorrelation_the_best_epoch_is_by_area_alone():
    task = Task(signal="b", labels=("a", "b", "c"), titles={"b": "B"})
    history = [{"auc_b": area} for area in (0.6, 0.8, 0.8, 0.7)]
    assert best_epoch(history, 1.0, task) == (1, "best AUC of B vs rest")
    assert selection.epochs_without_progress(history, 1.0, task) == 2


def test_sums_that_went_through_json_go_on_exactly():
    whole, resumed = Progress(), Progress()
    for step in range(10):
        for progress in (whole, resumed):
            progress.add({"loss": 0.1 * step})
        resumed = Progress(**json.loads(json.dumps(vars(resumed))))
    assert resumed.means() == whole.means()


def test_metrics_are_written_whole(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for count in (1, 2):
        write_metrics(path, rows((0.5, 0.001), (0.6, 0.001))[:count])
        assert len([json.loads(line) for line in path.read_text().splitlines()]) == count
    assert [item.name for item in tmp_path.iterdir()] == ["metrics.jsonl"]
