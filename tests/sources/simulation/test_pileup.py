"""The pile-up pool comes back from its file, and nothing but a sound pool does."""

import dataclasses

import numpy as np
import pytest

from e2e_jax.events.base import Ragged
from e2e_jax.files.npz import NpzError
from e2e_jax.sources.simulation import pileup

EVENTS = 6


def pool_of(endcaps=True, factor=1.0):
    random = np.random.default_rng(1)
    parts = {}
    for name, cells in {"ecal": 61200, "hcal": 4176, "ee": 20000}.items():
        counts = random.integers(1, 9, EVENTS)
        cell = random.integers(0, cells, counts.sum()).astype(np.uint16)
        energy = (factor * random.uniform(0.01, 3, counts.sum())).astype(np.float32)
        parts[name] = Ragged.from_counts(counts, {"cell": cell, "energy": energy})
    counts = random.integers(0, 9, EVENTS)
    tracks = {name: random.uniform(0.3, 2, counts.sum()).astype(np.float32) for name in ("pt", "eta", "phi")}
    parts["tracks"] = Ragged.from_counts(counts, tracks)
    return pileup.Pool(**parts if endcaps else parts | {"ee": None})


def assert_same(one, other):
    for field in dataclasses.fields(pileup.Pool):
        some, others = getattr(one, field.name), getattr(other, field.name)
        if others is None:
            assert some is None
            continue
        np.testing.assert_array_equal(some.offsets, others.offsets)
        for column, values in others.columns.items():
            np.testing.assert_array_equal(some.columns[column], values)


@pytest.mark.parametrize("endcaps", [False, True])
def test_a_pool_comes_back_as_it_was_written(tmp_path, endcaps):
    pileup.write_pool(tmp_path / "pool.npz", pool_of(endcaps))
    assert_same(pileup.read_pool(tmp_path / "pool.npz", EVENTS, endcaps), pool_of(endcaps))


def test_no_damaged_byte_changes_a_pool(tmp_path):
    path = tmp_path / "pool.npz"
    pileup.write_pool(path, pool_of())
    content, random, refused = path.read_bytes(), np.random.default_rng(2), 0
    for place in random.choice(len(content), 300, replace=False):
        damaged = bytearray(content)
        damaged[place] ^= random.integers(1, 256)
        path.write_bytes(damaged)
        try:
            assert_same(pileup.read_pool(path, EVENTS, True), pool_of())
        except NpzError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("factor", [1000, -1, np.nan])
def test_energies_that_no_collision_leaves_are_refused_whatever_the_digest(tmp_path, factor):
    pileup.write_pool(tmp_path / "pool.npz", pool_of(factor=factor))
    with pytest.raises(NpzError, match=r"pool\.npz"):
        pileup.read_pool(tmp_path / "pool.npz", EVENTS, True)


def test_a_pool_of_other_events_or_of_the_barrel_alone_is_refused(tmp_path):
    pileup.write_pool(tmp_path / "pool.npz", pool_of(endcaps=False))
    for events, endcaps in ((EVENTS + 1, False), (EVENTS, True)):
        with pytest.raises(NpzError):
            pileup.read_pool(tmp_path / "pool.npz", events, endcaps)


@pytest.fixture
def made(tmp_path, monkeypatch):
    """The pools that were made in the place of simulated ones; the cache is empty at first."""
    made = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(pileup, "simulate_pool", lambda *arguments: made.append(arguments) or pool_of())
    yield made
    pileup._made_by.cache_clear()


def cached(tmp_path):
    """What a new process gets."""
    pileup.minimum_bias_pool.cache_clear()
    try:
        return pileup.minimum_bias_pool(EVENTS, 3, True)
    finally:
        pileup.minimum_bias_pool.cache_clear()


@pytest.mark.parametrize("damage", [b"", b"no zip", None])
def test_a_damaged_file_is_made_again(tmp_path, made, damage):
    for _ in range(2):
        assert_same(cached(tmp_path), pool_of())
    assert len(made) == 1
    (file,) = (tmp_path / "e2e_jax").iterdir()
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2] if damage is None else damage)
    assert_same(cached(tmp_path), pool_of())
    assert len(made) == 2
    assert file.read_bytes() == content


def test_another_version_of_pythia_makes_a_pool_of_its_own(tmp_path, made, monkeypatch):
    for version in ("8.1", "8.2"):
        monkeypatch.setattr(pileup.importlib.metadata, "version", lambda _, version=version: version)
        pileup._made_by.cache_clear()
        cached(tmp_path)
    assert len(made) == 2
    assert len(list((tmp_path / "e2e_jax").iterdir())) == 2
