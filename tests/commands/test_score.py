"""The score command: its output, and errors of one paragraph that name the cause."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import uproot

from e2e_jax.commands import command_line
from e2e_jax.commands.score import main
from e2e_jax.studies.hgg import LABELS
from tests.aodsim_file import branches, random_events, write_aodsim, write_branches
from tests.score_files import save_run, write_crops, write_ntuple
from tests.synthetic import image_config, kinematics_config
from tests.synthetic_showers import vgg_config

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """The files and folders that the commands name."""
    folder = tmp_path_factory.mktemp("files")
    save_run(folder / "kinematics", kinematics_config())
    save_run(folder / "showers", vgg_config())
    own = kinematics_config()
    own.dataset.name = "gone.py:quick"
    save_run(folder / "own", own)
    save_run(folder / "images", image_config())
    write_aodsim(folder / "aodsim.root", random_events(3))
    write_ntuple(folder / "ntuple.root")
    write_crops(folder / "crops.hdf5")
    content = branches(random_events(3))
    write_branches(folder / "branch.root", {k: v for k, v in content.items() if "generalTracks" not in k})
    with uproot.recreate(folder / "other.root") as file:
        file.mktree("something", {"x": "float32"})
        file["something"].extend({"x": np.zeros(3, np.float32)})
    with h5py.File(folder / "other.hdf5", "w") as file:
        file["images"] = np.zeros(3)
    (folder / "text.root").write_text("a page of text, not a ROOT file. " * 50)
    (folder / "empty").mkdir()
    return {path.name.replace(".", "_"): path for path in folder.iterdir()}


@pytest.mark.slow
def test_it_says_what_it_wrote(names, tmp_path, capsys):
    path = tmp_path / "scores.root"
    main(f"score --workdir={names['kinematics']} {names['aodsim_root']} --output={path}".split())
    columns = ", ".join(f"probability_{label}" for label in LABELS)
    assert capsys.readouterr().out == f"{path}: 3 events, {columns}\n"
    with uproot.open(path) as file:
        assert file["scores"].num_entries == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("{aodsim_root} --output={out}.parquet", ["--workdir"]),
        ("--workdir={kinematics} {aodsim_root}", ["--output"]),
        ("--workdir={kinematics} --output={out}.parquet", ["INPUT"]),
        ("--workdir={empty} {aodsim_root} --output={out}.parquet", ["{empty}", "no run"]),
        ("--workdir={kinematics} {aodsim_root} --output={out}.csv", ["{out}.csv", ".parquet or .root"]),
        ("--workdir={kinematics} {aodsim_root} --output={out}/a.root", ["no folder {out}"]),
        ("--workdir={kinematics} {aodsim_root} --output={aodsim_root}", ["{aodsim_root}", "--output"]),
        ("--workdir={kinematics} nowhere.root --output={out}.root", ["nowhere.root"]),
        ("--workdir={showers} nowhere.hdf5 --output={out}.root", ["nowhere.hdf5", "does not exist"]),
        ("--workdir={kinematics} nowhere --output={out}.root", ["nowhere", "cms_hgg/"]),
        (
            "--workdir={kinematics} ftp://a.b/c.root2 --output={out}.root",
            ["ftp://a.b/c.root2", "root://"],
        ),
        ("--workdir={kinematics} {aodsim_root}:train --output={out}.root", ["{aodsim_root}:train", "split"]),
        ("--workdir={kinematics} nowhere*.root --output={out}.root", ["nowhere*.root", "No file"]),
        ("--workdir={kinematics} {empty} --output={out}.root", ["{empty}", "no TFDS dataset"]),
        ("--workdir={kinematics} {text_root} --output={out}.root", ["{text_root}", "no ROOT file"]),
        (
            "--workdir={kinematics} {other_root} --output={out}.root",
            ["{other_root}", "Events", "fevt/RHTree"],
        ),
        ("--workdir={kinematics} {branch_root} --output={out}.root", ["{branch_root}", "no branch"]),
        ("--workdir={showers} {other_hdf5} --output={out}.root", ["{other_hdf5}", "no dataset 'X'"]),
        (
            "--workdir={kinematics} {crops_hdf5} --output={out}.root",
            ["{crops_hdf5}", "showers", "collisions"],
        ),
        ("--workdir={showers} {aodsim_root} --output={out}.root", ["{aodsim_root}", "showers", "collisions"]),
        ("--workdir={kinematics} {ntuple_root} --output={out}.root", ["{ntuple_root}", "no photons"]),
        ("--workdir={own} {aodsim_root} --output={out}.root", ["{aodsim_root}", "'mass'", "--select"]),
        ("--workdir={kinematics} {aodsim_root} --output={out}.root --select=all", ["'all'", "central"]),
        ("--workdir={kinematics} {aodsim_root} --output={out}.root --select=no.py", ["no.py"]),
        ("--workdir={images} {ntuple_root} --output={out}.root --select=central", ["--select=central"]),
        ("--workdir={kinematics} {aodsim_root} --output={out}.root --workers=0", ["--workers"]),
        ("--workdir={kinematics} {aodsim_root} --output={out}.root --which=7", ["7"]),
    ],
)
def test_an_error_is_one_paragraph_that_names_the_thing(arguments, words, names, tmp_path, capsys):
    known = names | {"out": tmp_path / "scores"}
    with pytest.raises(SystemExit) as stopped:
        command_line.reporting(main)(["score", *arguments.format(**known).split()])
    assert stopped.value.code == 1
    printed = capsys.readouterr()
    said = "".join(printed.err.split())
    assert said.startswith("Error:")
    assert "\n\n" not in printed.err.strip()
    assert all("".join(word.format(**known).split()) in said for word in words), printed.err
    assert not list(tmp_path.glob("scores*"))


@pytest.mark.slow
def test_it_runs_as_a_program(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "e2e_jax", "score", "a.root", "--workdir=nowhere", "--output=a.parquet"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert "nowhere" in done.stderr
