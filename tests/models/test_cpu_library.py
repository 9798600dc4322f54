"""The C++ library: compiled for any instruction set; used only if it is correct, fast and private."""

import functools
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from e2e_jax.models.cpu import library

FLAGS = {"x86-64-v2": "sse4_2", "x86-64-v3": "avx2", "x86-64-v4": "avx512vl"}
"""A flag of /proc/cpuinfo that processors with the instruction set have."""

LAWS = """
from tests.models.cpu import test_resnet_cpu as laws
for case in laws.CASES[1:]:
    laws.test_values_and_gradients_are_the_plain_networks(*case)
laws.test_empty_and_full_images_are_taken_too(1.0)
"""

NETWORK = """
import numpy as np, jax
from e2e_jax.models.backend import CpuFeatures
x = np.ones((1, 20, 20, 1), np.float32)
network = CpuFeatures()
print(network.apply(network.init(jax.random.key(0), x), x).shape)
"""


def python(program, **environment):
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | environment
    )


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache for a test of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("E2E_CPU_KERNELS", raising=False)
    library.prepared.cache_clear()
    yield tmp_path / "cache" / "e2e_jax"
    library.prepared.cache_clear()


def compiler(tmp_path, program):
    """A compiler that writes its output with a shell program; $out is the file."""
    path = tmp_path / "c++"
    find_output = 'while [ "$1" != -o ]; do shift; done; out=$2'
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exit 0\n{find_output}\n{program}\n')
    path.chmod(0o755)
    return str(path)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/cpuinfo")
@pytest.mark.parametrize("architecture", FLAGS)
@pytest.mark.parametrize("name", ["g++", "clang++"])
def test_each_instruction_set_computes_what_xla_computes(name, architecture):
    if not shutil.which(name):
        pytest.skip(f"no {name} on this machine")
    if FLAGS[architecture] not in Path("/proc/cpuinfo").read_text():
        pytest.skip(f"this processor has no {architecture}")
    ran = python(LAWS, CXX=name, E2E_CPU_ARCH=architecture, E2E_CPU_KERNELS="1")
    assert ran.returncode == 0, ran.stderr


def test_an_unknown_instruction_set_is_named():
    with pytest.raises(library.LibraryError, match="E2E_CPU_ARCH is 'sse9'"):
        library.prepared("sse9")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("echo no such flag >&2; exit 1", "no such flag"),
        ("kill -9 $$", "fails"),
        ("echo cut off > $out", "does not run"),
    ],
)
def test_a_compiler_that_fails_is_told_in_one_sentence(cache, tmp_path, monkeypatch, program, said):
    monkeypatch.setenv("CXX", compiler(tmp_path, program))
    with pytest.warns(UserWarning, match=said) as caught:
        assert library.chosen()[0] is None
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)


@pytest.mark.slow
def test_a_compiler_that_does_not_end_is_stopped(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(library, "COMPILE_SECONDS", 1)
    monkeypatch.setenv("CXX", compiler(tmp_path, "exec sleep 600"))
    with pytest.warns(UserWarning, match="timed out"):
        assert library.chosen()[0] is None


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
@pytest.mark.parametrize(
    "statement",
    ["*(volatile int*)0 = 1;", "raise(SIGILL);"],
    ids=["address", "instruction that the processor lacks"],
)
def test_a_library_that_crashes_is_not_loaded_here(cache, tmp_path, monkeypatch, statement):
    source = tmp_path / "crash.c"
    source.write_text(f"#include <signal.h>\n__attribute__((constructor)) void start(void) {{ {statement} }}")
    monkeypatch.setenv("CXX", compiler(tmp_path, f"cc -shared -fPIC {source} -o $out"))
    for _ in range(2):  # tried, then remembered
        library.prepared.cache_clear()
        with pytest.warns(UserWarning, match="crashes"):
            assert library.chosen()[0] is None


@pytest.mark.slow
@pytest.mark.parametrize(("switch", "warned"), [("1", True), ("0", False)])
def test_without_a_compiler_the_network_runs_by_xla(tmp_path, switch, warned):
    ran = python(NETWORK, CXX=str(tmp_path / "no-such-compiler"), E2E_CPU_KERNELS=switch)
    assert "(1, 32)" in ran.stdout
    assert ("Install one" in ran.stderr) == warned


def kept_library(cache, **changes):
    """A manifest as a trial leaves it, of a library for which nothing was compiled."""
    cache.mkdir(parents=True, mode=0o700)
    path = cache / f"{library.PREFIX}x.so"
    path.write_bytes(b"library")
    path.chmod(0o700)
    about = {"sha256": library._digest(path), "processor": "p", "ratio": 3.0} | changes
    path.with_suffix(".json").write_text(json.dumps(about))
    return path


def test_a_library_that_was_changed_is_made_again(cache):
    path = kept_library(cache)
    assert library._kept(path, path.with_suffix(".json"))["ratio"] == 3.0
    path.write_bytes(b"librar")
    assert library._kept(path, path.with_suffix(".json")) is None


@pytest.mark.parametrize("changes", [{"ratio": None}, {"ratio": "fast"}, {"sha256": None}])
def test_a_damaged_manifest_is_made_again(cache, changes):
    path = kept_library(cache, **changes)
    assert library._kept(path, path.with_suffix(".json")) is None


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
@pytest.mark.parametrize("which", ["folder", "library", "manifest"])
def test_what_others_may_write_is_refused(cache, monkeypatch, which):
    path = kept_library(cache)
    {"folder": cache, "library": path, "manifest": path.with_suffix(".json")}[which].chmod(0o777)
    with pytest.raises(OSError, match="chmod go-w"):
        library.cache_folder() and library._kept(path, path.with_suffix(".json"))


def test_a_library_slower_than_xla_is_used_on_request_alone(cache, monkeypatch):
    slow = library.Library(cache, "native", "p", 0.5)
    monkeypatch.setattr(library, "prepared", functools.cache(lambda *_: slow))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert library.chosen()[0] is None
        monkeypatch.setenv("E2E_CPU_KERNELS", "1")
        assert library.chosen()[0] is slow


def test_nothing_is_compiled_on_a_host_with_a_gpu(cache, monkeypatch):
    monkeypatch.setattr(library.jax, "default_backend", lambda: "gpu")
    monkeypatch.setenv("CXX", "no-such-compiler")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert library.chosen()[0] is None
    assert not cache.exists()
