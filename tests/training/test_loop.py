"""A step is a pure function of (state, batch) on any number of devices; a killed run can be resumed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from e2e_jax.datasets.batches import Sampling, epoch_batches
from e2e_jax.devices import parallel
from e2e_jax.errors import TrainingError, WorkdirError
from e2e_jax.evaluation.selection import best_epoch
from e2e_jax.inference.loading import load_classifier
from e2e_jax.report.board import Board
from e2e_jax.runs.checkpoints import host_copy
from e2e_jax.studies import hgg
from e2e_jax.training import loop
from tests.objects import dataset_in_memory, new_state, parallel_step
from tests.synthetic import (
    CONFIGS,
    dropout_config,
    high_level_config,
    image_config,
    kinematics_config,
    sample,
)

TIMES = ("seconds", "events_per_second")


SPLITS = dataset_in_memory()


def train(config, workdir):
    return loop.train(config, workdir, SPLITS)


def rows(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def without_times(history_rows):
    return [{name: value for name, value in row.items() if name not in TIMES} for row in history_rows]


def some_steps(config, devices, steps=20):
    """Losses of the first steps, and the parameters after them."""
    made = parallel_step(config, devices)
    state = made.place(host_copy(new_state(config)))
    batches = epoch_batches(sample(4 * steps), hgg.TASK, Sampling(config.train.batch_size))
    losses = []
    for _, batch in zip(range(steps), batches, strict=True):
        state, metrics = made.step(state, batch)
        assert metrics["cvm_penalty"] > 0
        losses.append(float(metrics["loss"]))
    return losses, host_copy(state.params), len(made.devices)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make_config", "reduction"),
    [
        *((kinematics_config, "sum"), (kinematics_config, "mean"), (image_config, "mean")),
        (high_level_config, "mean"),
        # The same neurons are dropped, however the batch is spread.
        (dropout_config, "mean"),
    ],
)
def test_four_devices_give_one_devices_loss(make_config, reduction):
    config = make_config()
    config.decorrelation.reduction = reduction
    alone, params, _ = some_steps(config, jax.devices()[:1])
    for way in parallel.WAYS:
        config.parallel = way
        losses, others, devices = some_steps(config, jax.devices()[:4])
        assert devices == 4
        np.testing.assert_allclose(losses, alone, rtol=1e-5)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), others, params)


@pytest.mark.slow
def test_dropout_goes_on_from_a_saved_state_as_if_it_had_never_stopped():
    config = dropout_config()
    made = parallel_step(config)
    batches = list(epoch_batches(sample(20), hgg.TASK, Sampling(12)))[:4]

    def after(state, batches):
        state = made.place(state)
        for batch in batches:
            state, _ = made.step(state, batch)
        return host_copy(state)

    start = host_copy(new_state(config))
    whole = after(start, batches)
    jax.tree.map(np.testing.assert_array_equal, after(after(start, batches[:2]), batches[2:]), whole)
    other = after(start.replace(key=start.key + 1), batches)
    assert not np.array_equal(other.params["head"]["kernel"], whole.params["head"]["kernel"])


def test_uses_as_many_devices_as_divide_the_batch():
    assert [parallel.mesh(size, jax.devices()[:4]).size for size in (360, 6, 7, 1)] == [4, 3, 1, 1]


def test_an_unknown_way_is_named():
    config = kinematics_config()
    config.parallel = "threads"
    with pytest.raises(ValueError, match="is 'threads'; it is one of jit, pmap"):
        some_steps(config, jax.devices()[:1])


@pytest.mark.slow
def test_the_step_never_touches_the_callers_copy_of_the_state():
    config = kinematics_config()
    state = host_copy(new_state(config))
    before = host_copy(state)
    made = parallel_step(config)
    batch = next(iter(epoch_batches(sample(20), hgg.TASK, Sampling(12))))
    made.step(made.place(state), batch)
    jax.tree.map(np.testing.assert_array_equal, state, before)


@pytest.mark.slow
def test_learns_and_writes_everything(tmp_path):
    config = kinematics_config(epochs=4, learning_rate=0.02)
    results = loop.train(config, tmp_path, SPLITS, Board)
    done = rows(tmp_path)
    assert [row["epoch"] for row in done] == [1, 2, 3, 4]
    assert done[-1]["train_cross_entropy"] < done[0]["train_cross_entropy"]
    assert all(row["events_per_second"] > 0 and np.isfinite(row["validation_cross_entropy"]) for row in done)
    assert results == json.loads((tmp_path / "results.json").read_text())
    best = best_epoch(done, config.cvm.limit, hgg.TASK)
    assert results["epoch"] == done[best.index]["epoch"]
    assert results["epoch_selection"] == best.rule
    assert results["auc_vs_rest"]["h"]["value"] == pytest.approx(done[best.index]["auc_h"], abs=1e-6)
    assert results["events"] == {"train": 60, "validation": 60}
    assert (tmp_path / "scores.parquet").exists()
    assert list((tmp_path / "tensorboard").iterdir())


@pytest.mark.slow
def test_a_finished_run_is_evaluated_and_not_trained_again(tmp_path, capsys):
    config = kinematics_config(epochs=1)
    first = train(config, tmp_path)
    before = rows(tmp_path)
    second = train(config, tmp_path)
    assert "is finished" in capsys.readouterr().err
    assert rows(tmp_path) == before
    assert second["auc_vs_rest"] == first["auc_vs_rest"]


@pytest.mark.slow
def test_more_epochs_continue_a_finished_run_as_if_it_had_never_stopped(tmp_path):
    train(kinematics_config(epochs=1), tmp_path / "extended")
    for name in ("extended", "whole"):
        train(kinematics_config(epochs=2), tmp_path / name)
    extended, whole = (load_classifier(tmp_path / name, "latest").params for name in ("extended", "whole"))
    jax.tree.map(np.testing.assert_array_equal, extended, whole)
    assert without_times(rows(tmp_path / "extended")) == without_times(rows(tmp_path / "whole"))


@pytest.mark.slow
def test_a_workdir_of_another_config_is_left_alone(tmp_path):
    train(kinematics_config(epochs=1), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(WorkdirError, match=r"train\.learning_rate: 0\.0005 there, 0\.1 asked for.*--workdir"):
        train(kinematics_config(epochs=1, learning_rate=0.1), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_the_training(tmp_path):
    with pytest.raises(TrainingError, match=r"not finite at step \d+ of epoch 1.*learning_rate"):
        train(kinematics_config(learning_rate=1e30), tmp_path)


RUN = """
import os, signal, sys
import jax
jax.config.update("jax_num_cpu_devices", 4)
from e2e_jax.training import loop
from e2e_jax.training.progress import Progress
from tests.objects import dataset_in_memory
from tests.synthetic import CONFIGS

