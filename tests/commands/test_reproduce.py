"""The paper's tables are trained row by row, and written with the finished and unfinished rows."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from e2e_jax.commands.reproduce import reproduce, rows_of
from e2e_jax.evaluation.published import TABLES
from e2e_jax.report import reproduction
from e2e_jax.report.reproduction import Row
from tests.objects import dataset_in_memory
from tests.synthetic import kinematics_config

ROOT = Path(__file__).parents[2]
DATASET = dataset_in_memory()


def row(folder, name="four_momentum", seeds=1, **train):
    config = kinematics_config(epochs=1, **train)
    config.name, config.seeds = name, seeds
    return Row("table_6", config, folder / name)


def test_all_rows_of_the_papers_tables_have_a_config_of_that_table(tmp_path):
    rows = rows_of(TABLES, "quick", workdir=tmp_path)
    assert [(one.table, one.config.name) for one in rows] == [
        (table, name) for table, content in TABLES.items() for name in content.results
    ]
    for one in rows:
        assert one.config.published == one.table
        assert one.config.size.endswith("quick")
        assert one.paper
    assert len({one.workdir for one in rows}) == len(rows)


def test_rows_seeds_and_folders_are_chosen(tmp_path):
    rows = rows_of(["table_6", "table_7"], "medium", ["whole_event", "eb"], 3, "/data", tmp_path)
    assert [(one.table, one.config.name) for one in rows] == [
        *(("table_6", "eb"), ("table_6", "whole_event"), ("table_7", "whole_event")),
    ]
    assert all(one.config.seeds == 3 and one.config.dataset.data_dir == "/data" for one in rows)
    assert rows[-1].config.dataset.name == "cms_hgg/forward_medium"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((["table_8"], "quick"), "'8'"),
        ((["table_6"], "quick", ["ecal"]), "'ecal'"),
        ((["table_6"], "quick", [], 0), "seeds"),
    ],
)
def test_what_is_not_in_the_paper_is_named(arguments, word):
    with pytest.raises(ValueError, match=word):
        rows_of(*arguments)


@pytest.mark.slow
def test_the_tables_hold_the_results_and_say_what_is_not_finished(tmp_path):
    bad = row(tmp_path, "eb")
    bad.workdir.mkdir()
    (bad.workdir / "notes.txt").write_text("mine")
    printed = reproduce([row(tmp_path), bad], tmp_path, "quick", datasets=lambda _: DATASET)
    content = json.loads((tmp_path / "tables.json").read_text())
    good, failed = content["rows"]
    results = json.loads((tmp_path / "four_momentum" / "results.json").read_text())
    assert good["state"] == "finished"
    assert good["metrics"]["auc_vs_rest/h"]["value"] == results["auc_vs_rest"]["h"]["value"]
    assert good["cvm_floor"] == results["cvm"]["floor"]
    assert good["paper"]["auc_pairwise/h_vs_gamma_gamma"] == 0.767
    (epoch,) = map(json.loads, (tmp_path / "four_momentum" / "metrics.jsonl").read_text().splitlines())
    assert good["seconds"] == round(epoch["seconds"], 1)
    assert failed["state"].startswith("failed: ")
    assert str(bad.workdir) in failed["state"]
    text = (tmp_path / "tables.md").read_text()
    assert text in printed
    assert f"{results['auc_vs_rest']['h']['value']:.3f} ± " in text
    assert "0.767" in text
    assert "Not finished: EB" in text

    before = (tmp_path / "four_momentum" / "results.json").read_bytes()
    (bad.workdir / "notes.txt").unlink()
    reproduce([row(tmp_path), row(tmp_path, "eb")], tmp_path, "quick", datasets=lambda _: DATASET)
    assert (tmp_path / "four_momentum" / "results.json").read_bytes() == before
    assert [one["state"] for one in json.loads((tmp_path / "tables.json").read_text())["rows"]] == [
        "finished"
    ] * 2


@pytest.mark.slow
def test_several_seeds_have_their_mean_and_the_ensemble(tmp_path):
    reproduce([row(tmp_path, seeds=2)], tmp_path, "quick", datasets=lambda _: DATASET)
    (entry,) = json.loads((tmp_path / "tables.json").read_text())["rows"]
    results = json.loads((tmp_path / "four_momentum" / "results.json").read_text())
    assert entry["metrics"]["cvm"]["value"] == results["seeds"]["cvm"]["mean"]
    assert entry["ensemble"]["cvm"]["value"] == results["cvm"]["value"]
    assert entry["epochs"] == [1, 1]
    text = (tmp_path / "tables.md").read_text()
    assert "mean of 2 seeds" in text
    assert "ensemble" in text


def test_a_training_that_was_interrupted_says_how_far_it_is(tmp_path):
    one = row(tmp_path, "eb")
    assert one.state == "not trained"
    one.config.train.epochs = 8
    one.workdir.mkdir()
    (one.workdir / "metrics.jsonl").write_text(2 * '{"epoch": 1, "seconds": 3.0}\n')
    assert one.state == "not finished: 2 of 8 epochs"
    assert "not finished: 2 of 8 epochs" in reproduction.markdown([one], "quick")


@pytest.mark.slow
def test_the_program_names_what_it_does_not_know():
    program = "from e2e_jax.commands.console import main; main()"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_NUM_CPU_DEVICES": "1", "GLIBC_TUNABLES": ""}
    command = [sys.executable, "-c", program, "reproduce", "--rows=cms_c"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "'cms_c'" in done.stderr
