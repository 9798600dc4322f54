"""A program restarts once with the settings for the host, and keeps the user's settings."""

import os
import platform
import subprocess
import sys

import pytest

from e2e_jax.devices import host

PROGRAM = (
    "from e2e_jax.devices import host; host.use_well(); "
    "import os; print(os.getpid(), os.environ.get(host.DEVICES))"
)

TWICE = """
from e2e_jax.devices import host
host.use_well()
host.keep_memory(host.LARGEST_KEPT)
import resource
import numpy as np

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

np.ones(2**23)  # 64 MB
before = faults()
np.ones(2**23)
print(faults() - before)
"""


def test_the_users_settings_stay():
    assert list(host.settings({host.DEVICES: "3"}, 2, "glibc")) == [host.TUNABLES]
    assert host.settings({host.TUNABLES: "x"}, 2, "glibc") == {host.DEVICES: "2"}
    assert host.settings({}, 2, "musl") == {host.DEVICES: "2"}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library manages the memory")
def test_memory_that_was_used_once_comes_without_the_systems_help():
    environment = {k: v for k, v in os.environ.items() if k != host.TUNABLES}
    ran = subprocess.run(
        [sys.executable, "-c", TWICE], env=environment, capture_output=True, text=True, check=True
    )
    assert int(ran.stdout) < 10


def test_nothing_is_left_to_add():
    once = host.settings({}, 8, "glibc")
    assert once[host.DEVICES] == "8"
    assert not host.settings(once, 8, "glibc")


def test_the_program_starts_again_in_the_same_process():
    environment = {k: v for k, v in os.environ.items() if k not in host.settings({}, 1, "glibc")}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, text=True
    )
    pid, devices = process.communicate(timeout=60)[0].split()
    assert process.returncode == 0
    assert int(pid) == process.pid
    assert int(devices) >= 1
