"""Write a small folder with a trained classifier, to keep next to the code.

python -m e2e_jax.release --workdir=runs/cms_b-medium --output=release/cms_b [--events=60]
"""

import argparse
import sys

from e2e_jax.commands import command_line
from e2e_jax.inference.release import CARD, release


def main(argv):
    """Release the classifier of the command line."""
    parser = argparse.ArgumentParser("python -m e2e_jax.release", description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", required=True, help="folder of a finished run")
    parser.add_argument("--output", required=True, help="folder of the release, for instance release/cms_b")
    parser.add_argument("--events", type=int, default=60, help="events a class in the sample, if it is new")
    arguments = parser.parse_args(argv[1:])
    folder = release(arguments.workdir, arguments.output, arguments.events)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / 1e3:.0f} kB, opens with e2e_jax.load_classifier({str(folder)!r})")
    print(f"Card: {folder / CARD}")


def run():
    """Run the command with the arguments of the program."""
    command_line.reporting(main)(sys.argv)
