"""The command line: what is misspelt is named in one paragraph, before anything is done."""

import importlib
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from e2e_jax.commands import command_line

ROOT = Path(__file__).parents[1]


def run(*arguments, code="from e2e_jax import main; main.run()", cwd=ROOT):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


EB = "--config=configs/eb.py"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["No config was given", "--config=configs/cms_b.py:quick"]),
        (["--config=configs/none.py"], ["cannot be read", "configs/none.py"]),
        (["--config=e2e_jax.configs.none"], ["no config 'e2e_jax.configs.none'"]),
        (["--config=none.at.all"], ["no config 'none.at.all'"]),
        (["--config=e2e_jax.configs.eb:huge"], ["no size 'huge'", "quick, medium, paper"]),
        (["--config=e2e_jax.configs.eb", "--config.seed=1.5"], ["--config.seed=1.5", "int"]),
        (["--config=configs/eb.py:huge"], ["no size 'huge'", "quick, medium, paper"]),
        ([EB, "--config.train.bach_size=4"], ["no field config.train.bach_size", "config.train.batch_size"]),
        (
            [EB, "--config.trian.batch_size=4"],
            ["no field config.trian.batch_size", "config.train.batch_size"],
        ),
        ([EB, "--config.train.batch_size=many"], ["--config.train.batch_size=many", "int"]),
        ([EB, "--config.seed=1.5"], ["--config.seed=1.5", "int"]),
        ([EB, "--mode=tran"], ["--mode=tran", "train|evaluate"]),
        ([EB, "--workdri=x"], ["workdri", "workdir"]),
        ([EB, "stray"], ["'stray'", "--name=value"]),
        ([EB, "--mode=evaluate", "--workdir=/nowhere/at/all"], ["no run in /nowhere/at/all", "--workdir"]),
        (["--mode=report", "--workdir=/nowhere/at/all"], ["no run in /nowhere/at/all", "results.json"]),
        (["--mode=report", "--workdir=~/no/run"], [f"no run in {Path.home()}/no/run"]),
        ([EB, "--processes=2"], ["--coordinator=HOST:PORT, --processes=N and --process=I go together"]),
        (["--mode=report", "--workdir=x", "--distributed"], ["--mode=report is for one process"]),
        ([EB, "--compare=/nowhere/at/all"], ["no run in /nowhere/at/all", "results.json"]),
    ],
)
def test_an_error_is_one_paragraph_that_names_the_thing(arguments, words):
    done = run(*arguments)
    assert done.returncode == 1
    text = " ".join(done.stderr.split())
    assert text.startswith("Error: ")
    assert "Traceback" not in text
    assert all(word in text for word in words), text
    assert "\n\n" not in done.stderr.strip()


TRAIN = """
import sys
from e2e_jax import experiment, main
from tests.objects import dataset_in_memory

experiment.dataset_of = lambda config: dataset_in_memory()
try:
    main.run()
finally:
    assert "tensorflow" not in sys.modules
"""


@pytest.mark.slow
def test_trains_into_the_default_folder_and_evaluates_again(tmp_path):
    config = f"--config={ROOT / 'configs' / 'four_momentum.py'}:quick"
    small = [f"--config.{field}" for field in ("train.epochs=1", "train.batch_size=12", "cvm.window=10")]
    small += ["--config.model.widths=(4,)", "--config.evaluate.bootstrap=5"]
    trained = run(config, *small, code=TRAIN, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    workdir = tmp_path / "runs" / "four_momentum-quick"
    assert {path.name for path in workdir.iterdir()} == {
        *("config.json", "metrics.jsonl", "results.json", "scores.parquet"),
        *("checkpoints", "tensorboard", "report.html", "figures", "tables", ".lock"),
    }
    assert not re.search(r"^[IW]\d{4} ", trained.stderr, re.MULTILINE), "log lines between the progress bars"
    assert "H vs γ+jet" in trained.stdout
    assert "0.773" in trained.stdout
    assert str(Path("runs", "four_momentum-quick", "results.json")) in trained.stdout

    assert str(Path("runs", "four_momentum-quick", "report.html")) in trained.stdout

    (workdir / "results.json").unlink()
    evaluated = run(config, *small, "--mode=evaluate", code=TRAIN, cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr
    assert (workdir / "results.json").exists()

    other = run(config, *small, "--config.seed=1", code=TRAIN, cwd=tmp_path)
    assert other.returncode == 1
    assert "seed: 0 there, 1 asked for" in " ".join(other.stderr.split())


def test_a_package_that_is_not_installed_is_named_with_the_way_to_install_it(capsys):
    def program(module):
        return command_line.reporting(lambda _: importlib.import_module(module))

    with pytest.raises(SystemExit):
        program("nowhere.at_all")(None)
    told = capsys.readouterr().err
    assert "'nowhere'" in told
    assert "requirements.txt" in told
    with pytest.raises(ModuleNotFoundError):
        program("json.absent")(None)


def test_a_warning_is_one_sentence():
    before = warnings.formatwarning
    form = command_line.reporting(lambda _: warnings.formatwarning)(None)
    assert form("Nothing is kept.", UserWarning, "file.py", 3) == "Warning: Nothing is kept.\n"
    assert warnings.formatwarning is before
