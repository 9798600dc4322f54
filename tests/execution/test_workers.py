"""Worker processes get an environment of their own, and leave that of their parent as it was."""

import os

from e2e_jax.execution.workers import KEPT_MEMORY, THREAD_VARIABLES, WorkerPool

NAMES = (*THREAD_VARIABLES, *KEPT_MEMORY)


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