add = Progress.add

def deadly_add(progress, metrics):
    if (progress.epoch, progress.steps) == DEATH:
        os.kill(os.getpid(), signal.SIGKILL)
    add(progress, metrics)

workdir, name, placement, death = sys.argv[1:]
DEATH = eval(death)
Progress.add = deadly_add
config = CONFIGS[name](epochs=2)
config.data.placement = placement
loop.train(config, workdir, dataset_in_memory())
"""


def run(workdir, config, placement, death):
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", RUN, str(workdir), config, placement, repr(death)]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "placement", "deaths"),
    [
        # Before the first checkpoint, within the first epoch and within the second, between saved steps.
        ("kinematics", "device", ((0, 1), (0, 4), (1, 4))),
        ("image", "stream", ((1, 4),)),
        ("high_level", "device", ((0, 4),)),
    ],
)
def test_killed_in_mid_epoch_and_started_again_gives_the_same_bits(tmp_path, config, placement, deaths):
    for death in deaths:
        assert run(tmp_path / "killed", config, placement, death).returncode == -9
    finished = run(tmp_path / "killed", config, placement, None)
    assert finished.returncode == 0, finished.stderr
    assert "Going on" in finished.stderr
    uninterrupted = CONFIGS[config](epochs=2)
    uninterrupted.data.placement = placement
    train(uninterrupted, tmp_path / "whole")
    for which in ("latest", "best"):
        whole, killed = (load_classifier(tmp_path / name, which).params for name in ("whole", "killed"))
        jax.tree.map(np.testing.assert_array_equal, killed, whole)
    assert without_times(rows(tmp_path / "killed")) == without_times(rows(tmp_path / "whole"))
