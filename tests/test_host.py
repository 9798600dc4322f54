"""A program starts again with the settings that suit the host, once, and not against the user's."""

import os
import subprocess
import sys

from e2e_jax import host

PROGRAM = (
    "from e2e_jax import host; host.use_well(); import os; print(os.getpid(), os.environ.get(host.DEVICES))"
)


def test_the_users_settings_stay():
    assert host.settings({host.DEVICES: "3"}, 2, "glibc") == {host.TUNABLES: host.HUGE_PAGES}
    assert host.settings({host.TUNABLES: "x"}, 2, "glibc") == {host.DEVICES: "2"}
    assert host.settings({}, 2, "musl") == {host.DEVICES: "2"}


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
