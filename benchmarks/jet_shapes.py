"""Separation of quarks and gluons by standard jet shapes, a reference for the image classifiers.

    python benchmarks/jet_shapes.py [--dataset cms_jets/quick] [--data_dir DIR] [--json FILE]

Trains gradient-boosted trees of scikit-learn on the multiplicity, the width, the pT dispersion, the mass, the
pT and the pseudorapidity of the jets, on the same training sample as a network, and prints the AUC on the
same validation sample, with its standard deviation. The public files contain only mass and pT.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from e2e_jax.datasets import preparation, reading

BOOTSTRAP = 200


def columns(jets):
    """The observables `[n, k]` and the labels `[n]`."""
    return np.stack([*jets.observables.values()], axis=1), np.asarray(jets.label)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="cms_jets/quick")
    parser.add_argument("--data_dir", default="")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    args = parser.parse_args()
    folder = preparation.prepare_dataset(args.dataset, args.data_dir)
    train, validation = (reading.open_split(folder, split, False) for split in ("train", "validation"))
    (x, y), (x_test, y_test) = columns(train), columns(validation)
    trees = HistGradientBoostingClassifier(
        learning_rate=0.03,
        max_iter=1000,
        max_leaf_nodes=6,
        early_stopping=True,
        validation_fraction=0.2,
        random_state=0,
    )
    scores = trees.fit(x, y).predict_proba(x_test)[:, 1]
    figures = {"trees": _auc(y_test, scores)}
    for name, values in validation.observables.items():
        value, error = _auc(y_test, values)
        figures[name] = (max(value, 1 - value), error)
    for name, (value, error) in figures.items():
        print(f"{name:<14}{value:.3f} +- {error:.3f}")
    if args.json:
        args.json.write_text(json.dumps({"dataset": args.dataset, "auc": figures}))


def _auc(labels, scores):
    """The AUC, and its standard deviation over bootstrap samples."""
    random, n = np.random.default_rng(0), len(labels)
    rows = random.integers(0, n, (BOOTSTRAP, n))
    return roc_auc_score(labels, scores), np.std([roc_auc_score(labels[r], scores[r]) for r in rows])


if __name__ == "__main__":
    main()
