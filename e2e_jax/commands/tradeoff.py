"""Train a scan of decorrelation methods and strengths, and draw AUC against decorrelation.

e2e-jax tradeoff --config=configs/eb.py:quick --methods=cvm,disco,mode --strengths=0.05,0.15,0.5
                 [--strengths=disco:1,3,10] [--workdir=DIR] [--scheduler=tls://host:8786]
                 [--config.FIELD=VALUE ...]

Writes tradeoff.md, tradeoff.json, tradeoff.png and tradeoff.pdf into the folder of the scan after every
training. Repeat the command to continue an interrupted scan.
"""

import argparse
import sys
from pathlib import Path

from absl import logging

from e2e_jax.commands import command_line
from e2e_jax.devices import host


def main(argv):
    """Train the scan of the command line, and print the table."""
    options, rest = _parser().parse_known_args(argv[1:])
    config = command_line.given_config([argv[0], *rest])
    logging.set_verbosity(logging.FATAL)
    workdir = options.workdir or f"{command_line.default_workdir(config)}-tradeoff"
    strengths = strengths_of(options.strengths)
    print(scan(config, options.methods.split(","), strengths, workdir, options.scheduler))


def scan(config, methods, strengths, workdir, scheduler=None, datasets=None):
    """Train a scan and write its table and figure.

    Args:
      config: config of all trainings.
      methods, strengths: as for `training.tradeoff.points`.
      workdir: folder of the scan.
      scheduler: Dask scheduler to train on, see `many.machines`.
      datasets: function config -> training dataset; by default the dataset that the config names.

    Returns:
      The table, and the paths of the written files.

    Raises:
      ValueError: a method or strength is invalid, or the task has nothing to decorrelate from.
    """
    # Imported here, so that --help is fast.
    from e2e_jax import experiment
    from e2e_jax.report import tradeoff as reported
    from e2e_jax.training import ensembles, many, tradeoff

    workdir = Path(workdir).expanduser()
    points = tradeoff.points(config, methods, strengths, workdir)
    command_line.keep_compiled_programs()
    datasets = datasets or experiment.dataset_of
    if not experiment.task_of(config, datasets(config).describe()).decorrelate:
        raise ValueError(
            f"The task of {config.dataset.name} decorrelates from no observable, so there is no trade-off. "
            "Name one as config.task.decorrelate."
        )
    trainings = [point.training for point in points]
    scanned = [reported.Scanned(point.method, point.strength, None) for point in points]
    paths = reported.write(workdir, scanned)
    with many.machines(trainings, scheduler) as executor:
        for number, outcome in enumerate(ensembles.train_all(trainings, datasets, executor)):
            scanned[number] = scanned[number]._replace(results=outcome.results, failure=outcome.failure)
            paths = reported.write(workdir, scanned)
    return "\n".join([reported.markdown(scanned), *map(str, paths)])


def strengths_of(given):
    """{method: strengths} of options such as "0.1,0.3" (all methods) and "disco:1,3" (one method).

    Raises:
      ValueError: a strength is not a number.
    """
    from e2e_jax.models.decorrelation.penalties import PENALTIES

    made = {}
    # The strengths of one method override the strengths of all methods.
    for text in sorted(given, key=lambda text: ":" in text):
        method, _, numbers = text.rpartition(":")
        try:
            strengths = [float(number) for number in numbers.split(",")]
        except ValueError:
            raise ValueError(
                f"--strengths={text} is no list of numbers; give them as --strengths=0.1,0.3 or, for one "
                "method, as --strengths=disco:1,3."
            ) from None
        made |= dict.fromkeys([method] if method else PENALTIES, strengths)
    return made


def _parser():
    parser = command_line.Parser(
        "e2e-jax tradeoff",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--methods", default="none,cvm,disco,mode", help="default: %(default)s")
    parser.add_argument(
        "--strengths",
        action="append",
        default=[],
        help="of the penalty; by default a quarter to four times the config's own",
    )
    parser.add_argument("--workdir", help="folder of the scan; by default runs/<name>-<size>-tradeoff")
    parser.add_argument("--scheduler", help="Dask scheduler to train on: tls://host:8786, or its file")
    return parser


def run():
    """Run the command with the arguments of the program."""
    command_line.reporting(main)(sys.argv)


if __name__ == "__main__":
    host.use_well()
    run()
