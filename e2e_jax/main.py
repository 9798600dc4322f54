"""The command line: a config, a folder and a mode.

python -m e2e_jax.main --config=configs/cms_b.py:quick [--workdir=DIR] [--mode=evaluate]
                           [--config.FIELD=VALUE ...] [--files=DIR]
python -m e2e_jax.main --mode=report --workdir=DIR [--compare=DIR,DIR]

To train in several processes, run the same command in each, with --coordinator=HOST:PORT --processes=N
--process=I, or on Slurm with --distributed.
"""

import os

from absl import app, flags, logging
from ml_collections import config_flags

from e2e_jax.commands import command_line
from e2e_jax.devices import host

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config and size: configs/cms_b.py:quick, or e2e_jax.configs.cms_b:quick."
)
WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "Folder of the run; by default runs/<name>-<size>, and runs/<name>-<study>-<size> for a user's study.",
)
MODE = flags.DEFINE_enum(
    "mode",
    "train",
    ["train", "evaluate", "report"],
    "Train (or continue), evaluate a trained run again, or only write the report of an evaluated one.",
)
FILES = flags.DEFINE_string(
    "files",
    None,
    "Build the dataset from the files in this folder where it is not built, as e2e_jax.build does.",
)
COMPARE = flags.DEFINE_list("compare", [], "Folders of runs that the report shows next to this one.")
COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of the first of several processes.")
PROCESSES = flags.DEFINE_integer("processes", None, "How many processes train together.")
PROCESS = flags.DEFINE_integer("process", None, "Which of them this is, from 0.")
DISTRIBUTED = flags.DEFINE_bool("distributed", False, "The cluster (Slurm, Open MPI, TPU) says all that.")


def main(_):
    if not flags.FLAGS["verbosity"].present:
        # Orbax and JAX logs would hide the progress bar; what Orbax logs as an error it also raises.
        logging.set_verbosity(logging.FATAL)
    only_folder = MODE.value != "train" and WORKDIR.value and CONFIG.value is None
    config = None if only_folder else command_line.checked_config(CONFIG)
    workdir = os.path.expanduser(WORKDIR.value or command_line.default_workdir(config))
    given = (COORDINATOR.value, PROCESSES.value, PROCESS.value)
    if not DISTRIBUTED.value and all(value is None for value in given):
        return work(config, workdir)
    if MODE.value == "report":
        raise ValueError("--mode=report is for one process: leave out what makes it one of several.")
    from e2e_jax.devices import distributed

    distributed.join(*given)
    with distributed.dying_together():
        command_line.reporting(lambda _: work(config, workdir))(None)


def work(config, workdir):
    """Do the work of `--mode`. Several processes are connected before."""
    # Imported after the command line is checked, so that a misspelled field is reported immediately.
    import jax

    from e2e_jax import report

    # Check before the training that the runs can be compared.
    compare = [os.path.expanduser(folder) for folder in COMPARE.value]
    report.read_runs(compare)
    command_line.keep_compiled_programs()
    if MODE.value != "report":
        from e2e_jax.report.board import Board
        from e2e_jax.training import ensembles
        from e2e_jax.training.many import Training, machines

        if FILES.value:
            from e2e_jax.devices import distributed

            distributed.of_first(lambda: dataset_from_files(config))
        if MODE.value == "evaluate":
            ensembles.evaluate_run(workdir, config)
        else:
            with machines([Training(config, workdir)]) as executor:
                ensembles.train(config, workdir, board=Board, executor=executor)
    if jax.process_index() == 0:
        print(f"Report: {report.write_report(workdir, compare)}")


def dataset_from_files(config):
    """Build the config's dataset from `--files`, or check that it was built from these files."""
    from e2e_jax.commands import build
    from e2e_jax.execution.jobs import JobError

    if config is None:
        raise ValueError("--files needs the config of a dataset: give --config too.")
    try:
        build.build(config.dataset.name, config.dataset.data_dir, files=FILES.value)
    except JobError as error:
        command_line.stop(str(error))


def run():
    """Run the program. Errors that the user can fix print one paragraph and give exit code 1."""
    app.run(command_line.reporting(main), flags_parser=command_line.parse)


if __name__ == "__main__":
    host.use_well()
    run()
