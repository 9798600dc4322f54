"""Searches hyperparameters of the 4-momentum classifier with Optuna.

    pip install optuna
    python examples/optuna_search.py --trials=20 --workdir=runs/search

The same command adds trials to those that are there. The best trial's AUC is a little too large: it was
chosen for it on the same events. Score the split "test" with its folder for an independent number.
"""

import argparse
from pathlib import Path

import optuna

import e2e_jax
from e2e_jax.configs import four_momentum


def auc(trial, config, workdir, dataset=None):
    """Trains with the trial's hyperparameters; returns the AUC of H against the rest."""
    config.train.learning_rate = trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
    config.train.schedule = trial.suggest_categorical("schedule", ["constant", "cosine", "one_cycle"])
    config.model.widths = (trial.suggest_int("width", 16, 512, log=True),) * trial.suggest_int("layers", 1, 3)
    results = e2e_jax.train(config, workdir / f"trial-{trial.number}", dataset)
    return results["auc_vs_rest"]["h"]["value"]


def search(trials, workdir, get_config=four_momentum.get_config, dataset=None):
    """Runs trials and returns the Optuna study, which is kept in the folder."""
    workdir.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=f"sqlite:///{workdir}/optuna.db",
        study_name="search",
        direction="maximize",
        load_if_exists=True,
    )
    study.optimize(lambda trial: auc(trial, get_config(), workdir, dataset), n_trials=trials)
    return study


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--workdir", type=Path, default=Path("runs/search"))
    found = search(**vars(parser.parse_args()))
    print(f"AUC {found.best_value:.3f} with {found.best_params}")
