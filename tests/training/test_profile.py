"""A requested profile is written, for steps after the compilation."""

import jax
import jax.numpy as jnp

from e2e_jax.training import profile

PIECES = [3, 2, 1, 2, 4]


def stand_in(began):
    """A feed of pieces with `PIECES` steps, which notes when it works on one."""
    work = jax.jit(lambda x: x @ x)

    def feed(state, epoch, first):
        for steps in PIECES:
            began.append("piece")
            yield work(state).block_until_ready(), [{"loss": 1.0}] * steps

    return feed


def test_files_appear(tmp_path):
    feed = profile.profiled(stand_in([]), tmp_path / "profile")
    assert [len(metrics) for _, metrics in feed(jnp.eye(8), 0, 0)] == PIECES
    names = [path.name for path in (tmp_path / "profile").rglob("*") if path.is_file()]
    assert any(name.endswith(".xplane.pb") for name in names)
    assert any(name.endswith(".trace.json.gz") for name in names)


def test_the_first_piece_and_those_after_enough_steps_are_left_out(monkeypatch):
    events = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: events.append("start"))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: events.append("stop"))
    feed = profile.profiled(stand_in(events), "folder")
    for epoch in range(2):
        list(feed(jnp.eye(8), epoch, 0))
    # 2 + 1 + 2 steps are the first to be at least 4.
    expected = ["piece", "start", *["piece"] * 3, "stop", *["piece"] * (1 + len(PIECES))]
    assert events == expected


def test_a_training_that_breaks_off_ends_its_profile(monkeypatch):
    events = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: events.append("start"))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: events.append("stop"))
    pieces = profile.profiled(stand_in(events), "folder")(jnp.eye(8), 0, 0)
    next(pieces), next(pieces)
    pieces.close()
    assert events == ["piece", "start", "piece", "stop"]
