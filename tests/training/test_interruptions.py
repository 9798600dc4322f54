"""A training that is asked to end loses no step; a restarted one rejects a changed config or dataset."""

import dataclasses
import os
import signal

import jax
import numpy as np
import pytest

from e2e_jax.commands import command_line
from e2e_jax.errors import TrainingError, WorkdirError
from e2e_jax.inference.loading import load_classifier
from e2e_jax.runs import checkpoint_files
from e2e_jax.runs.checkpoints import Checkpoints, host_copy, read_about
from e2e_jax.runs.folder import claim, saved_steps
from e2e_jax.studies import hgg
from e2e_jax.training import loop, stopping
from e2e_jax.training.progress import Progress
from tests.objects import dataset_in_memory, new_state
from tests.synthetic import image_config, kinematics_config
from tests.training.test_loop import rows, without_times

DATASET = {"train": "a", "validation": "b"}
STEPS = 5
"""Of an epoch."""


def train(config, workdir, **digests):
    return loop.train(config, workdir, dataclasses.replace(dataset_in_memory(), digests=DATASET | digests))


def ask_at(monkeypatch, number, *where):
    """Sends this process a signal as it adds the metrics of a step: (epoch, step), counted from 0."""
    add = Progress.add

    def add_and_ask(progress, metrics):
        if (progress.epoch, progress.steps) == where:
            os.kill(os.getpid(), number)
        add(progress, metrics)

    monkeypatch.setattr(Progress, "add", add_and_ask)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "where"),
    [(signal.SIGTERM, (0, 2)), (signal.SIGUSR1, (1, 0)), (signal.SIGTERM, (0, STEPS - 1))],
)
def test_a_signal_ends_the_training_after_the_step_and_nothing_is_lost(tmp_path, monkeypatch, number, where):
    config = kinematics_config(epochs=2, checkpoint_seconds=60.0)
    handlers = [signal.getsignal(number) for number in stopping.SIGNALS]
    with monkeypatch.context() as patch:
        ask_at(patch, number, *where)
        with pytest.raises(stopping.Stopped, match=rf"by {number.name}.*same command again"):
            train(config, tmp_path / "stopped")
    assert [signal.getsignal(number) for number in stopping.SIGNALS] == handlers
    progress = read_about(tmp_path / "stopped")["progress"]
    assert (len(progress["history"]), progress["steps"]) >= (where[0], where[1] + 1)
    for name in ("stopped", "whole"):
        train(config, tmp_path / name)
    stopped, whole = (load_classifier(tmp_path / name, "latest").params for name in ("stopped", "whole"))
    jax.tree.map(np.testing.assert_array_equal, stopped, whole)
    assert without_times(rows(tmp_path / "stopped")) == without_times(rows(tmp_path / "whole"))


def test_a_stopped_program_exits_as_one_that_sigterm_ended(capsys):
    def main(_):
        raise stopping.Stopped("The training was ended by SIGTERM.")

    with pytest.raises(SystemExit) as ended:
        command_line.reporting(main)([])
    assert ended.value.code == 143
    assert capsys.readouterr().err == "The training was ended by SIGTERM.\n"


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "validation"])
def test_another_dataset_is_refused_when_a_run_continues_or_is_evaluated(tmp_path, split):
    train(kinematics_config(epochs=1), tmp_path)
    before = read_about(tmp_path)
    other = {split: "of other events"}
    with pytest.raises(WorkdirError, match=rf"another dataset \({split} events"):
        train(kinematics_config(epochs=2), tmp_path, **other)
    with pytest.raises(WorkdirError, match=rf"another dataset \({split} events"):
        loop.evaluate_run(tmp_path, dataset=dataclasses.replace(dataset_in_memory(), digests=DATASET | other))
    assert read_about(tmp_path) == before


@pytest.mark.slow
def test_a_checkpoint_without_a_fingerprint_is_evaluated_and_that_is_told(tmp_path, capsys):
    loop.train(kinematics_config(epochs=1), tmp_path, dataset_in_memory())
    assert "no fingerprint of its dataset" in capsys.readouterr().err


