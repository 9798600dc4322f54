"""Pile-up pools are read back from their files, damaged ones are refused; each split has its own pool."""

import dataclasses

import filelock
import numpy as np
import pytest

from e2e_jax.events.base import Ragged
from e2e_jax.files.npz import NpzError
from e2e_jax.sources.simulation import pileup, pool_files
from e2e_jax.sources.simulation.pool_files import Shards

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
    parts |= {name: random.uniform(1, 9, EVENTS).astype(np.float32) for name in ("vertex_z", "sum_pt2")}
    return pileup.Pool(**parts if endcaps else parts | {"ee": None})


def assert_same(one, other):
    for field in dataclasses.fields(pileup.Pool):
        some, others = getattr(one, field.name), getattr(other, field.name)
        if others is None:
            assert some is None
            continue
        if not isinstance(others, Ragged):
            np.testing.assert_array_equal(some, others)
            continue
        np.testing.assert_array_equal(some.offsets, others.offsets)
        for column, values in others.columns.items():
            np.testing.assert_array_equal(some.columns[column], values)


@pytest.mark.parametrize("endcaps", [False, True])
def test_a_pool_comes_back_as_it_was_written(tmp_path, endcaps):
    pool_files.write_pool(tmp_path / "pool.npz", pool_of(endcaps))
    assert_same(pool_files.read_pool(tmp_path / "pool.npz", EVENTS, endcaps), pool_of(endcaps))


def test_no_damaged_byte_changes_a_pool(tmp_path):
    path = tmp_path / "pool.npz"
    pool_files.write_pool(path, pool_of())
    content, random, refused = path.read_bytes(), np.random.default_rng(2), 0
    for place in random.choice(len(content), 300, replace=False):
        damaged = bytearray(content)
        damaged[place] ^= random.integers(1, 256)
        path.write_bytes(damaged)
        try:
            assert_same(pool_files.read_pool(path, EVENTS, True), pool_of())
        except NpzError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("factor", [1000, -1, np.nan])
def test_energies_that_no_collision_leaves_are_refused_whatever_the_digest(tmp_path, factor):
    pool_files.write_pool(tmp_path / "pool.npz", pool_of(factor=factor))
    with pytest.raises(NpzError, match=r"pool\.npz"):
        pool_files.read_pool(tmp_path / "pool.npz", EVENTS, True)


def test_a_pool_of_other_events_or_of_the_barrel_alone_is_refused(tmp_path):
    pool_files.write_pool(tmp_path / "pool.npz", pool_of(endcaps=False))
    for events, endcaps in ((EVENTS + 1, False), (EVENTS, True)):
        with pytest.raises(NpzError):
            pool_files.read_pool(tmp_path / "pool.npz", events, endcaps)


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Seeds of the shards made instead of simulated ones; the cache is empty at first."""
    made = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(pool_files, "SHARD_EVENTS", EVENTS)
    monkeypatch.setattr(
        pool_files, "simulate_pool", lambda events, seed, endcaps: made.append(seed) or pool_of()
    )
    yield made
    pool_files._made_by.cache_clear()
    pool_files._opened.cache_clear()


def opened(index=0):
    """The pool in a new process."""
    pool_files._opened.cache_clear()
    return Shards("train", 3, True).open(index)


@pytest.mark.parametrize("damage", [b"", b"no zip", None])
def test_a_damaged_file_is_made_again(tmp_path, made, damage):
    for _ in range(2):
        assert_same(opened(), pool_of())
    assert len(made) == 1
    (file,) = (tmp_path / "e2e_jax").iterdir()
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2] if damage is None else damage)
    assert_same(opened(), pool_of())
    assert len(made) == 2
    assert file.read_bytes() == content


def test_another_version_of_pythia_makes_a_pool_of_its_own(tmp_path, made, monkeypatch):
    for version in ("8.1", "8.2"):
        monkeypatch.setattr(pool_files.importlib.metadata, "version", lambda _, version=version: version)
        pool_files._made_by.cache_clear()
        opened()
    assert len(made) == 2
    assert len(list((tmp_path / "e2e_jax").iterdir())) == 2


def test_no_two_splits_share_pile_up(made):
    for split in ("train", "validation", "test"):
        Shards(split, 2, True).make()
    assert len(set(made)) == 6
    seeds = {Shards(split).seed(index) for split in ("train", "validation", "test") for index in range(300)}
    assert len(seeds) == 900


def test_a_pool_is_mapped_and_not_read(tmp_path):
    pool_files.write_pool(tmp_path / "pool.npz", pool_of())
    column = pool_files.read_pool(tmp_path / "pool.npz", EVENTS, True).ecal.energy
    assert isinstance(column.base, np.memmap)
    assert not column.flags.writeable


def test_random_shards_are_drawn_from_all(made):
    shards, rng = Shards("train", 3, True), np.random.default_rng(1)
    drawn = {id(shards.draw(rng)) for _ in range(40)}
    assert len(drawn) == 3


def test_what_other_processes_make_is_waited_for(tmp_path, made):
    shards, waits = Shards("train", 3, True), []
    shards.path(1).parent.mkdir(parents=True)
    others = filelock.FileLock(shards.path(1).with_suffix(".lock"), thread_local=False)
    others.acquire()

    def wait():
        waits.append(shards.path(2).exists())
        if len(waits) == 3:
            pool_files.write_pool(shards.path(1), pool_of())
            others.release()

    shards.make(wait)
    assert waits == [True] * 3
    assert sorted(made) == sorted(shards.seed(index) for index in (0, 2))


def test_without_locks_every_process_makes_the_pile_up(made, monkeypatch):
    class Unsupported(filelock.SoftFileLock):
        def acquire(self, **_):
            raise NotImplementedError("this file system has no locks")

    monkeypatch.setattr(pool_files.filelock, "FileLock", Unsupported)
    Shards("train", 2, True).make()
    assert len(made) == 2
