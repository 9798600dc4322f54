"""A process that waits for other processes to make the pile-up generates its collisions and loses none."""

import numpy as np
import pytest

from e2e_jax.events.base import Ragged
from e2e_jax.sources.simulation.simulate import collisions_while_made


class Busy:
    """Pile-up that another process finishes after some waits."""

    def __init__(self, waits):
        self.waits = waits

    def make(self, wait):
        for _ in range(self.waits):
            wait()


@pytest.mark.parametrize(("waits", "enough", "ahead"), [(0, 100, 0), (3, 100, 3), (4, 3, 2)])
def test_no_collision_is_lost_moved_or_made_too_early(waits, enough, ahead):
    made = []

    def numbered_chunks():
        for number in range(5):
            made.append(number)
            yield Ragged.from_counts(np.ones(2, np.int64), {"pdg": np.full(2, number)})

    chunks = collisions_while_made(Busy(waits), numbered_chunks(), enough)
    assert made == [*range(ahead)]
    assert [chunk.pdg.tolist() for chunk in chunks] == [[number] * 2 for number in range(5)]
