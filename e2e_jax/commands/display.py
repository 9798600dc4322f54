"""The command line of the event display.

e2e-jax display FILE --event N [N ...] --output DIR
                          [--split validation] [--select central] [--geometry barrel]
                          [--interactive [--run RUN]]
"""

import os
import sys
from pathlib import Path

from e2e_jax.commands import command_line
from e2e_jax.files.atomic import write_whole
from e2e_jax.studies.hgg import SELECTIONS

FORMATS = {"png": {"dpi": 300}, "pdf": {"metadata": {"CreationDate": None}}}
"""File format -> options of matplotlib. A PDF without date is reproducible."""


def main(argv):
    """Draw the events of the command line, and print the names of the written files."""
    # Imported here, so that --help is fast.
    from e2e_jax.detector.images import geometries
    from e2e_jax.display.figure import event_figure
    from e2e_jax.display.reading import read_events
    from e2e_jax.events.diphotons import Events

    arguments = _parser(geometries()).parse_args(argv[1:])
    if arguments.run and not arguments.interactive:
        raise ValueError("--run adds the saliency to the page of --interactive. Add --interactive.")
    folder = _writable(arguments.output)
    events, origin, task = read_events(
        arguments.file, arguments.event, arguments.split, arguments.select, arguments.data_dir
    )
    if not isinstance(events, Events):
        raise ValueError(
            f"{arguments.file} holds {type(events).__name__.lower()}, not events with two photons, which is "
            "what this draws. The report of a run that was trained on them shows some."
        )
    addresses = zip(events.run, events.lumi, events.event)
    names = [f"run{run}_lumi{lumi}_event{event}" for run, lumi, event in addresses]
    if arguments.interactive:
        print(write_page(folder, names, events, origin, task, arguments.run))
        return
    for index, name in enumerate(names):
        figure = event_figure(events, index, arguments.geometry, origin, task)
        name += "" if arguments.geometry == "barrel" else f"_{arguments.geometry}"
        print(*write(figure, folder, name), sep="\n")


def write_page(folder, names, events, origin, task, run=""):
    """Write one page with all events atomically; returns its path.

    Args:
      folder: folder of the page.
      names: names of the events; the first gives the file name.
      events, origin, task: as `display.reading.read_events` returns them.
      run: the run or released classifier that explains the events; "" for none.

    Raises:
      ValueError: the folder is not writable, or the classifier has no hits as inputs.
    """
    from e2e_jax.display.page import page

    text = page(events, origin, task, _explained(run, events) if run else None)
    more = f"_and_{len(names) - 1}_more" if len(names) > 1 else ""
    path = folder / f"{names[0]}{more}.html"
    try:
        write_whole(path, text)
    except OSError as error:
        raise ValueError(str(error)) from error
    return path


def _explained(run, events):
    """Probabilities and gradients of each event by the classifier of a run."""
    from e2e_jax.display.page import Explained
    from e2e_jax.inference.loading import load_classifier
    from e2e_jax.inference.saliency import hit_gradients

    classifier = load_classifier(run)
    titles = [classifier.task.title(name) for name in classifier.classes]
    # Some events can be drawn but not scored, for example events without photons.
    probabilities = classifier.predict(events, invalid="nan")
    scores = [", ".join(f"P({name}) = {p:.3f}" for name, p in zip(titles, row)) for row in probabilities]
    gradients = [hit_gradients(classifier, events[[index]]) for index in range(len(events))]
    return Explained(classifier.task.title(classifier.task.signal), scores, gradients)


def write(figure, folder, name):
    """Write a figure in each of `FORMATS` atomically; returns the paths.

    Raises:
      ValueError: the folder is not writable.
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
    parser = command_line.Parser("e2e-jax display", description="Draws events: tracks, ECAL, HCAL, photons.")
    parser.add_argument("file", help="a ROOT file (path or root://), the folder of a dataset, or its name")
    parser.add_argument(
        "--event", type=int, nargs="+", required=True, help="which events, counted from 0 (of those selected)"
    )
    parser.add_argument("--output", required=True, help="folder for the PNG and PDF files, or the page")
    parser.add_argument("--split", default="validation", help="split of a dataset (default: %(default)s)")
    parser.add_argument("--select", choices=SELECTIONS, help="of an AODSIM file: only events that pass this")
    parser.add_argument("--geometry", choices=geometries, default="barrel", help="default: %(default)s")
    parser.add_argument(
        "--interactive", action="store_true", help="write a page in the (eta, phi) plane and in space instead"
    )
    parser.add_argument("--run", default="", help="of --interactive: classifier that explains the events")
    parser.add_argument("--data_dir", default="", help="folder of the datasets (default: TFDS's own)")
    return parser


def run():
    """Run the command with the arguments of the program."""
    command_line.reporting(main)(sys.argv)


if __name__ == "__main__":
    run()
