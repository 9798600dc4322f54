"""A damaged dataset raises a DatasetError that names its folder, or returns the events that were written."""

import collections

import pytest

from benchmarks import folder_mutations

MUTATIONS = 60


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """The folder of the datasets, with one that was opened before."""
    folder = tmp_path_factory.mktemp("sound")
    folder_mutations.make_dataset(folder)
    return folder


@pytest.mark.slow
def test_damage_is_told_or_does_no_harm(origin, tmp_path):
    outcomes = collections.Counter()
    for seed in range(MUTATIONS):
        outcome, *what = folder_mutations.attempt("dataset", origin, tmp_path / "damaged", seed)
        assert outcome in ("correct", "told"), (seed, *what)
        outcomes[outcome] += 1
    assert outcomes["told"] > MUTATIONS / 10
