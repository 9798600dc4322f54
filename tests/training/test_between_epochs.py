"""Saving and drawing run in parallel with the training; the validation sample is prepared once."""

import threading

import numpy as np
import pytest

from e2e_jax.devices import placement
from e2e_jax.inference.prediction import Predictor
from e2e_jax.report.board import Board
from e2e_jax.runs import checkpoint_files
from e2e_jax.training import loop
from e2e_jax.training.progress import Progress
from e2e_jax.training.validation import Validation
from tests.objects import dataset_in_memory, new_state, predictor_of, run_of
from tests.synthetic import image_config, kinematics_config, sample

LONGEST_SECONDS = 60
"""How long a test waits for what never comes where it fails."""


def params_of(config):
    return new_state(config).params


@pytest.mark.slow
@pytest.mark.parametrize(("owner", "name"), [(checkpoint_files, "write"), (Board, "_draw")])
def test_the_next_epoch_trains_while_the_last_one_is_saved_and_drawn(tmp_path, monkeypatch, owner, name):
    """The saving, or the drawing, of the first epoch ends only after a step of the second one."""
    begun, met = threading.Event(), []
    work, add = getattr(owner, name), Progress.add

    def add_and_tell(progress, metrics):
        if progress.epoch == 1:
            begun.set()
        add(progress, metrics)

    def wait_and_work(*arguments):
        met.append(begun.wait(LONGEST_SECONDS))
        work(*arguments)

    monkeypatch.setattr(Progress, "add", add_and_tell)
    monkeypatch.setattr(owner, name, wait_and_work)
    config = kinematics_config(epochs=2, checkpoint_seconds=3600.0)
    loop.train(config, tmp_path, dataset_in_memory(), Board)
    assert met == [True, True]


@pytest.mark.slow
@pytest.mark.parametrize("fits", [True, False])
def test_validation_batches_are_made_once_where_they_fit(monkeypatch, fits):
    config, events, made = image_config(), sample(20, seed=2), []
    expected = predictor_of(config)(params_of(config), events)
    batches = Predictor.batches

    def counted(self, events):
        made.append(len(events))
        return batches(self, events)

    monkeypatch.setattr(placement, "fits", lambda size, devices: fits)
    monkeypatch.setattr(Predictor, "batches", counted)
    validation = Validation(events, run_of(config))
    before = len(made)
    for _ in range(3):
        np.testing.assert_array_equal(validation.predict(params_of(config)), expected)
    assert len(made) - before == (0 if fits else 3)


def test_an_end_that_is_asked_for_ends_a_validation():
    def stop():
        raise InterruptedError

    config = kinematics_config()
    with pytest.raises(InterruptedError):
        Validation(sample(20), run_of(config), stop).predict(params_of(config))
