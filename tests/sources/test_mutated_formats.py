"""If a checksum covers a format, damage never gives other content; no damage crashes a reader."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import mutations

ROOT = Path(__file__).parents[2]

COVERED = ("root-uncompressed-checksum", "hdf5-fletcher32", "kept-npz", "pileup-pool")
"""Formats for which damage never gives other content."""

OTHERS = ("root-some-uncompressed", "hdf5")


@pytest.mark.slow
def test_damage_is_told_or_does_no_harm():
    """Run in a process without JAX, because each read forks."""
    command = [sys.executable, "benchmarks/mutations.py", "--mutations=60", "--seed=1", *COVERED, *OTHERS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()[2:]]
    counts = {name: dict(zip(mutations.OUTCOMES, map(int, numbers))) for name, *numbers in rows}
    assert list(counts) == [*COVERED, *OTHERS], done.stdout
    for name, count in counts.items():
        assert count["crashed"] == 0, name
        assert count["told"] > 10, name
        assert name in OTHERS or count["silent"] == 0, name


def test_other_content_is_silent_and_other_errors_are_crashes(tmp_path):
    def read(path):
        return {"content": np.frombuffer(path.read_bytes(), "u1")}

    def fail(path):
        raise KeyError(path)

    (tmp_path / "content").write_bytes(b"sound")
    expected = mutations.digest(read(tmp_path / "content"))
    for content, reader, outcome in (
        (b"sound", read, "correct"),
        (b"other", read, "silent"),
        (b"sound", fail, "crashed"),
    ):
        (tmp_path / "content").write_bytes(content)
        target = mutations.Target(None, reader)
        assert mutations.read_once(target, tmp_path / "content", expected)[0] == outcome
