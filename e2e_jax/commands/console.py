"""The program `e2e-jax`, which runs the commands of this package.

e2e-jax train --config=e2e_jax.configs.cms_b:quick
e2e-jax COMMAND --help
"""

import runpy
import sys

from e2e_jax.commands import command_line

MODULES = {
    "train": "e2e_jax.main",
    "build": "e2e_jax.build",
    "display": "e2e_jax.display",
    "report": "e2e_jax.main",
    "score": "e2e_jax.score",
    "export": "e2e_jax.export",
    "release": "e2e_jax.release",
    "tradeoff": "e2e_jax.commands.tradeoff",
    "reproduce": "e2e_jax.commands.reproduce",
}
"""Command -> the equivalent module for `python -m`."""


def main():
    """Run the command in the first argument."""
    command, rest = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if command in ("", "-h", "--help"):
        print(__doc__)
        print(f"Commands: {', '.join(MODULES)}")
        return
    if command not in MODULES:
        command_line.stop(f"There is no command {command!r}. There are: {', '.join(MODULES)}.")
    if command == "report":
        rest = ["--mode=report", *rest]
    sys.argv = [f"{sys.argv[0]} {command}", *rest]
    runpy.run_module(MODULES[command], run_name="__main__", alter_sys=True)
