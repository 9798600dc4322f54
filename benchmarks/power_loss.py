"""Shows with strace that each file of a checkpoint is on the disk before the checkpoint gets its final name.

    python benchmarks/power_loss.py

A checkpoint is saved under strace. For each of its final files and folders, the last write must precede an
fsync, and the fsync must precede the rename to the final name. The folder of the checkpoints must be synced
after the rename. The same holds for config.json. Needs strace.

Measured on ext4 (30 files and folders): all are synced before they get their final names.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]

SAVE = """
import sys
from e2e_jax.studies import hgg
from e2e_jax.runs.checkpoints import Checkpoints, host_copy
from e2e_jax.runs.folder import claim
from tests.objects import new_state
from tests.synthetic import kinematics_config

config = kinematics_config()
claim(sys.argv[1], config)
state = host_copy(new_state(config))
with Checkpoints(sys.argv[1], config, hgg.TASK, {}) as checkpoints:
    checkpoints.save(1, state, state.params, {"history": []})
"""

CALLS = "write,pwrite64,writev,pwritev,fsync,fdatasync,rename,renameat,renameat2"


def trace(workdir, log):
    """Saves a checkpoint into a run's folder, and its system calls into a file."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = ["strace", "-f", "-y", "-s", "0", "-e", f"trace={CALLS}", "-o", str(log)]
    subprocess.run(
        [*command, sys.executable, "-c", SAVE, str(workdir)], cwd=ROOT, env=environment, check=True
    )


def events(log):
    """The numbers of the last write and of the last fsync by path, and [(number, from, to)] of the renames.

    A path is the one that the file has when the program ends.
    """
    written, synced, renames = {}, {}, []
    for number, line in enumerate(log.read_text().splitlines()):
        call = line.split(maxsplit=1)[1]
        if found := re.match(r"rename\w*\([^\"]*\"([^\"]+)\",[^\"]*\"([^\"]+)\".*= 0$", call):
            old, new = found.groups()
            renames.append((number, old, new))
            for known in (written, synced):
                for path in [path for path in known if path == old or path.startswith(f"{old}/")]:
                    known[new + path[len(old) :]] = known.pop(path)
        elif found := re.match(r"(\w+)\(\d+<([^>]+)>", call):
            # A call that another thread interrupts is printed in two lines; the first has the path.
            (synced if "sync" in found[1] else written)[found[2]] = number
    return written, synced, renames


def faults(workdir, log):
    """Sentences on what is not on the disk before it gets its name; and the number of files and folders."""
    written, synced, renames = events(log)
    checkpoint, config = workdir / "checkpoints" / "1", workdir / "config.json"
    found, seen = [], 0
    for named, inside in ((checkpoint, [checkpoint, *checkpoint.rglob("*")]), (config, [config])):
        rename = max(number for number, _, new in renames if new == str(named))
        for path in map(str, inside):
            seen += 1
            if not written.get(path, -1) < synced.get(path, -1) < rename:
                found.append(f"{path} is not synced between its last write and its name.")
        if synced.get(str(named.parent), -1) < rename:
            found.append(f"{named.parent} is not synced after {named.name} has its name.")
    return found, seen


def main():
    with tempfile.TemporaryDirectory() as place:
        workdir, log = Path(place).resolve() / "run", Path(place) / "calls"
        trace(workdir, log)
        found, seen = faults(workdir, log)
    print("\n".join(found) or f"All {seen} files and folders are on the disk before they get their names.")
    return len(found)


if __name__ == "__main__":
    sys.exit(main() > 0)
