"""Parts joined are the parts one after another, and never all in memory next to the whole."""

import tracemalloc

import numpy as np

from e2e_jax.events.joining import join


def test_the_parts_come_one_after_another():
    rng = np.random.default_rng(0)
    parts = [
        {"cell": rng.integers(0, 9, n).astype(np.uint16), "samples": rng.random((n, 3), np.float32)}
        for n in (0, 5, 1, 0, 700, 2)
    ]
    joined = join(iter(parts))
    assert list(joined) == ["cell", "samples"]
    for name, values in joined.items():
        expected = np.concatenate([part[name] for part in parts])
        assert values.dtype == expected.dtype
        np.testing.assert_array_equal(values, expected)


def test_a_part_alone_is_a_copy_and_no_part_is_nothing():
    part = {"energy": np.arange(3.0)}
    joined = join([part])["energy"]
    joined[0] = 7
    assert part["energy"][0] == 0
    assert join([]) == {}


def test_an_iterators_parts_are_not_all_in_memory_at_once():
    parts, size = 64, 100_000
    tracemalloc.start()
    try:
        joined = join({"energy": np.full(size, i, np.float32)} for i in range(parts))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert joined["energy"].nbytes == 4 * parts * size
    assert peak < 1.25 * joined["energy"].nbytes
