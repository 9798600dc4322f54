import numpy as np
import pytest

from e2e_jax.display.reading import Found
from e2e_jax.errors import DatasetError
from e2e_jax.report import events
from e2e_jax.report.runs import read_run
from e2e_jax.studies import hgg
from tests.report.evaluated_run import BINARY, write_run


@pytest.fixture
def run_and_events(tmp_path):
    sample = write_run(tmp_path)
    return read_run(tmp_path), sample


def serve(monkeypatch, sample, asked=None):
    """Lets the report read its events from `sample`."""

    def read_events(name, rows, split, data_dir=""):
        if asked is not None:
            asked.append(len(rows))
        return Found(sample[list(rows)], "fast simulation", hgg.TASK)

    monkeypatch.setattr(events, "read_events", read_events)


def test_the_chosen_are_the_most_typical_of_each_label_and_the_most_mistaken(run_and_events):
    run, _ = run_and_events
    chosen = {one.name: one.row for one in events.choose(run.scored)}
    assert list(chosen) == [
        *("event_most_h_like", "event_most_typical_gamma_gamma", "event_most_typical_gamma_jet"),
        "event_most_mistaken",
    ]
    probabilities, labels = run.scored.probabilities, run.scored.labels
    row = chosen["event_most_h_like"]
    assert labels[row] == 1
    assert probabilities[row, 1] == probabilities[labels == 1, 1].max()
    own = probabilities[np.arange(len(labels)), labels]
    assert own[chosen["event_most_mistaken"]] == own.min()


def test_labels_that_a_classifier_leaves_out_are_not_shown(tmp_path):
    write_run(tmp_path, "mine", classes=BINARY)
    chosen = events.choose(read_run(tmp_path).scored)
    assert len(chosen) == 4
    assert "background" in chosen[-1].title or "H" in chosen[-1].title


def test_only_the_events_shown_are_read(run_and_events, monkeypatch):
    run, sample = run_and_events
    asked = []
    serve(monkeypatch, sample, asked)
    found, origin = events.find(run, events.choose(run.scored))
    rows = [one.row for one in events.choose(run.scored)]
    np.testing.assert_array_equal(found.event, sample.event[rows])
    assert (asked, origin) == ([4], "fast simulation")


def test_events_are_found_again_in_another_order(run_and_events, monkeypatch):
    run, sample = run_and_events
    serve(monkeypatch, sample[np.random.default_rng(0).permutation(len(sample))])
    found, _ = events.find(run, events.choose(run.scored))
    np.testing.assert_array_equal(found.event, run.address[[one.row for one in events.choose(run.scored)], 2])


def test_an_absent_dataset_and_another_build_of_it_are_said(run_and_events, monkeypatch):
    run, sample = run_and_events

    def absent(*arguments, **options):
        raise DatasetError("no dataset of this name")

    monkeypatch.setattr(events, "read_events", absent)
    with pytest.raises(events.NotFound, match=r"cannot be read.*no dataset of this name"):
        events.pictures(run)
    other = sample[np.arange(len(sample))]
    object.__setattr__(other, "event", sample.event + 1_000_000)
    serve(monkeypatch, other)
    with pytest.raises(events.NotFound, match=r"does not hold event 1:1:.*another build"):
        events.pictures(run)
