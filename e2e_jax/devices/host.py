"""Using a CPU well: a device for each core, and memory in large pages, which a training keeps.

XLA runs much of a training step on one thread of a device, and asks the system for hundreds of megabytes a
step, 4 kB at a time, only to give them back. The first two are settings of the process, made before JAX
starts; benchmarks/README.md holds what they gain.
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
"""Large pages, and one heap: those of other threads would be given back whatever `keep_memory` says."""

GPUS = "CUDA_VISIBLE_DEVICES"
CUDA_PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin")
"""Modules with which JAX computes on NVIDIA GPUs."""

LARGEST_KEPT = 128
"""Events of a batch whose memory is worth keeping; that of the paper's 360 is a gigabyte, and would be held
in pieces of many sizes."""
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Names of settings in glibc's malloc.h."""


def settings(environment: dict[str, str], cores: int, libc: str) -> dict[str, str]:
    """The environment variables to add for this host; those that the user set stay.

    Args:
      environment: the variables there are.
      cores: CPU cores this process may use.
      libc: name of the C library, as `platform.libc_ver()[0]` tells it.
    """
    wanted = {DEVICES: str(cores)}
    if libc == "glibc":
        wanted[TUNABLES] = MEMORY
    return {name: value for name, value in wanted.items() if name not in environment}


def use_well() -> None:
    """Starts this program again with `settings`, unless they are all there; call it first of all.

    The C library reads its settings when a process begins, so they cannot be changed from inside.
    """
    cores = available_cores()
    added = settings(dict(os.environ), cores, platform.libc_ver()[0])
    if added:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | added)


def keep_memory(batch_size: int) -> None:
    """Has what is freed from now on stay in the process for the next step, for batches up to `LARGEST_KEPT`.

    Does nothing where the C library is another than glibc.
    """
    if batch_size <= LARGEST_KEPT and platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_MAX, 0)  # large blocks come from the heap, like small ones
        library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def visible_gpus(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The GPUs that JAX could use in a new process, as `GPUS` names them; this one does not claim them.

    Args:
      environment: of the process.
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
