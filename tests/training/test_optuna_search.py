"""The example of a hyperparameter search trains trials, stores them, and can add more."""

import importlib.util
import json
from pathlib import Path

import pytest

from tests.objects import dataset_in_memory
from tests.synthetic import kinematics_config

pytest.importorskip("optuna", reason="no Optuna (pip install optuna)")
EXAMPLE = Path(__file__).parents[2] / "examples" / "optuna_search.py"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_the_search_returns_its_best_trial_and_continues(tmp_path):
    spec = importlib.util.spec_from_file_location("optuna_search", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    options = {"get_config": lambda: kinematics_config(epochs=1), "dataset": dataset_in_memory()}
    example.search(1, tmp_path, **options)
    study = example.search(1, tmp_path, **options)
    values = [
        json.loads((tmp_path / f"trial-{number}" / "results.json").read_text())["auc_vs_rest"]["h"]["value"]
        for number in range(2)
    ]
    assert [trial.value for trial in study.trials] == values
    assert study.best_value == max(values)
