"""Worker processes have their own environments and do not change the environment of their parent."""

import os
import time

from e2e_jax.execution.workers import KEPT_MEMORY, THREAD_VARIABLES, WorkerPool

NAMES = (*THREAD_VARIABLES, *KEPT_MEMORY)
VARIABLE = "E2E_TEST_DEVICE"


def value_after_a_pause(_):
    # Long enough for the other process to take a job.
    time.sleep(0.5)
    return os.environ[VARIABLE]


def test_each_process_has_its_own_environment():
    with WorkerPool(2, environments=[{VARIABLE: "a"}, {VARIABLE: "b"}]) as pool:
        assert set(pool.map(value_after_a_pause, range(6))) == {"a", "b"}


def test_workers_use_one_thread_and_keep_their_memory_unless_the_user_says_otherwise(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    chosen, other = KEPT_MEMORY
    monkeypatch.setenv(chosen, "131072")
    before = dict(os.environ)
    with WorkerPool(1) as pool:
        seen = {name: pool.submit(os.getenv, name).result() for name in NAMES}
    assert seen == dict.fromkeys(THREAD_VARIABLES, "1") | {chosen: "131072", other: str(KEPT_MEMORY[other])}
    assert dict(os.environ) == before
