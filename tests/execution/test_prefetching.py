"""A thread makes items ahead of their use."""

import threading
import time

import pytest

from e2e_jax.execution.prefetching import prefetch


def test_the_thread_passes_errors_on_and_ends_with_its_consumer():
    def two_then_fail():
        yield from (1, 2)
        raise ArithmeticError("three is too many")

    received = []
    with pytest.raises(ArithmeticError, match="three"):
        received.extend(prefetch(two_then_fail))
    assert received == [1, 2]

    endless = prefetch(lambda: iter(int, 1))
    next(endless)
    endless.close()
    time.sleep(0.01)
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]
