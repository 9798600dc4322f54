"""One process at a time holds a lock, and the error of a second process names the owner."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from e2e_jax.files.locks import LockedError, locked

HOLD = """
import sys, time, pathlib
from e2e_jax.files.locks import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_the_owner_is_named_until_it_lets_go(tmp_path):
    path = tmp_path / "some" / "work.lock"
    with locked(path), pytest.raises(LockedError) as error, locked(path):
        pass
    assert error.value.owner == f"process {os.getpid()} on {socket.gethostname()}"
    with locked(path):
        pass


def test_a_lock_ends_with_its_process(tmp_path):
    path = tmp_path / "work.lock"
    here = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=here) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=f"process {holder.pid} "), locked(path):
            pass
        holder.kill()
    with locked(path):
        pass
