"""The benchmarks measure what they claim to."""

import pytest

from benchmarks import train_step


@pytest.mark.slow
@pytest.mark.parametrize(("arch", "onednn"), [("x86-64-v2", "SSE4.1"), ("x86-64-v3", "AVX2")])
def test_pytorch_is_limited_to_the_instruction_set(arch, onednn):
    pytest.importorskip("torch")
    if train_step.missing(arch):
        pytest.skip(f"this processor lacks {train_step.missing(arch)}")
    results = train_step.measure(arch, ["torch"], 2, 1, 1, 0.03)["torch"]
    assert results["used"].endswith(onednn)
    assert len(results["wall"]) == 2


def test_a_library_that_cannot_start_is_left_out():
    assert train_step.measure("native", ["torch"], 1, -1, 1, 0.03) == {}
