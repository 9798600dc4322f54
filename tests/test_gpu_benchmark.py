"""The GPU program runs anywhere at tiny sizes, and its programs can be compiled for a GPU."""

import json
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks import gpu, gpu_epochs, gpu_parts, synthetic_events
from e2e_jax.models import backend

ROOT = Path(__file__).resolve().parents[1]

HIDE = """
import importlib.machinery, runpy, sys
ABSENT = {absent}
find = importlib.machinery.PathFinder.find_spec

class Hidden(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in ABSENT else find(name, path, target)

sys.meta_path[:] = [Hidden if f is importlib.machinery.PathFinder else f for f in sys.meta_path]
sys.argv = {argv}
runpy.run_path(sys.argv[0], run_name="__main__")
"""
ABSENT = ("tensorflow", "tensorflow_datasets", "uproot", "grain", "pyarrow", "pythia8mc", "array_record")


@pytest.fixture
def bench():
    return gpu_parts.Bench(gpu_parts.TINY)


@pytest.mark.slow
def test_the_program_needs_no_dataset_package_and_writes_each_row(tmp_path):
    file = tmp_path / "gpu.json"
    argv = [str(ROOT / "benchmarks/gpu.py"), "--tiny", "--only", "images", "forward", f"--json={file}"]
    code = HIDE.format(absent=ABSENT, argv=argv)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    results = json.loads(file.read_text())
    assert not [row for row in results["rows"] if "error" in row]
    assert {row["part"] for row in results["rows"]} == {"images", "forward"}
    assert all(row["what"] in done.stdout for row in results["rows"])
    assert results["machine"]["versions"]["jax"] == jax.__version__


@pytest.mark.slow
@pytest.mark.parametrize(
    "part", [gpu_parts.machine, gpu_parts.step, gpu_epochs.seeds, gpu_epochs.epochs, gpu_epochs.training]
)
def test_each_part_measures_something_positive(bench, part):
    rows = list(part(bench))
    assert rows
    assert not [row for row in rows if "error" in row]
    assert all(row["value"] > 0 for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["step", "forward", "images", "seeds"])
def test_the_programs_lower_for_cuda(bench, name):
    config, hits = bench.config("bfloat16"), bench.hits(6)
    of_seeds = bench.hits(6, group=3)
    state = jax.eval_shape(lambda: gpu_parts.new_state(config))
    arguments = {
        "step": (state, hits),
        "forward": (state.params, hits),
        "images": (hits,),
        "seeds": (
            jax.eval_shape(lambda: gpu_epochs.states_of_seeds(config, 2)),
            jax.tree.map(lambda x: x.reshape(2, -1, *x.shape[1:]), of_seeds),
        ),
    }
    traced = gpu_parts.jitted(config, "gpu")[name].trace(*arguments[name])
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert "e2e_resnet" not in text


def test_a_part_that_fails_or_runs_out_of_time_leaves_its_rows_and_the_others_run():
    def fails(_):
        yield gpu_parts.row("first", 1.0, "s")
        raise MemoryError("no memory")

    def hangs(_):
        yield gpu_parts.row("second", 1.0, "s")
        time.sleep(60)

    def works(_):
        yield gpu_parts.row("third", 1.0, "s")

    rows, parts = [], {"a": (fails, 9), "b": (hangs, 0.2), "c": (works, 9)}
    gpu.measure(parts, None, 30, rows.append)
    assert [row["what"] for row in rows if "took" not in row["what"]] == [
        "first",
        "a",
        "second",
        "b",
        "third",
    ]
    assert [row["part"] for row in rows if "error" in row] == ["a", "b"]
    assert all(gpu.line(row) for row in rows)


def test_a_combination_that_fails_does_not_end_its_part():
    def fails():
        yield gpu_parts.row("first", 1.0, "s")
        raise MemoryError("no memory")

    first, second = gpu_parts.guarded("batch 4096", fails())
    assert first["value"] == 1.0
    assert "MemoryError" in second["error"]


def test_synthetic_events_have_a_detectors_occupancy():
    events = synthetic_events.make_events(3000, seed=0).validate()
    assert 240 < events.eb.counts.mean() < 265
    assert 26 < events.hcal.counts.mean() < 75
    assert 220 < events.tracks.counts.mean() < 305
    np.testing.assert_array_equal(np.bincount(events.label), 1000)


def test_the_operations_are_those_of_the_convolutions():
    config = gpu_parts.Bench(gpu_parts.Sizes(training=3)).config("float32")
    image = jax.ShapeDtypeStruct((1, 170, 360, 3), np.float32)
    batch = {"barrel": image, "mass": jax.ShapeDtypeStruct((1,), np.float32)}
    params = jax.eval_shape(lambda: gpu_parts.new_state(config)).params
    cost = gpu_parts.jitted(config, backend.ANY)["forward"].lower(params, batch).cost_analysis()
    assert gpu_parts.flops(3, "forward") == pytest.approx(cost["flops"], rel=0.05)
