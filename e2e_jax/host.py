"""Using a CPU well: a device for each core, and memory in large pages, which the process keeps.

XLA runs much of a training step on one thread of a device, and asks the system for hundreds of megabytes a
step, 4 kB at a time, only to give them back. Both are settings of the process, made before JAX starts;
benchmarks/README.md holds what they gain.
"""

import os
import platform
import sys

DEVICES = "JAX_NUM_CPU_DEVICES"
TUNABLES = "GLIBC_TUNABLES"
MEMORY = {
    "hugetlb": 1,
    "mmap_max": 0,  # large blocks come from the heap, like small ones
    "trim_threshold": 2**36,  # and stay in the process for the next step
    "arena_max": 1,  # the heaps of other threads would be given back all the same
}
"""Settings of glibc's malloc (its manual, "Memory Allocation Tunables")."""


def settings(environment: dict[str, str], cores: int, libc: str) -> dict[str, str]:
    """The environment variables to add for this host; those that the user set stay.

    Args:
      environment: the variables there are.
      cores: CPU cores this process may use.
      libc: name of the C library, as `platform.libc_ver()[0]` tells it.
    """
    wanted = {DEVICES: str(cores)}
    if libc == "glibc":
        wanted[TUNABLES] = ":".join(f"glibc.malloc.{name}={value}" for name, value in MEMORY.items())
    return {name: value for name, value in wanted.items() if name not in environment}


def use_well() -> None:
    """Starts this program again with `settings`, unless they are all there; call it first of all.

    The C library reads its settings when a process begins, so they cannot be changed from inside.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    added = settings(dict(os.environ), cores, platform.libc_ver()[0])
    if added:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | added)
