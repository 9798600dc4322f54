"""The table for the start of minimum-bias collisions equals the one that Pythia integrates."""

import importlib.metadata
import re

import numpy as np
import pytest

pytest.importorskip("pythia8mc")

from e2e_jax.sources.simulation import generator, multiparton


def numbers(path):
    return np.array(re.findall(r"\d+\.\d+(?:e[+-]\d+)?", path.read_text()), float)


@pytest.mark.slow
def test_the_table_of_this_version_of_pythia_is_what_it_integrates(tmp_path):
    path = tmp_path / "a folder with spaces" / "table.txt"
    path.parent.mkdir()
    multiparton.write(path)
    made, kept = numbers(path), numbers(multiparton.table())
    assert multiparton.table().name == f"multiparton_{importlib.metadata.version('pythia8mc')}.txt"
    assert made.shape == kept.shape
    # Another processor may round differently and then integrate with other random numbers.
    assert np.isclose(made, kept, rtol=0.1, atol=0.05).mean() > 0.95


@pytest.mark.slow
def test_minimum_bias_follows_the_table_it_starts_from(monkeypatch, tmp_path):
    def first_momenta():
        return next(generator.generate(generator.MINIMUM_BIAS, 3, chunk=3)).px

    with_table = first_momenta()
    monkeypatch.setattr(multiparton, "table", lambda: tmp_path / "missing.txt")
    assert not np.array_equal(with_table, first_momenta())
