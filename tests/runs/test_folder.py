"""The folder of a run has one owner at a time; a folder unusable for a run is rejected at the start."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from e2e_jax.errors import WorkdirError
from e2e_jax.files import atomic
from e2e_jax.runs.folder import check_path, claim, owned, read_config
from e2e_jax.training.loop import train
from tests.synthetic import kinematics_config

HOLD = """
import sys, time
from e2e_jax.runs.folder import owned
with owned(sys.argv[1]):
    print("owned", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that owns the folder."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "owned\n"
        yield process
        process.kill()


def test_a_second_training_in_one_folder_is_refused_before_it_begins(holder, tmp_path):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(WorkdirError, match=rf"^Process {holder.pid} on \S+ is training"):
        train(kinematics_config(), tmp_path)
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_has_one_owner_until_it_dies(holder, tmp_path):
    with pytest.raises(WorkdirError, match=rf"^Process {holder.pid} on \S+ is training"), owned(tmp_path):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    for _ in range(2):
        with owned(tmp_path):
            claim(tmp_path, kinematics_config())
    assert read_config(tmp_path).name == "four_momentum"


@pytest.mark.parametrize(
    "name", ["a[b", "a]b", "a*", "a?", "{a", "a}", "a\\b", "gs:/bucket", "a\udc80b", "a\nb"]
)
def test_a_path_at_which_no_checkpoint_can_be_read_is_refused(tmp_path, name):
    for folder in (tmp_path / name, tmp_path / name / "run"):
        with pytest.raises(WorkdirError, match=r"--workdir=DIR"):
            check_path(folder)
        with pytest.raises(WorkdirError), owned(folder):
            pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a b", "H→γγ", "a,b", "~", "x:y", "100%"])
def test_any_other_path_is_a_folder(tmp_path, name):
    with owned(tmp_path / name):
        claim(tmp_path / name, kinematics_config())
    assert read_config(tmp_path / name)


@pytest.mark.parametrize("where", ["/dev/null/run", "/proc/run"])
def test_a_folder_that_cannot_be_written_is_named(where):
    with pytest.raises(WorkdirError, match=r"cannot be written \(.*--workdir=DIR"), owned(where):
        pass


def test_a_full_disk_is_told_and_other_errors_are_not(tmp_path):
    with pytest.raises(WorkdirError, match=r"cannot be written \(No space left"), owned(tmp_path):
        Path("/dev/full").write_text("x")
    with pytest.raises(FileNotFoundError), owned(tmp_path):
        Path("/nowhere/at/all").read_text()


def test_what_a_killed_write_left_keeps_nobody_out(tmp_path):
    with atomic.replacing(tmp_path / "elsewhere") as part:
        part.write_text("{")
        (tmp_path / part.name.replace("elsewhere", "config.json")).write_text("{")
    (tmp_path / "elsewhere").unlink()
    assert [atomic.is_part(path) for path in tmp_path.iterdir()] == [True]
    claim(tmp_path, kinematics_config())
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_only_a_regular_file_is_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for path in (Path("/dev/full"), tmp_path / "pipe", tmp_path / "folder"):
        kind = path.stat().st_mode
        with pytest.raises(FileExistsError):
            atomic.write_whole(path, "x")
        assert path.stat().st_mode == kind
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    atomic.write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


def test_many_writers_of_one_file_leave_the_text_of_one(tmp_path):
    texts = [json.dumps([number] * 20_000) for number in range(8)]
    writers = [
        threading.Thread(target=atomic.write_whole, args=(tmp_path / "results.json", text)) for text in texts
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert (tmp_path / "results.json").read_text() in texts
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
