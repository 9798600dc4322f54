"""A process that finds another one making the pile-up generates its collisions meanwhile, and loses none."""

import threading

import filelock
import numpy as np
import pytest

from e2e_jax.sources.events import Ragged
from e2e_jax.sources.fastsim.simulate import pool_and_collisions


@pytest.fixture
def locks(tmp_path):
    """The lock of this process, and the same one held by another."""
    mine, others = (filelock.FileLock(tmp_path / "lock", thread_local=False) for _ in range(2))
    others.acquire()
    yield mine, others
    others.release()


def numbered_chunks(made, before=lambda number: None):
    """Five chunks of two collisions; `made` counts those that were asked for."""
    for number in range(5):
        before(number)
        made.append(number)
        yield Ragged.from_counts(np.ones(2, np.int64), {"pdg": np.full(2, number)})


def test_no_collision_is_lost_or_moved(locks):
    made = []
    chunks = numbered_chunks(made, lambda number: locks[1].release() if number == 3 else None)
    pool, chunks = pool_and_collisions(lambda: "pool", chunks, enough=100, lock=locks[0])
    assert pool == "pool"
    assert made == [0, 1, 2, 3]
    assert [chunk.pdg.tolist() for chunk in chunks] == [[number] * 2 for number in range(5)]


def test_no_more_than_enough_is_generated(locks):
    made = []
    timer = threading.Timer(0.3, locks[1].release)
    timer.start()
    pool_and_collisions(lambda: "pool", numbered_chunks(made), enough=3, lock=locks[0])
    timer.join()
    assert made == [0, 1]


def test_a_process_that_is_alone_generates_nothing_ahead(locks):
    locks[1].release()
    made = []
    pool_and_collisions(lambda: "pool", numbered_chunks(made), enough=100, lock=locks[0])
    assert made == []
    assert not locks[0].is_locked


def test_without_locks_every_process_makes_the_pileup():
    class Unsupported(filelock.SoftFileLock):
        def acquire(self, **_):
            raise NotImplementedError("this file system has no locks")

    pool, chunks = pool_and_collisions(lambda: "pool", numbered_chunks([]), 100, Unsupported("lock"))
    assert pool == "pool"
    assert len(list(chunks)) == 5
