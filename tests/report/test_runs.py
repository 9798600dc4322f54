import json

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from e2e_jax.errors import WorkdirError
from e2e_jax.report.runs import read_run, read_runs
from tests.report.evaluated_run import DATASET, write_run


@pytest.fixture
def folder(tmp_path):
    write_run(tmp_path / "run")
    return tmp_path / "run"


def change_results(folder, **parts):
    path = folder / "results.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | parts))


def change_scores(folder, change):
    """Writes the scores again after `change` of their columns."""
    columns = pyarrow.parquet.read_table(folder / "scores.parquet").to_pydict()
    columns = {name: np.array(values) for name, values in columns.items()}
    pyarrow.parquet.write_table(pyarrow.table(change(columns)), folder / "scores.parquet")


def test_a_run_is_what_its_folder_holds(tmp_path):
    events = write_run(tmp_path / "run", "eb_mass_aware")
    run = read_run(tmp_path / "run")
    assert (run.name, run.origin, run.table) == ("EB mass-aware", "fast simulation", ("table_6",))
    np.testing.assert_array_equal(run.scored.labels, events.label)
    np.testing.assert_allclose(run.scored.probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(run.address[:, 2], events.event)
    assert [row["epoch"] for row in run.history] == [1, 2, 3]


def test_runs_of_one_classifier_are_named_by_their_folders(tmp_path):
    for name in ("first", "second"):
        write_run(tmp_path / name)
    write_run(tmp_path / "third", "eb")
    runs = read_runs([tmp_path / name for name in ("first", "second", "third")])
    assert [run.name for run in runs] == ["CMS-B (first)", "CMS-B (second)", "EB"]
    assert runs[0].same_events(runs[2])


def test_other_events_are_noticed_whatever_their_order(tmp_path):
    for name in ("here", "sorted", "fewer"):
        write_run(tmp_path / name, per_class=100 if name == "fewer" else 150)
    change_scores(tmp_path / "sorted", lambda columns: {k: v[::-1] for k, v in columns.items()})
    here, reordered, fewer = read_runs([tmp_path / name for name in ("here", "sorted", "fewer")])
    assert here.same_events(reordered)
    assert not here.same_events(fewer)


def set_probability(value):
    def change(columns):
        columns["probability_h"][7] = value
        return columns

    return change


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda f: [(f / name).unlink() for name in ("results.json", "config.json")],
            ["neither results.json nor config.json", "{folder}"],
        ),
        (
            lambda f: (f / "config.json").write_text("{}") and (f / "results.json").unlink(),
            ["--mode=evaluate"],
        ),
        (
            lambda f: (f / "results.json").write_text('{"config"'),
            ["results.json cannot be read", "--mode=evaluate"],
        ),
        (lambda f: (f / "results.json").write_text("[]"), ["results.json has no 'config'"]),
        (lambda f: change_results(f, task={"signal": "h", "labels": ["a", "b"]}), ["task", "signal is 'h'"]),
        (
            lambda f: change_results(f, provenance={"packages": {"e2e_jax": "99.0"}}),
            ["written by e2e_jax 99.0", "Update e2e_jax"],
        ),
        (lambda f: (f / "scores.parquet").unlink(), ["no scores.parquet", "--mode=evaluate"]),
        (lambda f: (f / "scores.parquet").write_bytes(b"PAR1"), ["scores.parquet cannot be read"]),
        (
            lambda f: change_scores(f, set_probability(np.nan)),
            ["probability_h of event 7 is nan", "1 of 450"],
        ),
        (lambda f: change_scores(f, set_probability(np.inf)), ["probability_h of event 7 is inf"]),
        (
            lambda f: change_scores(
                f, lambda c: {k: v for k, v in c.items() if k != "probability_gamma_jet"}
            ),
            ["no column probability_gamma_jet", "it has probability_gamma_gamma"],
        ),
        (
            lambda f: change_scores(f, lambda c: {k: v[c["label"] != 2] for k, v in c.items()}),
            ["a class has no events", "gamma_jet: 0"],
        ),
        (
            lambda f: change_scores(f, lambda c: {k: v[:-3] for k, v in c.items()}),
            ["447 events", "450 events"],
        ),
        (lambda f: change_scores(f, set_probability(0.0001)), ["different evaluations", "AUC"]),
        (
            lambda f: (f / "metrics.jsonl").write_text('{"epoch": 1}\n{"epo'),
            ["metrics.jsonl, line 2", "remove the file"],
        ),
    ],
)
def test_what_cannot_be_reported_is_named_with_the_way_out(folder, spoil, words):
    spoil(folder)
    with pytest.raises(WorkdirError) as raised:
        read_run(folder)
    message = str(raised.value)
    assert str(folder) in message
    assert all(word.format(folder=folder) in message for word in words), message


def test_a_folder_that_does_not_exist_or_comes_twice(folder):
    with pytest.raises(WorkdirError, match="no run in /nowhere"):
        read_runs([folder, "/nowhere"])
    with pytest.raises(WorkdirError, match="given twice"):
        read_runs([folder, folder.parent / "run"])


def test_a_dataset_may_say_nothing_of_itself(tmp_path):
    write_run(tmp_path, dataset={"name": DATASET["name"]})
    run = read_run(tmp_path)
    assert run.origin == "cms_hgg/quick"
