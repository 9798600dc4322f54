"""Two processes train like one. If one dies, the other ends too, and the checkpoint is intact."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from e2e_jax.devices import distributed, parallel
from e2e_jax.inference.loading import load_classifier
from e2e_jax.runs.checkpoints import read_about
from e2e_jax.training import loop, stopping
from tests.objects import dataset_in_memory
from tests.synthetic import image_config, kinematics_config, sample

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
STEPS = 20
PATIENCE = 600
"""Seconds for processes that take ten on a quiet machine."""

PROCESS = """
import os, signal, sys
import jax
jax.config.update("jax_num_cpu_devices", 2)
from e2e_jax.devices import distributed
from e2e_jax.training import loop, stopping
from e2e_jax.training.progress import Progress
from tests.devices.test_distributed import DATASET, config_of

coordinator, process, death, *runs = sys.argv[1:]
distributed.join(coordinator, 2, int(process))
add = Progress.add

def deadly_add(progress, metrics):
    if process == death and progress.epoch == 1 and progress.steps == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    add(progress, metrics)

Progress.add = deadly_add
with distributed.dying_together():
    for run in runs:
        workdir, place, way, epochs, sees = run.split(",")
        try:
            loop.train(config_of(place, way, int(epochs), sees), workdir, DATASET)
        except stopping.Stopped:
            sys.exit(stopping.EXIT_CODE)
"""


DATASET = dataset_in_memory(validation=sample(21, seed=2))


def config_of(place, way, epochs, sees="kinematics", devices=0):
    config = {"kinematics": kinematics_config, "images": image_config}[sees](epochs=epochs)
    if sees == "images":
        config.model.widths = (16, 32)  # those that a CPU computes by our own C++
    config.data.placement, config.parallel, config.devices = place, way, devices
    return config


@contextlib.contextmanager
def two_processes(runs, death="none"):
    """Two processes of two devices each that do some runs: (folder, placement, way, epochs, what it sees)."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with socket.socket() as free:
        free.bind(("localhost", 0))
        coordinator = f"localhost:{free.getsockname()[1]}"
    runs = [",".join(map(str, run)) for run in runs]
    commands = [
        [sys.executable, "-c", PROCESS, coordinator, str(process), str(death), *runs] for process in range(2)
    ]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, cwd=ROOT, env=environment, **pipes) for command in commands]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.fixture
def alone():
    """Trains in this process on one device: (folder, epochs) -> folder."""

    def run(workdir, epochs, sees="kinematics"):
        loop.train(config_of("stream", "jit", epochs, sees, devices=1), workdir, DATASET)
        return workdir

    return run


def losses(workdir):
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [(row["train_loss"], row["validation_cross_entropy"]) for row in rows]


def test_two_processes_train_as_one_does_and_go_on_where_it_stopped(tmp_path, alone):
    expected = alone(tmp_path / "one", 4)
    begun_alone = alone(tmp_path / "begun alone", 2)
    runs = [
        (tmp_path / "device jit", "device", "jit", 4, "kinematics"),
        (tmp_path / "stream pmap", "stream", "pmap", 4, "kinematics"),
        (begun_alone, "stream", "jit", 4, "kinematics"),
        (tmp_path / "begun together", "device", "pmap", 2, "kinematics"),
    ]
    with two_processes(runs) as processes:
        outputs = [process.communicate(timeout=PATIENCE) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert "on 4 of 4 devices in 2 processes" in outputs[0][1]
    assert "H vs rest" in outputs[0][0]
    # The second is silent, but for the library that connects them, whose threads may print into one line.
    own = [line for line in outputs[1][0].splitlines() if "[Gloo]" not in line and "peer ranks" not in line]
    assert own == []
    assert "Epoch" not in outputs[1][1]
    alone(tmp_path / "begun together", 4)
    whole = load_classifier(expected, "latest").params
    for workdir, *_ in runs:
        np.testing.assert_allclose(losses(workdir), losses(expected), rtol=1e-5)
        params = load_classifier(workdir, STEPS).params
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), params, whole)
        results, others = (json.loads((path / "results.json").read_text()) for path in (workdir, expected))
        assert results["auc_vs_rest"] == others["auc_vs_rest"]


def test_two_processes_train_the_image_network_as_one_does(tmp_path, alone):
    whole = load_classifier(alone(tmp_path / "one", 1, "images"), "latest").params
    ways = {"jit": "device", "pmap": "stream"}
    runs = [(tmp_path / way, place, way, 1, "images") for way, place in ways.items()]
    with two_processes(runs) as processes:
        outputs = [process.communicate(timeout=PATIENCE) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    for workdir, *_ in runs:
        np.testing.assert_allclose(losses(workdir), losses(tmp_path / "one"), rtol=1e-5)
        params = load_classifier(workdir, "latest").params
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), params, whole)


