"""Where a checksum covers a format, no damage gives other content; and no damage crashes a reader."""

import pytest

from benchmarks import mutations

COVERED = ("root-uncompressed-checksum", "hdf5-fletcher32", "kept-npz", "pileup-pool")
"""Of these, no other content is ever read."""

OTHERS = ("root-some-uncompressed", "hdf5")


@pytest.mark.parametrize("name", [*COVERED, *OTHERS])
def test_damage_is_told_or_does_no_harm(name, tmp_path):
    counts = mutations.damage(mutations.TARGETS[name], tmp_path, mutations=60, seed=1)
    assert counts["crashed"] == 0
    assert counts["told"] > 10
    assert name in OTHERS or counts["silent"] == 0


def test_other_content_and_other_errors_are_noticed(tmp_path):
    """The script itself: a reader that ignores damage is silent, one that fails otherwise crashed."""

    def make(folder):
        (folder / "content").write_bytes(bytes(100))
        return folder / "content"

    def read(path):
        return {"content": mutations.np.frombuffer(path.read_bytes(), "u1")}

    def fail(path):
        if path.read_bytes() != bytes(100):
            raise KeyError("x")
        return {}

    for reader, outcome in ((read, "silent"), (fail, "crashed")):
        counts = mutations.damage(mutations.Target(make, reader), tmp_path, mutations=20, seed=1)
        assert counts[outcome] + counts["correct"] == 20
        assert counts[outcome] > 10
