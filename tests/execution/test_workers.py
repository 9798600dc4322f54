"""A pool of processes that are alike but for the environment variables given to each."""

import os
import time

from e2e_jax.execution.workers import WorkerPool

VARIABLE = "E2E_TEST_DEVICE"


def value_after_a_pause(_):
    # Long enough for the other process to take a job.
    time.sleep(0.5)
    return os.environ[VARIABLE]


def test_each_process_has_its_own_environment():
    with WorkerPool(2, environments=[{VARIABLE: "a"}, {VARIABLE: "b"}]) as pool:
        assert set(pool.map(value_after_a_pause, range(6))) == {"a", "b"}
