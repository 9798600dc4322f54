"""CPU settings for training: one JAX device per core, large memory pages, and reuse of freed memory.

XLA runs much of a training step on one thread per device, and in each step allocates and frees hundreds of
megabytes in pages of 4 kB. The number of devices and the page size are process settings that must be made
before JAX starts; benchmarks/README.md lists the speed-up.
"""

import ctypes
import importlib.util
import os
import platform
import subprocess
import sys
from collections.abc import Mapping

from e2e_jax.execution.workers import available_cores

DEVICES = "JAX_NUM_CPU_DEVICES"
TUNABLES = "GLIBC_TUNABLES"
MEMORY = "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1"
"""Large pages, and one heap: `keep_memory` has no effect on the heaps of other threads."""

GPUS = "CUDA_VISIBLE_DEVICES"
CUDA_PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin")
"""Modules that JAX needs for NVIDIA GPUs."""

LARGEST_KEPT = 128
"""Largest batch size whose memory is kept. The paper's 360 events need a gigabyte, which would fragment."""
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of `mallopt` in glibc's malloc.h."""


def settings(environment: dict[str, str], cores: int, libc: str) -> dict[str, str]:
    """The environment variables to add for this host; variables that are already set stay unchanged.

    Args:
      environment: the current variables.
      cores: number of CPU cores that this process may use.
      libc: name of the C library, as returned by `platform.libc_ver()[0]`.
    """
    wanted = {DEVICES: str(cores)}
    if libc == "glibc":
        wanted[TUNABLES] = MEMORY
    return {name: value for name, value in wanted.items() if name not in environment}


def use_well() -> None:
    """Restart this program with `settings`, unless all are set. Must be called first.

    The C library reads its settings when a process starts, so a running process cannot change them.
    """
    cores = available_cores()
    added = settings(dict(os.environ), cores, platform.libc_ver()[0])
    if added:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | added)


def keep_memory(batch_size: int) -> None:
    """Keep freed memory in the process for the next step, if the batch size is at most `LARGEST_KEPT`.

    Does nothing if the C library is not glibc.
    """
    if batch_size <= LARGEST_KEPT and platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_MAX, 0)  # large blocks come from the heap, like small ones
        library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def visible_gpus(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The GPUs that JAX could use in a new process, named as in `GPUS`. This process does not claim them.

    Args:
      environment: environment variables of the process.
    """
    if environment.get("JAX_PLATFORMS", "").startswith("cpu") or not any(
        map(importlib.util.find_spec, CUDA_PLUGINS)
    ):
        return []
    if GPUS in environment:
        return [gpu for gpu in environment[GPUS].split(",") if gpu]
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return []
