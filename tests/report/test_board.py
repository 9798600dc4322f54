"""TensorBoard logs, read back with TensorBoard itself."""

import builtins
import json
import subprocess
import sys

import numpy as np
import pytest

from e2e_jax.report.board import Board
from e2e_jax.studies import hgg
from tests.report.evaluated_run import run_config, scores
from tests.synthetic import sample

pytest.importorskip("tensorboard")

# TensorBoard as it is without TensorFlow, which no training installs.
SERVE = """
import json, sys, types, urllib.request
sys.modules["tensorboard.compat.notf"] = types.ModuleType("tensorboard.compat.notf")
from tensorboard import default, program
server = program.TensorBoard(plugins=default.get_plugins())
options = {"logdir": sys.argv[1], "port": "0", "host": "127.0.0.1", "load_fast": "false"}
server.configure(argv=[None, *(f"--{name}={value}" for name, value in options.items())])
address = server.launch()
def ask(path):
    # The first answer comes when the folder has been read.
    with urllib.request.urlopen(address + path, timeout=60) as answer:
        body = answer.read()
        is_json = answer.headers["Content-Type"].startswith("application/json")
        return json.loads(body) if is_json else len(body)
import time
for _ in range(200):
    scalars = ask("data/plugin/scalars/tags")
    if scalars:
        break
    time.sleep(0.1)
run = next(iter(scalars))
address_of = f"data/plugin/images/images?run={run}&sample=0&tag="
images = {tag: ask(address_of + tag) for tag in ("roc", "score_mass")}
print("answer:", json.dumps({
    "auc_h": ask(f"data/plugin/scalars/scalars?run={run}&tag=auc_h"),
    "tags": sorted(scalars[run]),
    "images": {tag: [image["step"] for image in shown] for tag, shown in images.items()},
    "bytes": ask("data/plugin/images/individualImage?" + images["roc"][-1]["query"]),
    "text": ask(f"data/plugin/text/text?run={run}&tag=config/text_summary"),
}))
"""


def shown(folder):
    """What the real TensorBoard serves of a folder."""
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(folder)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.partition("answer:")[2])


def add(board, epoch, auc):
    events = sample(60, hits=2)
    probabilities = scores(events, hgg.TASK, seed=epoch)
    row = {"epoch": epoch, "step": 10 * epoch, "auc_h": auc}
    board.add_epoch(row, probabilities, events.label, events.observables)


@pytest.mark.slow
def test_tensorboard_shows_numbers_pictures_and_the_config_of_a_resumed_training(tmp_path):
    config = run_config()
    rows = [{"epoch": epoch, "step": 10 * epoch, "auc_h": 0.5 + epoch / 10} for epoch in (1, 2)]
    with Board(tmp_path, config, hgg.TASK) as board:
        for row in rows:
            add(board, row["epoch"], row["auc_h"])
        # An epoch whose checkpoint was not written: the resumption does it again.
        add(board, 3, 0.1)
    with Board(tmp_path, config, hgg.TASK, rows) as board:
        add(board, 3, 0.8)
    with Board(tmp_path, config, hgg.TASK, [*rows, {"epoch": 3, "step": 30}]) as board:
        of_mass = {"inverse_jsd": {"value": 321.0, "uncertainty": 9.0}}
        board.add_results({"decorrelation": {"mass": of_mass}, "r50": None}, step=20)
    seen = shown(tmp_path)
    points = [(step, round(value, 6)) for _, step, value in seen["auc_h"]]
    assert points == [(10, 0.6), (20, 0.7), (30, 0.8)]
    assert seen["images"] == {"roc": [10, 20, 30], "score_mass": [10, 20, 30]}
    assert seen["bytes"] > 5_000
    assert "cms_hgg/quick" in seen["text"][0]["text"]
    assert {"auc_h", "epoch", "step", "results/decorrelation_mass_inverse_jsd"} <= set(seen["tags"])
    assert "results/r50" not in seen["tags"]


@pytest.mark.slow
def test_a_board_that_was_lost_gets_its_numbers_back(tmp_path):
    rows = [{"epoch": 1, "step": 10, "auc_h": 0.6}]
    Board(tmp_path, run_config(), hgg.TASK, rows).__exit__()
    (path,) = tmp_path.iterdir()
    assert b"auc_h" in path.read_bytes()
    assert np.float32(0.6).tobytes() in path.read_bytes()


# Python's own file objects complain again when they are collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_is_told_and_the_board_closes(tmp_path, monkeypatch):
    """`/dev/full` takes the place of the file of events."""
    open_file = builtins.open

    def open_full(path, *rest, **options):
        full = "tfevents" in str(path) and str(path).startswith(str(tmp_path))
        return open_file("/dev/full" if full else path, *rest, **options)

    monkeypatch.setattr(builtins, "open", open_full)
    with pytest.raises(OSError, match="No space left"), Board(tmp_path, run_config(), hgg.TASK):
        pass
