"""Scores are written in groups of rows."""

import numpy as np

from e2e_jax.inference.scoring import output


def test_many_small_pieces_are_written_as_few(monkeypatch):
    monkeypatch.setattr(output, "GROUP_ROWS", 5)
    pieces = [{"a": np.arange(3 * i, 3 * i + 3)} for i in range(7)]
    written = [rows["a"].tolist() for rows in output.grouped(iter(pieces))]
    assert np.concatenate(written).tolist() == list(range(21))
    assert [len(rows) for rows in written] == [6, 6, 6, 3]