@pytest.mark.parametrize("dying", [0, 1])
def test_where_a_process_dies_the_other_ends_and_the_checkpoint_is_whole(tmp_path, alone, dying):
    with two_processes([(tmp_path / "run", "stream", "jit", 3, "kinematics")], death=dying) as processes:
        assert processes[dying].wait(timeout=PATIENCE) == -9
        died = time.monotonic()
        _, errors = processes[1 - dying].communicate(timeout=PATIENCE)
    assert time.monotonic() - died < 60
    assert processes[1 - dying].returncode != 0
    assert "lost another one" in errors or "another task died" in errors, errors
    assert load_classifier(tmp_path / "run", "latest").params
    # What one process goes on with, two would have.
    assert len(losses(alone(tmp_path / "run", 3))) == 3


@pytest.mark.parametrize("place", ["stream", "device"])
def test_a_signal_to_all_processes_ends_all_with_a_checkpoint(tmp_path, alone, place):
    workdir, epochs = tmp_path / "run", 100_000
    with two_processes([(workdir, place, "jit", epochs, "kinematics")]) as processes:
        end = time.monotonic() + PATIENCE
        while not (workdir / "metrics.jsonl").exists() or not losses(workdir):
            assert time.monotonic() < end
            time.sleep(0.05)
        for process in processes:
            process.send_signal(signal.SIGTERM)
        outputs = [process.communicate(timeout=PATIENCE) for process in processes]
    assert [process.returncode for process in processes] == [stopping.EXIT_CODE] * 2, outputs
    about = read_about(workdir)
    done = len(about["progress"]["history"])
    assert done < epochs
    # What one process goes on with, two would have.
    assert len(losses(alone(workdir, done + 1))) == done + 1


def test_what_does_not_fit_together_is_named():
    with pytest.raises(ValueError, match=r"--coordinator=HOST:PORT, --processes=N and .* go together"):
        distributed.join("localhost:1", 2)
    with pytest.raises(ValueError, match=r"--process is 2, but 2 processes count from 0 to 1"):
        distributed.join("localhost:1", 2, 2)


def test_processes_that_do_not_find_each_other_say_what_they_need(monkeypatch):
    def initialize(*_, **__):
        raise RuntimeError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    with pytest.raises(ValueError, match=r"did not find each other: coordinator_address .*HOST:PORT"):
        distributed.join()


def test_one_process_keeps_everything_to_itself():
    made = {"a": 1}
    assert distributed.first()
    assert distributed.of_first(lambda: made) is made
    assert distributed.divided(list, [1, 2]) == [1, 2]
    assert distributed.share(12) == slice(0, 12)


def test_arrays_go_to_other_processes_as_plain_bytes():
    tree = {
        "kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
        "step": np.int32(7),
        "half": np.ones(3, jax.numpy.bfloat16),
        "none": np.zeros((0, 2)),
    }
    like = jax.eval_shape(lambda: tree)
    like["none"] = np.zeros((0, 2))
    back = distributed.from_bytes(distributed.to_bytes(tree, like), like)
    for name, array in tree.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype
    with pytest.raises(ValueError, match="differ in shape or type"):
        distributed.to_bytes(tree | {"step": np.int64(7)}, like)


def test_what_the_first_process_raises_is_raised_in_all(tmp_path):
    there = tmp_path / "run"
    there.mkdir()
    (there / "notes.txt").touch()
    with two_processes([(there, "stream", "jit", 1, "kinematics")]) as processes:
        outputs = [process.communicate(timeout=PATIENCE) for process in processes]
    assert [process.returncode for process in processes] == [1, 1]
    assert all("so it is not a run of this program" in errors for _, errors in outputs)


class Device:
    """What `parallel.mesh` asks of a device."""

    def __init__(self, process_index):
        self.process_index = process_index


def test_each_process_gives_as_many_devices_and_a_whole_share_of_the_batch():
    devices = [Device(process) for process in (0, 0, 0, 1, 1, 1)]
    for batch, owners in ((36, [0, 0, 0, 1, 1, 1]), (8, [0, 0, 1, 1]), (2, [0, 1])):
        assert [d.process_index for d in parallel.mesh(batch, devices).devices.flat] == owners
    with pytest.raises(ValueError, match=r"batch of 9 .* 2 processes: set config\.train\.batch_size"):
        parallel.mesh(9, devices)
