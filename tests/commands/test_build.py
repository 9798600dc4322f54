"""One command builds a dataset and prints a summary, or one paragraph with the remedy."""

import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from e2e_jax.commands import build, command_line
from e2e_jax.datasets.reading import read_split
from e2e_jax.errors import DatasetError
from tests.aodsim_file import write_aodsim
from tests.aodsim_lists import file_events, write_lists

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
NAME = "cms_hgg/opendata_files"


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    """Files of three classes, one of them with an event at fault."""
    folder = write_lists(tmp_path_factory.mktemp("lists"), files=2)
    events = file_events(0, 1)
    events.hcal.energy[events.hcal.offsets[2]] = np.inf
    write_aodsim(folder / "h_0.root", events)
    return folder


def command(*options):
    return [sys.executable, "-m", "e2e_jax.build", *options]


def run(*options):
    return subprocess.run(command(*options), cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def built(lists, tmp_path_factory):
    """The folder of the datasets, and what the command printed."""
    data_dir = tmp_path_factory.mktemp("datasets")
    done = run(
        NAME, f"--files={lists}", "--on_error=skip", f"--data_dir={data_dir}", "--train=4", "--validation=2"
    )
    assert done.returncode == 0, done.stderr
    return data_dir, done.stdout


def test_the_command_builds_what_it_says(built):
    data_dir, said = built
    folder = data_dir / "cms_hgg/opendata_files/3.0.0"
    assert said.splitlines()[-4:] == [
        str(folder),
        "train: 12 events (4 gamma_gamma, 4 h, 4 gamma_jet)",
        "validation: 6 events (2 gamma_gamma, 2 h, 2 gamma_jet)",
        "skipped: 1 x not_finite",
    ]
    assert [len(read_split(folder, split, progress=False)) for split in ("train", "validation")] == [12, 6]


def test_the_same_again_is_there_already_and_another_needs_another_name(built, lists, tmp_path):
    data_dir, _ = built
    same = {"files": str(lists), "on_error": "skip", "data_dir": data_dir, "train": 4, "validation": 2}
    folder, metadata = build.build(NAME, **same)
    assert (folder.name, metadata["skipped"]) == ("3.0.0", {"not_finite": 1})
    with pytest.raises(DatasetError, match=r"another dataset of that name.*'train': 4.*--name=NAME"):
        build.build(NAME, **same | {"train": 3})
    assert build.build(NAME, **same, protocol="https")[0] == folder
    with pytest.raises(DatasetError, match=r"another dataset of that name.*strict False"):
        build.build(NAME, **same, strict=True)
    shutil.copytree(lists, tmp_path / "lists")
    with pytest.raises(DatasetError, match=r"another dataset of that name.*sha256"):
        build.build(NAME, **same | {"files": str(tmp_path / "lists")})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "the following arguments are required: dataset. --help lists the options."),
        (["cms_hgg/opendata"], "No dataset 'cms_hgg/opendata'. There are: cms_hgg/quick, "),
        (["cms_hgg/quick", "--on_error=skip"], "cms_hgg/quick has no --on_error; it has --name, --train,"),
        ([NAME, "--train=many"], "argument --train: invalid int value: 'many'"),
        ([NAME, "--files=nowhere"], "nowhere does not list the files of gamma_gamma"),
        ([NAME, "--workers=0"], "0 workers make no dataset"),
        ([NAME, "--scheduler=nowhere.json"], "nowhere.json"),
        ([NAME], "reads files of your own"),
        ([NAME, "--check"], "reads files of your own"),
        (["cms_hgg/quick", "--check"], "has no lists of files that --check could look at"),
        ([NAME, "--check", "--files=LISTS", "--protocol=ftp"], "protocol is 'ftp'"),
        ([NAME, "--files=LISTS", "--protocol=ftp"], "protocol is 'ftp'"),
    ],
)
def test_what_is_wrong_is_one_paragraph(options, message, lists, tmp_path, capsys):
    options = [option.replace("LISTS", str(lists)) for option in options]
    if options and options[0].startswith("cms_hgg"):
        options = [*options, f"--data_dir={tmp_path}"]
    with pytest.raises(SystemExit) as end:
        command_line.reporting(build.main)(["build", *options])
    assert end.value.code == 1
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith("Error: ")
    assert message in said
    assert not list(tmp_path.rglob("*3.0.0*"))


def test_a_fault_in_a_file_is_one_paragraph_too(lists, tmp_path):
    done = run(
        NAME, f"--files={lists}", f"--data_dir={tmp_path}", "--train=4", "--validation=2", "--workers=1"
    )
    assert done.returncode == 1
    said = " ".join(done.stderr.rpartition("Error: ")[2].split())
    assert "h_0.root" in said
    assert said.endswith("counted in the metadata, with on_error=skip.")
    assert "Traceback" not in done.stderr


def test_sizes_of_ones_own_have_a_sample_of_their_own():
    _, config = build._changed_config("cms_hgg/opendata_central", {"train": 50, "name": "small"})
    assert (config.train, config.validation, config.sample, config.name) == (50, 11_800, 0, "small")
    _, config = build._changed_config("cms_hgg/opendata_central", {"eras": "any", "train": None})
    assert (config.sample, config.eras) == (63_052, "any")


def test_a_look_at_all_files_builds_nothing_and_ends_with_its_result(lists, tmp_path, capsys):
    shutil.copytree(lists, tmp_path / "lists")
    options = ["build", NAME, f"--files={tmp_path / 'lists'}", f"--data_dir={tmp_path / 'data'}", "--check"]
    with pytest.raises(SystemExit) as end:
        build.main(options)
    assert end.value.code == 0
    assert [line.split()[4:] for line in capsys.readouterr().out.splitlines()[1:]] == [["2", "0", "0"]] * 3
    (tmp_path / "lists" / "h_1.root").unlink()
    with pytest.raises(SystemExit) as end:
        build.main(options)
    assert end.value.code == 1
    assert "missing: There is no file" in capsys.readouterr().out
    assert not (tmp_path / "data").exists()


def test_too_few_events_fill_the_splits_in_proportion_or_are_an_error(lists, tmp_path):
    options = (
        NAME,
        f"--files={lists}",
        "--on_error=skip",
        f"--data_dir={tmp_path}",
        "--train=40",
        "--workers=1",
    )
    done = run(*options, "--validation=20", "--strict")
    assert done.returncode == 1
    assert "There are too few selected events" in " ".join(done.stderr.split())
    done = run(*options, "--validation=20")
    assert done.returncode == 0, done.stderr
    assert "of the sizes asked for" in done.stdout
    recorded = json.loads((tmp_path / "cms_hgg/opendata_files/3.0.0/metadata.json").read_text())["events"]
    train, validation = (
        {sum(by_run.values()) for by_run in recorded[split].values()} for split in ("train", "validation")
    )
    assert len(train) == len(validation) == 1
    assert 0 < train.pop() - 2 * validation.pop() + 4 < 8  # two to one, but for rounding in each era