def test_nothing_that_is_not_finite_is_saved(tmp_path):
    """The first step's loss is finite, its parameters are not."""
    config = kinematics_config(learning_rate=3e38)
    with pytest.raises(TrainingError, match="parameter_norm is not finite at step 1 of epoch 1"):
        train(config, tmp_path)
    assert saved_steps(tmp_path) == []
    state = host_copy(new_state(config))
    spoilt = state.replace(params=jax.tree.map(lambda leaf: leaf * np.float32(np.nan), state.params))
    with (
        Checkpoints(tmp_path, config, hgg.TASK, {}) as checkpoints,
        pytest.raises(TrainingError, match=r"state/params/.* is not finite at step 3"),
    ):
        checkpoints.save(3, spoilt, state.params, {"history": []})
    assert saved_steps(tmp_path) == []


def test_what_cannot_be_written_is_told_at_the_next_save(tmp_path):
    config = kinematics_config()
    claim(tmp_path, config)
    (tmp_path / "checkpoints").write_text("no folder")
    state = host_copy(new_state(config))
    checkpoints = Checkpoints(tmp_path, config, hgg.TASK, {})
    checkpoints.save(1, state, state.params, {"history": []})
    with pytest.raises(WorkdirError, match=r"cannot be written .* start the same command again"):
        checkpoints.save(2, state, state.params, {"history": []})
    checkpoints.__exit__(WorkdirError)


def test_the_first_checkpoint_is_read_back(tmp_path, monkeypatch):
    config = kinematics_config()
    claim(tmp_path, config)
    state = host_copy(new_state(config))
    write = checkpoint_files.write

    def write_another(folder, step, parts, about):
        write(folder, step, {**parts, "best": jax.tree.map(lambda leaf: leaf + 1, parts["best"])}, about)

    monkeypatch.setattr(checkpoint_files, "write", write_another)
    with Checkpoints(tmp_path, config, hgg.TASK, {}) as checkpoints:
        checkpoints.save(1, state, state.params, {"history": []})
        with pytest.raises(WorkdirError, match="'best' is not what was written"):
            checkpoints.wait()


@pytest.mark.slow
def test_the_state_may_change_while_it_is_saved(tmp_path):
    config = image_config()
    claim(tmp_path, config)
    state = host_copy(new_state(config))
    saved = host_copy(state)
    with Checkpoints(tmp_path, config, hgg.TASK, {}) as checkpoints:
        checkpoints.save(1, state, state.params, {"history": []})
        for leaf in jax.tree.leaves(state):
            leaf[...] = 0
        checkpoints.wait()
        restored, best, _ = checkpoints.restore(saved)
    jax.tree.map(np.testing.assert_array_equal, restored, saved)
    jax.tree.map(np.testing.assert_array_equal, best, saved.params)


@pytest.mark.slow
def test_a_shorter_interval_saves_more_often(tmp_path, monkeypatch):
    steps = []
    save = Checkpoints.save
    monkeypatch.setattr(
        Checkpoints, "save", lambda self, step, *rest: (steps.append(step), save(self, step, *rest))[1]
    )
    train(kinematics_config(epochs=1, checkpoint_seconds=3600.0), tmp_path / "rarely")
    train(kinematics_config(epochs=1, checkpoint_seconds=0.0), tmp_path / "often")
    assert steps == [STEPS, *range(1, STEPS + 1)]


def test_a_disk_without_room_for_a_checkpoint_is_told_and_nothing_is_left(tmp_path, monkeypatch):
    config = kinematics_config()
    claim(tmp_path, config)
    state = host_copy(new_state(config))
    monkeypatch.setattr(checkpoint_files, "ROOM", 10**18)
    with Checkpoints(tmp_path, config, hgg.TASK, {}) as checkpoints:
        checkpoints.save(1, state, state.params, {"history": []})
        with pytest.raises(WorkdirError, match=r"checkpoints/1 cannot be written \(.*No space left"):
            checkpoints.wait()
    assert list((tmp_path / "checkpoints").iterdir()) == []
