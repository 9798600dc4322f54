"""Only physics distinguishes the classes.

Every class has the same detector and pile-up simulation. A boosted-tree classifier must not separate any pair
of classes by quantities unrelated to the hard collision: number, energy and position of hits and tracks in
the sector of phi with the least energy from the hard collision, far from photons and recoil, and the order of
its tracks.
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
from e2e_jax.sources.simulation import crossings, generator, pileup, simulate
from e2e_jax.studies import hgg
from e2e_jax.study.samples import Sample, pythia

pytestmark = pytest.mark.slow

EVENTS = 1000
SECTORS = 12
PROCESSES = {"gamma_gamma": "diphoton_born", "h": "higgs_to_photons", "gamma_jet": "photon_jet"}
"""The whole phase space, without the samples' cuts."""
ERA = hgg.ERAS["central"][1]
BOUND = 0.03
"""Maximum distance of the AUC from 0.5; its statistical error is 0.013."""


def sector_of(phi):
    """Index of the twelfth of the circle that contains a direction."""
    return (np.asarray(phi) % (2 * np.pi) / (2 * np.pi) * SECTORS).astype(int) % SECTORS


def quietest_sector(record):
    """The sector with the least transverse momentum of each generated event, `[events]`."""
    pt = np.hypot(record.px, record.py) * (np.abs(record.pz) < 10 * np.hypot(record.px, record.py))
    place = record.event_index * SECTORS + sector_of(np.arctan2(record.py, record.px))
    return np.bincount(place, pt, len(record) * SECTORS).reshape(-1, SECTORS).argmin(axis=1)


def nuisances(record, seen):
    """Quantities `[events]` of the quietest sector, which the hard collision should not change."""
    quiet, events = quietest_sector(record), len(record)
    row, column = np.divmod(seen.eb.cell.astype(int), geometry.EB_COLUMNS)
    ieta, iphi, _ = geometry.hcal_coordinates(seen.hcal.cell)
    columns = {}
    for name, items, size, eta, phi in (
        ("eb", seen.eb, seen.eb.energy, geometry.eb_eta_centres()[row], geometry.eb_phi_centres()[column]),
        ("hcal", seen.hcal, seen.hcal.energy, ieta, np.radians(5 * iphi - 2.5)),
        ("tracks", seen.tracks, seen.tracks.pt, seen.tracks.eta, seen.tracks.phi),
    ):
        inside = sector_of(phi) == quiet[items.event_index]
        owner, size, eta = items.event_index[inside], size[inside], eta[inside]
        number = np.bincount(owner, minlength=events)
        columns |= {
            f"{name} number": number,
            f"{name} mean": np.bincount(owner, size, events) / np.maximum(number, 1),
            f"{name} largest": np.maximum.reduceat(np.append(size, 0), np.searchsorted(owner, range(events))),
            f"{name} side": np.bincount(owner, np.sign(eta), events),
        }
    # For the tracks: whether the first half in the order is harder than the second.
    place = np.arange(len(owner)) - np.searchsorted(owner, owner)
    early = np.where(2 * place < number[owner], 1, -1)
    columns["tracks order"] = np.bincount(owner, early * np.minimum(size, 2), events)
    return columns


@pytest.fixture(scope="module")
def classes():
    """Nuisances of events of each class, before any selection."""
    pool, found = pileup.simulate_pool(600, 7), {}
    for name, process in PROCESSES.items():
        rng, parts = np.random.default_rng(11), []
        generation = generator.generate(Sample(name, pythia(process)), 3, fast=True, chunk=100)
        for record in itertools.islice(simulate.batches(generation, 50), EVENTS // 50):
            means = crossings.draw_means(ERA, len(record), rng)
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


@pytest.mark.parametrize(("one", "other"), [*itertools.combinations(PROCESSES, 2)])
def test_nuisances_do_not_separate_the_classes(classes, one, other):
    assert abs(auc(classes[one], classes[other]) - 0.5) < BOUND


@pytest.mark.parametrize("column", ["tracks order", "eb mean", "hcal number"])
def test_the_classifier_finds_a_leak_where_there_is_one(classes, column):
    """One half of a class against the other half, with one quantity shifted by 0.4 of its spread."""
    one, other = ({name: values[half::2] for name, values in classes["h"].items()} for half in range(2))
    other[column] = other[column] + 0.4 * other[column].std()
    assert auc(one, other) > 0.5 + BOUND
