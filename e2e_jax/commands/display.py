"""The command line of the event display.

python -m e2e_jax.display FILE --event N [N ...] --output DIR
                          [--split validation] [--select central] [--geometry barrel]
"""

import argparse
import os
import sys
from pathlib import Path

from e2e_jax.commands import command_line
from e2e_jax.studies.hgg import SELECTIONS

FORMATS = {"png": {"dpi": 300}, "pdf": {"metadata": {"CreationDate": None}}}
"""File formats and how matplotlib writes them; without its date, a PDF is the same every time."""


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        command_line.stop(f"{message}. {' '.join(self.format_usage().split())}")


def main(argv):
    """Draws the events that the command line names, and prints the files it wrote."""
    # Imported here, so that --help answers at once.
    from e2e_jax.detector.images import geometries
    from e2e_jax.display.figure import event_figure
    from e2e_jax.display.reading import read_events
    from e2e_jax.events.diphotons import Events

    arguments = _parser(geometries()).parse_args(argv[1:])
    folder = _writable(arguments.output)
    events, origin, task = read_events(
        arguments.file, arguments.event, arguments.split, arguments.select, arguments.data_dir
    )
    if not isinstance(events, Events):
        raise ValueError(
            f"{arguments.file} holds {type(events).__name__.lower()}, not events with two photons, which is "
            "what this draws. The report of a run that was trained on them shows some."
        )
    for index in range(len(events)):
        figure = event_figure(events, index, arguments.geometry, origin, task)
        name = f"run{events.run[index]}_lumi{events.lumi[index]}_event{events.event[index]}"
        name += "" if arguments.geometry == "barrel" else f"_{arguments.geometry}"
        print(*write(figure, folder, name), sep="\n")


def write(figure, folder, name):
    """Writes a figure in each of `FORMATS`, whole or not at all; returns the paths.

    Raises:
      ValueError: the folder cannot be written to.
    """
    paths = [folder / f"{name}.{kind}" for kind in FORMATS]
    for path, (kind, options) in zip(paths, FORMATS.items()):
        part = path.with_name(f".{path.name}.part")
        try:
            figure.savefig(part, format=kind, **options)
            os.replace(part, path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise ValueError(_not_writable(path, error)) from error
    return paths


def _writable(folder):
    folder = Path(folder).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(None, "no permission to write there")
    except OSError as error:
        raise ValueError(_not_writable(folder, error)) from error
    return folder


def _not_writable(path, error):
    return f"{path} cannot be written ({error.strerror}). Name a folder that you may write to as --output."


def _parser(geometries):
    parser = _Parser("python -m e2e_jax.display", description="Draws events: tracks, ECAL, HCAL and photons.")
    parser.add_argument("file", help="a ROOT file (path or root://), the folder of a dataset, or its name")
    parser.add_argument(
        "--event", type=int, nargs="+", required=True, help="which events, counted from 0 (of those selected)"
    )
    parser.add_argument("--output", required=True, help="folder for the PNG and PDF files")
    parser.add_argument("--split", default="validation", help="split of a dataset (default: %(default)s)")
    parser.add_argument("--select", choices=SELECTIONS, help="of an AODSIM file: only events that pass this")
    parser.add_argument("--geometry", choices=geometries, default="barrel", help="default: %(default)s")
    parser.add_argument("--data_dir", default="", help="folder of the datasets (default: TFDS's own)")
    return parser


def run():
    """Runs the command with the arguments of the program."""
    command_line.reporting(main)(sys.argv)
