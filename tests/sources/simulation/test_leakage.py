"""Nothing tells the classes apart but their physics.

Every class goes through the same detector and pile-up. A boosted-tree classifier on what is no part of the
hard collision must not separate any pair of them: the order of tracks, hits of noise and pile-up beside the
activity, where these lie, and the vertex.
"""

import itertools

import numpy as np
import pytest

pytest.importorskip("pythia8mc")
pytest.importorskip("sklearn")

from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from e2e_jax.detector import geometry
from e2e_jax.events.diphotons import CLASSES
from e2e_jax.sources.simulation import crossings, generator, pileup, simulate

pytestmark = pytest.mark.slow

EVENTS = 1500
BOUND = 0.03
"""Of the distance of the AUC to 0.5; its statistical error is 0.011."""


def activity_axis(record):
    """phi of the hardest photon of each generated event."""
    pt = np.hypot(record.px, record.py) * (record.pdg == 22)
    order = np.lexsort((pt, record.event_index))
    hardest = order[record.offsets[1:] - 1]
    return np.arctan2(record.py, record.px)[hardest]


def beside(phi, axis):
    """Which directions lie in the quieter-by-chance side: 60 to 120 degrees clockwise of the axis."""
    return np.abs(geometry.delta_phi(phi, axis + np.pi / 2)) < np.pi / 6


def nuisances(record, seen):
    """Quantities `[events, ...]` that no physics of the hard collision should move."""
    axis, events = activity_axis(record), len(record)

    def mean(owner, values):
        total, count = np.bincount(owner, values, events), np.bincount(owner, minlength=events)
        return total / np.maximum(count, 1)

    tracks, owner = seen.tracks, seen.tracks.event_index
    place = (np.arange(len(owner)) - tracks.offsets[owner]) / tracks.counts[owner]
    apart = tracks.pt - mean(owner, tracks.pt)[owner]
    columns = {
        "place of hard tracks": mean(owner, place * apart),
        "first track's pT": tracks.pt[tracks.offsets[:-1]],
        "vertex": seen.vertex_z,
    }
    for name, hits in (("eb", seen.eb), ("hcal", seen.hcal)):
        if name == "eb":
            row, column = np.divmod(hits.cell.astype(int), geometry.EB_COLUMNS)
            eta, phi = geometry.eb_eta_centres()[row], geometry.eb_phi_centres()[column]
            noise = (hits.energy > 0.1) & (hits.energy < 0.14)
        else:
            ieta, iphi, _ = geometry.hcal_coordinates(hits.cell)
            eta, phi = 0.087 * ieta, np.radians(5 * iphi - 2.5)
            noise = hits.energy < 0.6
        owner = hits.event_index
        quiet = noise & beside(phi, axis[owner])
        columns |= {
            f"{name} noise beside": np.bincount(owner[quiet], minlength=events),
            f"{name} side": mean(owner[quiet], np.sign(eta[quiet])),
            f"{name} place": mean(owner[quiet], np.cos(4 * phi[quiet])),
        }
    return columns


@pytest.fixture(scope="module")
def classes():
    """Nuisances of events of each class, before any selection."""
    pool, found = pileup.simulate_pool(600, 7), {}
    for name in CLASSES:
        rng, parts = np.random.default_rng(11), []
        generation = generator.generate(name, 3, fast=True, category="all", enrich=False, chunk=100)
        for record in itertools.islice(simulate.batches(generation, 50), EVENTS // 50):
            means = crossings.draw_means("2012C", len(record), rng)
            seen = simulate.detect(
                record,
                pool,
                rng.poisson(means) + 2,
                crossings.neighbors(means, rng),
                rng,
                "selective_readout",
                of_the_event=2,
            )
            parts.append(nuisances(record, seen))
        found[name] = {column: np.concatenate([part[column] for part in parts]) for column in parts[0]}
    return found


def auc(one, other, columns=None):
    """Cross-validated AUC of boosted trees between two classes."""
    columns = columns or list(one)
    values = np.concatenate([np.stack([some[c] for c in columns], axis=1) for some in (one, other)])
    label = np.repeat([0, 1], [len(values) // 2] * 2)
    model = HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=8, random_state=1)
    folds = StratifiedKFold(4, shuffle=True, random_state=1)
    score = cross_val_predict(model, values, label, cv=folds, method="predict_proba")[:, 1]
    return roc_auc_score(label, score)


@pytest.mark.parametrize(("one", "other"), [*itertools.combinations(CLASSES, 2)])
def test_nuisances_do_not_separate_the_classes(classes, one, other):
    assert abs(auc(classes[one], classes[other]) - 0.5) < BOUND


def test_the_classifier_finds_a_leak_where_there_is_one(classes):
    leaking = dict(classes["h"])
    leaking["place of hard tracks"] = leaking["place of hard tracks"] - 0.01
    assert auc(classes["h"], leaking) > 0.5 + 2 * BOUND
