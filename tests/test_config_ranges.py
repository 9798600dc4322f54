"""Every field of a config has a type and a range, which are checked before anything else happens."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from e2e_jax.configs import default
from e2e_jax.errors import WorkdirError
from e2e_jax.runs.config_ranges import check_fields, flat_fields, range_of
from e2e_jax.runs.folder import claim, read_config
from tests.test_configs import CLASSIFIERS, get_config

ROOT = Path(__file__).parents[1]
CATEGORIES = ("central", "central_forward", "showers")

OUT_OF_RANGE = [
    *[("train.epochs", value) for value in (0, -3, 1.5, True, "3")],
    *[("train.batch_size", value) for value in (0, -1)],
    *[("train.learning_rate", value) for value in (0.0, -1e-3, float("nan"), float("inf"))],
    *[("train.patience", 0), ("train.schedule", "linear"), ("seed", -1), ("seed", 2**32), ("seed", 0.5)],
    *[("model.widths", value) for value in ((), (0,), (16, -32), (1.5,), 16, "16")],
    *[("model.dropout", value) for value in (-0.1, 1.0)],
    *[("model.head", (0,)), ("devices", -1), ("precision", "float16"), ("profile", 1)],
    *[("evaluate.batch_size", value) for value in (0, -240)],
    *[("evaluate.bootstrap", value) for value in (0, 1, -5)],
    *[("cvm.limit", value) for value in (0, -0.002, 1.5, float("nan"))],
    *[
        ("decorrelation.strength", -0.1),
        ("decorrelation.neighbors", 1),
        ("cvm.window", 0),
        ("cvm.step", 0),
        ("decorrelation.reduction", ""),
    ],
    *[("inputs.scale.ecal", float("inf")), ("inputs.threshold.hcal", "low"), ("inputs.channels", ())],
    *[("inputs.standard.r9", (0.9, 0.0)), ("inputs.standard.r9", (0.9,)), ("inputs.kind", "image")],
    *[
        ("name", ""),
        ("name", "a\nb"),
        ("name", 3),
        ("task.classes", ("",)),
        ("task.of", "h"),
        ("data.placement", "gpu"),
    ],
]


def changed(field, value):
    fields = default.get_config().to_dict()
    *groups, name = field.split(".")
    group = fields
    for step in groups:
        group = group[step]
    group[name] = value
    return config_of(fields)


def config_of(fields):
    return default.config_dict.ConfigDict(fields)


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_field_of_the_defaults_has_a_row(category):
    fields = flat_fields(default.get_config(category=category).to_dict())
    assert [field for field in fields if range_of(field) is None] == []


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("size", ["quick", "paper"])
def test_the_configs_are_in_range(name, size):
    check_fields(get_config(name, size))


@pytest.mark.parametrize(("field", "value"), OUT_OF_RANGE)
def test_a_value_out_of_range_is_refused_by_name(field, value):
    with pytest.raises(ValueError, match=rf"config\.{field} is "):
        check_fields(changed(field, value))


def test_a_missing_and_an_unknown_field_are_named():
    fields = default.get_config().to_dict()
    with pytest.raises(ValueError, match=r"config\.train\.epoch\b"):
        check_fields(config_of(fields | {"train": fields["train"] | {"epoch": 3}}))
    del fields["cvm"]["window"]
    with pytest.raises(ValueError, match=r"config\.cvm\.window is missing"):
        check_fields(config_of(fields))


def test_one_number_for_all_channels_is_in_range():
    check_fields(changed("inputs.scale", 50.0))


def test_a_run_folder_is_not_made_for_a_config_out_of_range(tmp_path):
    with pytest.raises(ValueError, match=r"config\.train\.epochs is 0"):
        claim(tmp_path / "run", changed("train.epochs", 0))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("group", "field", "value"), [("evaluate", "batch_size", -1), ("model", "widths", "16")]
)
def test_a_config_file_out_of_range_is_refused_when_it_is_loaded(tmp_path, group, field, value):
    claim(tmp_path, default.get_config())
    path = tmp_path / "config.json"
    fields = json.loads(path.read_text())
    fields[group][field] = value
    path.write_text(json.dumps(fields))
    with pytest.raises(WorkdirError, match=rf"config\.json.*config\.{group}\.{field} is"):
        read_config(tmp_path)


@pytest.mark.slow
def test_the_command_line_refuses_before_it_reads_a_dataset(tmp_path):
    command = [
        sys.executable,
        "-m",
        "e2e_jax.main",
        "--config=configs/eb.py",
        "--config.evaluate.batch_size=-1",
    ]
    command += [f"--workdir={tmp_path / 'run'}", f"--config.dataset.data_dir={tmp_path / 'data'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "config.evaluate.batch_size is -1" in " ".join(done.stderr.split())
    assert not list(tmp_path.iterdir())
