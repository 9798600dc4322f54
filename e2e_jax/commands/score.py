"""Score the events of files with a trained classifier.

e2e-jax score --workdir=runs/cms_b-medium events.root --output=scores.parquet
e2e-jax score --workdir=DIR INPUT [INPUT ...] --output=FILE.parquet|FILE.root [--which=best]
                        [--select=central] [--on_error=skip] [--data_dir=DIR]
                        [--scheduler=tls://host:8786 | --workers=N]
"""

import os
import sys

from e2e_jax.commands import command_line


def main(argv):
    """Score the files of the command line, and print a summary."""
    options = _parser().parse_args(argv[1:])
    if options.workers is not None:
        if options.workers < 1:
            command_line.stop(f"{options.workers} workers score nothing: --workers takes 1 or more.")
        # Several processes would compete for the memory of an accelerator.
        os.environ["JAX_PLATFORMS"] = "cpu"
    # Imported here, so that --help is fast.
    from e2e_jax.errors import ClusterError
    from e2e_jax.execution import cluster
    from e2e_jax.execution.jobs import JobError
    from e2e_jax.execution.workers import WorkerPool
    from e2e_jax.inference.scoring import files

    executor = None
    try:
        executor = cluster.executor(options.scheduler)
        if executor is None and options.workers:
            executor = WorkerPool(options.workers)
        scored = files.score(
            options.workdir,
            options.inputs,
            options.output,
            which=int(options.which) if options.which.isdigit() else options.which,
            select=options.select,
            on_error=options.on_error,
            data_dir=options.data_dir,
            executor=executor,
        )
    except (ClusterError, JobError) as error:
        command_line.stop(str(error))
    except KeyboardInterrupt:
        command_line.stop("Interrupted. The same command continues where it stopped.")
    finally:
        if executor is not None:
            executor.shutdown(wait=True, cancel_futures=True)
    print(f"{scored.path}: {scored.events} events, {', '.join(scored.columns)}")
    if scored.skipped:
        left_out = ", ".join(f"{number} x {reason}" for reason, number in scored.skipped.items())
        print(f"left out: {left_out}")
    if scored.invalid:
        print(f"{scored.invalid} of them have NaN as predictions: the training could not have such events")


def _parser():
    parser = command_line.Parser("e2e-jax score", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="ROOT files (AODSIM, flat ntuples), HDF5 files of showers, or datasets by name or folder, with "
        "the split behind a colon (default: validation)",
    )
    parser.add_argument("--workdir", required=True, help="folder of the run or of a release")
    parser.add_argument("--output", required=True, help="file to write, .parquet or .root")
    parser.add_argument("--which", default="best", help="best, latest or a step (default: %(default)s)")
    parser.add_argument(
        "--select",
        default="",
        help="of AODSIM files: only events that pass this selection, such as central or that of haa.py",
    )
    parser.add_argument(
        "--on_error",
        choices=("fail", "skip"),
        default="fail",
        help="skip: leave out and count events and files at fault, and events that come twice "
        "(default: %(default)s)",
    )
    parser.add_argument("--data_dir", default="", help="folder of the datasets (default: TFDS's own)")
    parser.add_argument("--scheduler", help="Dask scheduler to run on: tls://host:8786, or its file")
    parser.add_argument("--workers", type=int, help="processes on this machine (default: this one alone)")
    return parser


def run():
    """Run the command with the arguments of the program."""
    command_line.reporting(main)(sys.argv)


if __name__ == "__main__":
    run()
