"""A scan of decorrelation methods and strengths gives a table and a figure, and can be resumed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from e2e_jax.commands import command_line, tradeoff
from e2e_jax.report import tradeoff as reported
from e2e_jax.runs.folder import read_config
from e2e_jax.studies import hgg
from e2e_jax.training.tradeoff import STRENGTH, points
from tests.objects import dataset_in_memory
from tests.synthetic import kinematics_config

ROOT = Path(__file__).parents[2]


def config_of():
    return kinematics_config(epochs=1)


def strength_of(config):
    return command_line.config_ranges.flat_fields(config.to_dict())[STRENGTH]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan")
    strengths = {"cvm": [0.1, 1], "disco": [2]}
    tradeoff.scan(config_of(), ["none", "cvm", "disco"], strengths, folder, datasets=lambda _: DATASET)
    return folder


DATASET = dataset_in_memory()


@pytest.mark.slow
def test_every_method_and_strength_is_a_run_with_that_penalty(folder):
    found = {path.parent.name: read_config(path.parent) for path in folder.glob("*/config.json")}
    asked = {name: (config.decorrelation.method, strength_of(config)) for name, config in found.items()}
    assert asked == {
        "none": ("none", 0.0),
        "cvm-0.1": ("cvm", 0.1),
        "cvm-1": ("cvm", 1.0),
        "disco-2": ("disco", 2.0),
    }


@pytest.mark.slow
def test_table_and_json_hold_the_results_of_the_runs(folder):
    entries = json.loads((folder / "tradeoff.json").read_text())
    assert [(one["method"], one["strength"]) for one in entries] == [
        *(("none", 0.0), ("cvm", 0.1), ("cvm", 1.0), ("disco", 2.0)),
    ]
    rows = (folder / "tradeoff.md").read_text().splitlines()[2:]
    for one, name, row in zip(entries, ("none", "cvm-0.1", "cvm-1", "disco-2"), rows):
        results = json.loads((folder / name / "results.json").read_text())
        assert one["metrics"]["CVM"]["value"] == results["cvm"]["value"]
        assert one["metrics"]["H vs rest"]["uncertainty"] == results["auc_vs_rest"]["h"]["uncertainty"]
        assert row.startswith(f"| {reported.METHODS[one['method']]} | {one['strength']:g} |")
        assert f"| {results['auc_vs_rest']['h']['value']:.3f} ±" in row
    assert (folder / "tradeoff.png").stat().st_size > 10_000
    assert (folder / "tradeoff.pdf").exists()


@pytest.mark.slow
def test_a_longer_scan_keeps_what_is_finished(folder):
    before = (folder / "cvm-1" / "results.json").read_bytes()
    tradeoff.scan(config_of(), ["cvm"], {"cvm": [1, 3]}, folder, datasets=lambda _: DATASET)
    assert (folder / "cvm-1" / "results.json").read_bytes() == before
    assert (folder / "cvm-3" / "results.json").exists()


def scanned(method, strength, auc, cvm, jsd=None, failure=""):
    """A training with these results."""
    metric = {"value": auc, "uncertainty": 0.01}
    results = {
        "task": hgg.TASK.to_json(),
        "config": {"seeds": 1, "seed": 0},
        "dataset": {"origin": "fast simulation"},
        "events": {"train": 6000},
        "epoch": 3,
        "auc_vs_rest": dict.fromkeys(hgg.TASK.names, metric),
        "auc_pairwise": {},
        "cvm": {"value": cvm, "uncertainty": 0.001, "floor": 0.0007},
    }
    if jsd is not None:
        independent = {"value": 900.0, "uncertainty": 50.0}
        found = {"value": jsd, "uncertainty": 5.0, "independent": independent}
        results["decorrelation"] = {"mass": {"inverse_jsd": found}}
    return reported.Scanned(method, strength, None if failure else results, failure)


def test_the_second_panel_is_there_where_the_results_have_the_divergence():
    without = [scanned("cvm", 0.1, 0.8, 0.002), scanned("cvm", 1.0, 0.7, 0.001)]
    assert len(reported.figure(without).axes) == 1
    having = [scanned("cvm", 0.1, 0.8, 0.002, 30.0), scanned("disco", 1.0, 0.7, 0.001, 300.0)]
    one, two = reported.figure(having).axes
    assert two.get_lines()[0].get_xdata().tolist() == [30.0]
    assert one.get_lines()[0].get_xdata().tolist() == [0.002]
    assert "30.0 ± 5.0" in reported.markdown(having)


def test_what_failed_or_is_not_finished_says_so():
    text = reported.markdown(
        [
            scanned("cvm", 0.1, 0.8, 0.002),
            scanned("cvm", 9.0, 0, 0, failure="The loss is not finite."),
            reported.Scanned("mode", 1.0, None),
        ]
    )
    rows = text.splitlines()
    assert "failed: The loss is not finite." in rows[3]
    assert "not finished" in rows[4]


def test_strengths_are_for_all_methods_or_for_one():
    given = tradeoff.strengths_of(["disco:1,3", "0.1,0.5"])
    assert given == {"cvm": [0.1, 0.5], "mode": [0.1, 0.5], "disco": [1.0, 3.0]}
    with pytest.raises(ValueError, match="--strengths=a,b"):
        tradeoff.strengths_of(["a,b"])


def test_strengths_default_to_multiples_of_the_configs_own(tmp_path):
    config = config_of()
    own = strength_of(config)
    made = points(config, ["cvm", "none"], {}, tmp_path)
    assert [point.strength for point in made] == [own / 4, own / 2, own, 2 * own, 4 * own, 0.0]


def test_what_cannot_be_scanned_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'abc'"):
        points(config_of(), ["abc"], {}, tmp_path)
    with pytest.raises(ValueError, match=r"config\..*strength is -1"):
        points(config_of(), ["cvm"], {"cvm": [-1.0]}, tmp_path)
    config = config_of()
    config.update_from_flattened_dict({STRENGTH: 0.0})
    with pytest.raises(ValueError, match="--strengths"):
        points(config, ["cvm"], {}, tmp_path)
    config.task.decorrelate = ("none",)
    with pytest.raises(ValueError, match="no trade-off"):
        tradeoff.scan(config, ["none"], {}, tmp_path, datasets=lambda _: DATASET)


@pytest.mark.slow
def test_the_program_names_what_is_misspelt():
    def run(*arguments):
        command = [
            sys.executable,
            "-c",
            "from e2e_jax.commands.console import main; main()",
            "tradeoff",
            *arguments,
        ]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_NUM_CPU_DEVICES": "1", "GLIBC_TUNABLES": ""}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)

    for arguments, words in (
        ([], "No config was given"),
        (["--config=configs/eb.py", "--config.train.bach_size=4"], "no field config.train.bach_size"),
        (["--config=configs/eb.py", "--methods=abc"], "config.decorrelation.method is 'abc'"),
        (["--config=configs/eb.py", "--methdos=cvm"], "methdos"),
    ):
        done = run(*arguments)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert words in " ".join(done.stderr.split())
