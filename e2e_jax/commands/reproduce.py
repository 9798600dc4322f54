"""Train the classifiers of the paper's tables, and write the tables with the paper's numbers.

e2e-jax reproduce [--tables=4,5,6,7] [--size=quick|medium|paper] [--rows=eb,cms_b] [--seeds=K]
                  [--data_dir=DIR] [--workdir=DIR] [--scheduler=tls://host:8786]

Missing datasets are built. tables.md and tables.json are written into the folder after every training, with
unfinished rows marked. Repeat the command to continue an interrupted run.
"""

import argparse
import importlib
import os
import sys
from pathlib import Path

from absl import logging

from e2e_jax.commands import command_line
from e2e_jax.devices import host
from e2e_jax.evaluation.published import TABLES

SIZES = ("quick", "medium", "paper")
MORE = {"table_6": ("high_level", "whole_event"), "table_7": ("whole_event",)}
"""Additional classifiers for --rows, which are not in the paper."""


def main(argv):
    """Train the rows of the command line, and print the tables."""
    options = _parser().parse_args(argv[1:])
    logging.set_verbosity(logging.FATAL)
    command_line.keep_compiled_programs()
    workdir = Path(options.workdir or os.path.join("runs", f"reproduce-{options.size}")).expanduser()
    tables = [f"table_{number.strip()}" for number in options.tables.split(",")]
    names = options.rows.split(",") if options.rows else []
    rows = rows_of(tables, options.size, names, options.seeds, options.data_dir, workdir)
    print(reproduce(rows, workdir, options.size, options.scheduler))


def rows_of(tables, size, names=(), seeds=1, data_dir="", workdir="runs"):
    """The rows of tables, each with its config and folder.

    Args:
      tables: keys of `published.TABLES`.
      size: size of the datasets and trainings, one of `SIZES`.
      names: the configs of the rows; by default all rows of the paper.
      seeds: number of networks per row.
      data_dir: folder of the datasets; TFDS's own by default.
      workdir: the parent folder of the runs.

    Raises:
      ValueError: the table or row does not exist, or a field of a config is out of its range.
    """
    from e2e_jax.report.reproduction import Row
    from e2e_jax.runs import config_ranges

    if unknown := [table for table in tables if table not in TABLES]:
        known = ",".join(table.removeprefix("table_") for table in TABLES)
        number = unknown[0].removeprefix("table_")
        raise ValueError(
            f"--tables has {number!r}, which is no table of results of the paper: there are {known}."
        )
    there = {table: [*TABLES[table].results, *MORE.get(table, ())] for table in tables}
    if unknown := set(names) - {name for known in there.values() for name in known}:
        known = ", ".join(dict.fromkeys(name for known in there.values() for name in known))
        raise ValueError(f"--rows has {min(unknown)!r}, which is no row of these tables: there are {known}.")
    rows = []
    for table in dict.fromkeys(tables):
        for name in there[table] if names else TABLES[table].results:
            if names and name not in names:
                continue
            module = importlib.import_module(f"e2e_jax.configs.{name}")
            # Some classifiers appear in both tables of collisions.
            forward = getattr(module, "FORWARD", "") if table == "table_7" else ""
            config = module.get_config(f"{forward}{size}")
            config.update(seeds=seeds)
            config.dataset.data_dir = data_dir
            config_ranges.check_fields(config)
            rows.append(Row(table, config, Path(workdir) / Path(command_line.default_workdir(config)).name))
    return rows


def reproduce(rows, workdir, size, scheduler=None, datasets=None):
    """Train the rows of tables, and write the tables after each row.

    Args:
      rows: see `rows_of`.
      workdir: folder of the tables.
      size: size of the trainings, for the title.
      scheduler: Dask scheduler to train on, see `many.machines`.
      datasets: function config -> training dataset; by default the dataset that the config names.

    Returns:
      The tables, and the paths of the written files.
    """
    # Imported here, so that --help is fast.
    from e2e_jax import experiment
    from e2e_jax.report import reproduction
    from e2e_jax.training import ensembles, many

    trainings, rows = [many.Training(row.config, row.workdir) for row in rows], list(rows)
    paths = reproduction.write(workdir, rows, size)
    with many.machines(trainings, scheduler) as executor:
        outcomes = ensembles.train_all(trainings, datasets or experiment.dataset_of, executor)
        for number, outcome in enumerate(outcomes):
            rows[number] = rows[number]._replace(results=outcome.results, failure=outcome.failure)
            paths = reproduction.write(workdir, rows, size)
    return "\n".join([reproduction.markdown(rows, size), *map(str, paths)])


def _parser():
    parser = command_line.Parser(
        "e2e-jax reproduce",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--tables", default="4,5,6,7", help="of the paper (default: %(default)s)")
    parser.add_argument("--size", default="medium", choices=SIZES, help="default: %(default)s")
    parser.add_argument(
        "--rows", help="configs, such as eb,cms_b or whole_event; by default all of the paper's"
    )
    parser.add_argument("--seeds", type=int, default=1, help="networks of each row (default: %(default)s)")
    parser.add_argument("--data_dir", default="", help="folder of the datasets (default: TFDS's own)")
    parser.add_argument("--workdir", help="folder of tables and runs (default: runs/reproduce-SIZE)")
    parser.add_argument("--scheduler", help="Dask scheduler to train on: tls://host:8786, or its file")
    return parser


def run():
    """Run the command with the arguments of the program."""
    command_line.reporting(main)(sys.argv)


if __name__ == "__main__":
    host.use_well()
    run()
