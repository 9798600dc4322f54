"""A training can start from the parameters of another run, with or without the head."""

import jax
import numpy as np
import pytest

from e2e_jax.datasets.splits import GivenDataset
from e2e_jax.errors import WorkdirError
from e2e_jax.inference.loading import load_classifier
from e2e_jax.studies import showers
from e2e_jax.study import Task
from e2e_jax.training import loop
from tests.score_files import save_run
from tests.synthetic_showers import fcn_config, resnet_config, shower_sample

pytestmark = pytest.mark.slow

SPLITS = {"train": shower_sample(12, seed=1), "validation": shower_sample(12, seed=2)}
THREE = Task(signal="electron", labels=("photon", "electron", "pion"), events="showers")


def train(workdir, task=showers.TASK, splits=SPLITS, **model):
    config = fcn_config(epochs=1, learning_rate=1e-12)
    config.inputs.channels, config.published = ("energy",), ""
    config.model.update(model)
    if len(task.labels) == 3:
        config.train.batch_size = 6
    return loop.train(config, workdir, GivenDataset(task, splits))


def other_run(folder, seed=7):
    config = fcn_config()
    config.inputs.channels = ("energy",)
    return save_run(folder, config, seed)


def of_three(events):
    events = events[:]
    events.label[:] = np.arange(len(events)) % 3
    return events


def test_all_parameters_are_taken_and_the_results_name_their_origin(tmp_path, capsys):
    other = other_run(tmp_path / "other")
    results = train(tmp_path / "run", start_from=str(other))
    origin = results["provenance"]["started_from"]
    assert (origin["run"], origin["name"], origin["new"]) == (str(other), "showers_fcn", [])
    assert len(origin["checkpoint"]) == 64
    ours, theirs = (load_classifier(folder).params for folder in (tmp_path / "run", other))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9), ours, theirs)
    assert f"showers_fcn in {other}: " in capsys.readouterr().err
    # What continues is the run, not another start.
    assert train(tmp_path / "run", start_from=str(other))["provenance"]["started_from"] == origin


def test_the_features_are_taken_for_another_task(tmp_path, capsys):
    other, splits = other_run(tmp_path / "other"), {name: of_three(some) for name, some in SPLITS.items()}
    with pytest.raises(WorkdirError, match=r"head/kernel.*start_parts to 'features'"):
        train(tmp_path / "refused", THREE, splits, start_from=str(other))
    results = train(tmp_path / "run", THREE, splits, start_from=str(other), start_parts="features")
    assert results["provenance"]["started_from"]["new"] == ["head/bias", "head/kernel"]
    assert "new: head/bias, head/kernel" in capsys.readouterr().err
    ours, theirs = (load_classifier(folder).params for folder in (tmp_path / "run", other))
    for name in theirs:
        if name != "head":
            np.testing.assert_allclose(ours[name]["kernel"], theirs[name]["kernel"], atol=1e-9)
    assert ours["head"]["kernel"].shape == (8, 3)


def test_a_run_that_does_not_fit_or_is_none_is_told(tmp_path):
    other = save_run(tmp_path / "other", resnet_config())
    for parts in ("all", "features"):
        with pytest.raises(WorkdirError, match=r"'resnet15' of the run .* does not fit 'shower_fcn'"):
            train(tmp_path / parts, start_from=str(other), start_parts=parts)
    with pytest.raises(WorkdirError, match=r"start_from names a run that cannot be used. There is no run"):
        train(tmp_path / "none", start_from=str(tmp_path / "nothing"))
